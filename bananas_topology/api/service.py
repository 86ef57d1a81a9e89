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

#: Lists of each kind that a health check reads: it costs the same however many job types there are.
HEALTH_TYPES = 100


@dataclass(frozen=True, slots=True)
class Health:
    """Whether jobs are being processed; `problems` lists the reasons if not.

    `ready` is a lower bound if jobs of very many types are ready.
    """

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
        return queues_json(self.inspector.overview())

    def redis_problem(self) -> str | None:
        """Return why Redis cannot be used, or None."""
        try:
            self.inspector.check()
        except (RedisUnavailable, RedisUnsuitable) as error:
            return str(error)
        return None

    def health(self) -> Health:
        """Check that Redis responds, and that workers are running if jobs are ready."""
        try:
            overview = self.inspector.overview(max_types=HEALTH_TYPES)
        except (RedisUnavailable, RedisUnsuitable) as error:
            return Health((str(error),), workers=0, ready=0)
        ready = overview.backlog.ready
        workers = sum(worker.concurrency > 0 for worker in overview.workers)
        if ready and not workers:
            return Health(
                (f"{quantity(ready, 'ready job')} but no workers running",), workers, ready
            )
        return Health((), workers, ready)
