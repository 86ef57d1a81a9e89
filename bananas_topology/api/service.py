"""What the routes need of the rest: the client, the read side, and whether all is well."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from bananas_topology.client import Client
from bananas_topology.errors import JobFailed, RedisUnavailable, RedisUnsuitable, WaitTimeout
from bananas_topology.jobs.inspect import Inspector, JobView
from bananas_topology.jobs.views import QueuesJson, queues_json


@dataclass(frozen=True, slots=True)
class Health:
    """Whether jobs get done: `problems` has one sentence for each reason why not."""

    problems: tuple[str, ...]
    workers: int
    ready: int

    @property
    def is_well(self) -> bool:
        return not self.problems


@dataclass(frozen=True, slots=True)
class Service:
    """Everything behind the routes. Thread-safe; every method may block for a reply.

    Raises (every method but `health` and `redis_problem`):
        RedisUnavailable, RedisUnsuitable: see connection.py.
    """

    client: Client
    inspector: Inspector

    def job(self, job_id: str, wait_ms: int) -> JobView:
        """Look at a job, once it is done or `wait_ms` are over.

        Raises:
            JobNotFound: no job has that id, or not any more.
        """
        if wait_ms:
            # However the wait ends, what the job is then is the answer.
            with suppress(WaitTimeout, JobFailed):
                self.client.wait(job_id, timeout=wait_ms / 1000)
        return self.client.get(job_id)

    def queues(self) -> QueuesJson:
        """Read queue depths and live workers."""
        inspector = self.inspector
        return queues_json(inspector.backlog(), inspector.depths(), inspector.workers())

    def redis_problem(self) -> str | None:
        """Why Redis cannot be used, or None."""
        try:
            self.inspector.workers()
        except (RedisUnavailable, RedisUnsuitable) as error:
            return str(error)
        return None

    def health(self) -> Health:
        """Whether Redis answers, and somebody works where there is work."""
        try:
            ready = self.inspector.backlog().ready
            workers = sum(worker.concurrency > 0 for worker in self.inspector.workers())
        except (RedisUnavailable, RedisUnsuitable) as error:
            return Health((str(error),), workers=0, ready=0)
        if ready and not workers:
            return Health((f"{ready} jobs are ready, and no worker is alive",), workers, ready)
        return Health((), workers, ready)
