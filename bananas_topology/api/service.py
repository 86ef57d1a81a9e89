"""The operations behind the routes: enqueueing, inspection, and health."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from bananas_topology.client import Client
from bananas_topology.errors import (
    JobFailed,
    RedisUnavailable,
    RedisUnsuitable,
    ResultNotFound,
    WaitTimeout,
)
from bananas_topology.jobs.inspect import Inspector, JobView
from bananas_topology.jobs.views import QueuesJson, queues_json
from bananas_topology.units import quantity


@dataclass(frozen=True, slots=True)
class Health:
    """Whether jobs are being processed; `problems` lists the reasons if not."""

    problems: tuple[str, ...]
    workers: int
    ready: int

    @property
    def is_ok(self) -> bool:
        return not self.problems


@dataclass(frozen=True, slots=True)
class Service:
    """Everything behind the routes. Thread-safe; all methods may block on Redis.

    Raises (all methods except `health` and `redis_problem`):
        RedisUnavailable, RedisUnsuitable: see connection.py.
    """

    client: Client
    inspector: Inspector

    def job(self, job_id: str, wait_ms: int) -> JobView:
        """Read a job, after waiting up to `wait_ms` milliseconds for it to finish.

        Raises:
            JobNotFound: the job does not exist or has expired.
        """
        if wait_ms:
            # However the wait ends, return the state of the job afterwards.
            with suppress(WaitTimeout, JobFailed, ResultNotFound):
                self.client.wait(job_id, timeout=wait_ms / 1000)
        return self.client.get(job_id)

    def queues(self) -> QueuesJson:
        """Read queue depths and live workers."""
        inspector = self.inspector
        return queues_json(inspector.backlog(), inspector.depths(), inspector.workers())

    def redis_problem(self) -> str | None:
        """Return why Redis cannot be used, or None."""
        try:
            self.inspector.workers()
        except (RedisUnavailable, RedisUnsuitable) as error:
            return str(error)
        return None

    def health(self) -> Health:
        """Check that Redis responds, and that workers are running if jobs are ready."""
        try:
            ready = self.inspector.backlog().ready
            workers = sum(worker.concurrency > 0 for worker in self.inspector.workers())
        except (RedisUnavailable, RedisUnsuitable) as error:
            return Health((str(error),), workers=0, ready=0)
        if ready and not workers:
            return Health(
                (f"{quantity(ready, 'ready job')} but no workers running",), workers, ready
            )
        return Health((), workers, ready)
