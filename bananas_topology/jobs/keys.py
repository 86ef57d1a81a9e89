"""The catalogue of keys in Redis and what they hold.

The first group is the wire format shared with other Bananas clients and workers. The second is
private to this package: other components drop unknown fields when they rewrite a job, so state of
this package is not kept in its JSON.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Keys:
    """Names of keys under one prefix; the scripts build the same names.

    Shared with other clients:

    - ``job:<id>`` string: the job as JSON; expires only once completed or dead. A job that is in no
      list is harmless: a client that writes job and id by two commands may die in between
    - ``queue:high``, ``queue:normal``, ``queue:low`` lists: ids, pushed left, popped right
    - ``queue:scheduled`` zset: id to due time, in Unix seconds
    - ``queue:dead`` list: ids, pushed left
    - ``result:<id>`` hash: status, completed_at, duration_ms, result, error
    - ``result:notify:<id>`` channel: ``ready`` when the result is stored
    - ``schedules:<name>`` hash: next_run, last_run, run_count; and, added by this package, cron:
      the expression and time zone from which next_run was computed; seen:<definition> and handled:
      which definition is effective (lua/include/schedule.lua); defined: the one that is in
      schedule:definitions

    Private:

    - ``queue:<priority>:<type>`` list: ids parked by a worker without a handler for the type
    - ``parked:<priority>`` set: the job types that have such a list
    - ``claims:<worker>`` hash: id to fence (``token.place|source|claimed_ms``; see claim.lua)
    - ``workers`` zset: worker id to the end of its lease, in Unix milliseconds
    - ``worker:<worker>`` hash: what the worker reports about itself (worker/heartbeat.py)
    - ``failure:<id>`` string: the job's last failure as JSON: type, message, traceback
    - ``runs:<id>`` list: the latest runs of the job that did not complete, and one that did after
      these (runs.py); expires with the job
    - ``schemas:<digest>`` string: JSON Schemas of payloads by job type (job_types.py); expires
    - ``heartbeat`` string: when any worker last renewed its lease, in Unix milliseconds
    - ``crashes:<id>`` list: crashes of workers that held the job (crashes.py); expires
    - ``crashed:<incarnation>`` list: ids and crashes recorded because this process seemed to be
      gone, which it withdraws if it is not; expires
    - ``suspects`` set: every ``<priority>:<type>`` that has a list of jobs that run alone
    - ``queue:suspect:<priority>:<type>`` list: ids of these jobs (see recover.lua)
    - ``quarantine`` string: the busy worker that claims nothing until it can run a suspect
    - ``wake:<priority>``, ``wake:<priority>:<type>`` zsets: what idle workers block on
    - ``watcher`` string: the worker that watches the queues for the others (watch.py); expires
    - ``rescue:seen`` hash: when ids in queue:processing were first seen there (stranded.py)
    - ``schedule:definitions`` hash: name of a schedule to its definition as JSON (schedules.py)
    - ``schedule:seen`` zset: name to when a scheduler last looked at it, in Unix milliseconds
    - ``events`` stream: events for subscribers, one field per entry, from the kind to its JSON
      (events.py); bounded; expires
    - ``subscribed`` string: when the first of the current subscribers came, in Unix milliseconds;
      without one it expires
    - ``stats`` hash: jobs completed, retried and failed since the prefix was first used
    - ``history:<seconds>:<number>`` string: what workers counted in one step of that many seconds
      since 1970 (lua/transitions/add_history.lua); expires, and has a bounded size
    - ``history:flushed:<worker>`` string: which of its counts were added last; expires

    ``queue:processing`` and ``schedule_lock:<name>`` belong to other workers; only `bananas rescue`
    takes jobs out of the former.
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

    def runs(self, job_id: str) -> str:
        return f"{self.prefix}:runs:{job_id}"

    def schemas(self, digest: str) -> str:
        return f"{self.prefix}:schemas:{digest}"

    @property
    def heartbeat(self) -> str:
        return f"{self.prefix}:heartbeat"

    def crashes(self, job_id: str) -> str:
        return f"{self.prefix}:crashes:{job_id}"

    def crashed(self, incarnation: str) -> str:
        return f"{self.prefix}:crashed:{incarnation}"

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
    def watcher(self) -> str:
        return f"{self.prefix}:watcher"

    @property
    def processing(self) -> str:
        return f"{self.prefix}:queue:processing"

    @property
    def rescue_seen(self) -> str:
        return f"{self.prefix}:rescue:seen"

    def schedule_lock(self, name: str) -> str:
        return f"{self.prefix}:schedule_lock:{name}"

    @property
    def stats(self) -> str:
        return f"{self.prefix}:stats"

    @property
    def events(self) -> str:
        return f"{self.prefix}:events"

    @property
    def subscribed(self) -> str:
        return f"{self.prefix}:subscribed"

    def history(self, step_s: int, number: int) -> str:
        return f"{self.prefix}:history:{step_s}:{number}"

    def history_flushed(self, worker_id: str) -> str:
        return f"{self.prefix}:history:flushed:{worker_id}"

    def schedule(self, name: str) -> str:
        return f"{self.prefix}:schedules:{name}"

    @property
    def schedule_definitions(self) -> str:
        return f"{self.prefix}:schedule:definitions"

    @property
    def schedule_seen(self) -> str:
        return f"{self.prefix}:schedule:seen"
