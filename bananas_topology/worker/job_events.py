"""Publishes a sample of a worker's finished jobs while there is a subscriber (jobs/events.py).

The reply to each heartbeat says whether there is one. If not, nothing is collected or sent.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import suppress

import msgspec

from bananas_topology.errors import RedisFull, RequestRejected
from bananas_topology.jobs.broker import Broker
from bananas_topology.jobs.job import Failure
from bananas_topology.jobs.settlements import AckJob, BuryJob, RetryJob, Settlement
from bananas_topology.jobs.stored import printable
from bananas_topology.system.clock import monotonic
from bananas_topology.worker.periodic import PeriodicTask
from bananas_topology.worker.run import Run

#: Approximate number of jobs that all workers together publish in a second.
JOBS_PER_S = 50

#: Minimum number of seconds between two messages of a worker.
INTERVAL_S = 1.0

#: Characters of an id, a type or an error that are published.
MAX_TEXT = 300

#: The outcome of a run by its settlement; a released run has none.
_OUTCOMES: dict[type[Settlement], str] = {
    AckJob: "completed",
    RetryJob: "retried",
    BuryJob: "dead",
}


class JobEvents:
    """Collects and publishes finished jobs. All methods are for the worker's loop."""

    def __init__(self, broker: Broker, worker_id: str, pool: str) -> None:
        self._broker = broker
        self._worker = {"worker_id": worker_id, "pool": pool}
        self._sharing = 0
        self._failed: list[bytes] = []
        self._completed: list[bytes] = []
        self._published_at = -math.inf
        #: To be run by the loop.
        self.task = PeriodicTask(math.inf, self._publish, due=math.inf)

    @property
    def is_wanted(self) -> bool:
        """Whether there was a subscriber at the last heartbeat or message."""
        return self._sharing > 0

    @property
    def _limit(self) -> int:
        """Maximum number of jobs in a message."""
        return max(1, JOBS_PER_S // self._sharing)

    def share(self, workers: int) -> None:
        """Set the number of workers that share the rate; 0 if there is no subscriber."""
        self._sharing = workers
        if not workers:
            self._failed, self._completed, self.task.due = [], [], math.inf

    def add(self, runs: Iterable[Run]) -> None:
        """Add settled runs; failures take precedence within the rate."""
        limit = self._limit
        for run in runs:
            settlement = run.settlement
            if settlement is None or (outcome := _OUTCOMES.get(type(settlement))) is None:
                continue
            sample = self._failed if settlement.failure else self._completed
            if len(sample) < limit:
                sample.append(self._describe(run, settlement, outcome))
        if self._failed or self._completed:
            # With more workers than jobs per second, each publishes one job less often.
            interval_s = max(INTERVAL_S, self._sharing / JOBS_PER_S)
            self.task.due = self._published_at + interval_s

    def _publish(self) -> float:
        jobs = [*self._failed, *self._completed][: self._limit]
        # The sample is dropped if the server is full or rejects it.
        with suppress(RedisFull, RequestRejected):
            self.share(self._broker.publish_jobs(jobs))
        self._failed, self._completed, self._published_at = [], [], monotonic()
        return math.inf

    def _describe(self, run: Run, settlement: Settlement, outcome: str) -> bytes:
        error = None
        if settlement.failure:
            failure = msgspec.json.decode(settlement.failure, type=Failure)
            error = f"{failure.type}: {failure.message}"[:MAX_TEXT]
        return msgspec.json.encode(
            {
                "id": printable(run.claim.job_id)[:MAX_TEXT],
                "name": run.job_type[:MAX_TEXT] or None,
                "outcome": outcome,
                "duration_ms": run.duration_ms,
                "attempt": run.attempt,
                **self._worker,
                "error": error,
            }
        )
