"""Every key in Redis and what it holds: the catalogue.

The first group is the wire format that other Bananas clients and workers share; the second is
ours, kept beside it because others drop what they do not know when they rewrite a job.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Keys:
    """Names of keys under one prefix; scripts make the same names from the prefix they are given.

    Shared with other clients:

    - ``job:<id>`` string: the job as JSON; expires only once completed or dead. One that is in no
      list is harmless: a client that writes job and id by two commands may die between them
    - ``queue:high``, ``queue:normal``, ``queue:low`` lists: ids, in at the left, out at the right
    - ``queue:scheduled`` zset: id by due time, in Unix seconds
    - ``queue:dead`` list: ids, in at the left
    - ``result:<id>`` hash: status, completed_at, duration_ms, result, error
    - ``result:notify:<id>`` channel: ``ready`` when the result is there
    - ``schedules:<name>`` hash: next_run, last_run, run_count, and of ours cron: the expression and
      time zone that next_run comes from

    Ours:

    - ``queue:<priority>:<type>`` list: ids parked there by a worker without a handler for them
    - ``parked:<priority>`` set: the job types which have such a list
    - ``claims:<worker>`` hash: id by fence (``token.place|source|claimed_ms``; see claim.lua)
    - ``workers`` zset: worker id by when its lease ends, in Unix milliseconds
    - ``worker:<worker>`` hash: who and what the worker is (presence.py)
    - ``failure:<id>`` string: the job's last failure as JSON: type, message, traceback
    - ``crashes:<id>`` list: how the job took workers down (crashes.py); expires by itself
    - ``suspects`` set: the ``<priority>:<type>`` which have a list of jobs that run alone
    - ``queue:suspect:<priority>:<type>`` list: ids of those (see recover.lua)
    - ``quarantine`` string: the busy worker that takes nothing more until it can run a suspect
    - ``wake:<priority>``, ``wake:<priority>:<type>`` zsets: what idle workers block on
    - ``stats`` hash: jobs completed, retried and failed since the prefix was first used

    ``queue:processing`` and ``schedule_lock:<name>`` are other workers' and left alone.
    """

    prefix: str

    def job(self, job_id: str) -> str:
        return f"{self.prefix}:job:{job_id}"

    def queue(self, priority: str) -> str:
        return f"{self.prefix}:queue:{priority}"

    def parked_queue(self, priority: str, job_type: str) -> str:
        return f"{self.prefix}:queue:{priority}:{job_type}"

    def parked(self, priority: str) -> str:
        return f"{self.prefix}:parked:{priority}"

    @property
    def scheduled(self) -> str:
        return f"{self.prefix}:queue:scheduled"

    @property
    def dead(self) -> str:
        return f"{self.prefix}:queue:dead"

    def result(self, job_id: str) -> str:
        return f"{self.prefix}:result:{job_id}"

    def notify(self, job_id: str) -> str:
        return f"{self.prefix}:result:notify:{job_id}"

    def claims(self, worker_id: str) -> str:
        return f"{self.prefix}:claims:{worker_id}"

    @property
    def workers(self) -> str:
        return f"{self.prefix}:workers"

    def worker(self, worker_id: str) -> str:
        return f"{self.prefix}:worker:{worker_id}"

    def failure(self, job_id: str) -> str:
        return f"{self.prefix}:failure:{job_id}"

    def crashes(self, job_id: str) -> str:
        return f"{self.prefix}:crashes:{job_id}"

    @property
    def suspects(self) -> str:
        return f"{self.prefix}:suspects"

    def suspect_queue(self, source: str) -> str:
        return f"{self.prefix}:queue:suspect:{source}"

    @property
    def quarantine(self) -> str:
        return f"{self.prefix}:quarantine"

    def wake(self, priority: str, job_type: str | None = None) -> str:
        suffix = f":{job_type}" if job_type else ""
        return f"{self.prefix}:wake:{priority}{suffix}"

    @property
    def stats(self) -> str:
        return f"{self.prefix}:stats"

    def schedule(self, name: str) -> str:
        return f"{self.prefix}:schedules:{name}"
