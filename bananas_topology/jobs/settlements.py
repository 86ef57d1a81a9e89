"""The transitions that end a claim: ack, retry, bury, release.

A transition is one class. To add one, write its script and its class, and add the class to
`Settlement`. All members are used through that union, so the type checker reports a missing one:

- ``script``; ``shared_args``, the arguments that all jobs of a call share, after the prefix; and
  ``job_args``, those of one job, after id and fence
- ``keep``: how long to keep the job, if its type differs from the pool in this
- ``event`` and ``level`` of its log line; ``log_fields``, in addition to those of the run
- ``counters`` that it increments
- ``failure`` of the job as JSON, empty if it has not failed
- ``run``: the run to keep in the job's history (see runs.py), empty if it has none
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import ClassVar, NamedTuple, get_args

import msgspec

from bananas_topology.contract.jobs import Keep
from bananas_topology.jobs import scripts
from bananas_topology.jobs.calls import Value
from bananas_topology.jobs.consumer import Consumer
from bananas_topology.jobs.job import Claim
from bananas_topology.jobs.scripts import Script

#: Maximum number of settlements per call, so that a call blocks the server for a few milliseconds.
SETTLE_LIMIT = 500

#: Milliseconds for which the last failure and the runs of a job that will run again are kept.
KEEP_FAILURE_MS = 604_800_000

LogFields = dict[str, str | int]


class Counter(NamedTuple):
    """A counter per job type, exported to Prometheus as ``bananas_<name>_total``."""

    name: str
    description: str


COMPLETED = Counter("jobs_completed", "Completed jobs")
FAILED = Counter("jobs_failed", "Failed runs")
BURIED = Counter("jobs_buried", "Jobs that failed permanently")


class AckJob(msgspec.Struct, frozen=True):
    """The job has completed: its final body, and its result as JSON."""

    script: ClassVar[Script] = scripts.ACK
    event: ClassVar[str] = "job completed"
    level: ClassVar[int] = logging.DEBUG
    counters: ClassVar[tuple[Counter, ...]] = (COMPLETED,)
    failure: ClassVar[bytes] = b""

    claim: Claim
    body: bytes
    result: bytes
    completed_at: str
    duration_ms: int
    keep: Keep | None = None
    run: bytes = b""

    def shared_args(self, consumer: Consumer) -> tuple[Value, ...]:
        keep = self.keep or consumer.keep
        return (keep.completed_ms or 0, keep.results_ms or 0)

    def job_args(self) -> tuple[Value, ...]:
        return (self.body, self.result, self.completed_at, self.duration_ms)

    def log_fields(self) -> LogFields:
        return {}


class RetryJob(msgspec.Struct, frozen=True):
    """The job has failed and will run again: its body for then, and the failure as JSON."""

    script: ClassVar[Script] = scripts.RETRY
    event: ClassVar[str] = "job failed, retry scheduled"
    level: ClassVar[int] = logging.WARNING
    counters: ClassVar[tuple[Counter, ...]] = (FAILED,)

    claim: Claim
    body: bytes
    failure: bytes
    delay_ms: int
    run: bytes = b""
    keep: ClassVar[None] = None

    def shared_args(self, consumer: Consumer) -> tuple[Value, ...]:
        return (KEEP_FAILURE_MS,)

    def job_args(self) -> tuple[Value, ...]:
        return (self.body, self.failure, self.delay_ms)

    def log_fields(self) -> LogFields:
        return {"delay_ms": self.delay_ms}


class BuryJob(msgspec.Struct, frozen=True):
    """The job goes to the dead list. An empty `body` keeps the stored value, which is not a job."""

    script: ClassVar[Script] = scripts.BURY
    event: ClassVar[str] = "job buried"
    level: ClassVar[int] = logging.ERROR
    counters: ClassVar[tuple[Counter, ...]] = (FAILED, BURIED)

    claim: Claim
    body: bytes
    failure: bytes
    error: str
    completed_at: str
    duration_ms: int
    keep: Keep | None = None
    run: bytes = b""

    def shared_args(self, consumer: Consumer) -> tuple[Value, ...]:
        keep = self.keep or consumer.keep
        return (keep.dead_ms or 0, keep.errors_ms or 0)

    def job_args(self) -> tuple[Value, ...]:
        return (self.body, self.failure, self.error, self.completed_at, self.duration_ms)

    def log_fields(self) -> LogFields:
        return {}


class ReleaseJob(msgspec.Struct, frozen=True):
    """The job goes back to its queue unchanged; `is_started`: its handler was interrupted."""

    script: ClassVar[Script] = scripts.RELEASE
    event: ClassVar[str] = "job released"
    counters: ClassVar[tuple[Counter, ...]] = ()
    failure: ClassVar[bytes] = b""

    claim: Claim
    is_started: bool = False
    run: bytes = b""
    keep: ClassVar[None] = None

    @property
    def level(self) -> int:
        """Prefetched jobs are released all the time; only an interrupted one is logged."""
        return logging.INFO if self.is_started else logging.DEBUG

    def shared_args(self, consumer: Consumer) -> tuple[Value, ...]:
        return (KEEP_FAILURE_MS,)

    def job_args(self) -> tuple[Value, ...]:
        return ()

    def log_fields(self) -> LogFields:
        return {}


Settlement = AckJob | RetryJob | BuryJob | ReleaseJob

#: All of them, and the counters that they increment.
SETTLEMENTS: tuple[type[Settlement], ...] = get_args(Settlement)
COUNTERS = tuple(dict.fromkeys(counter for kind in SETTLEMENTS for counter in kind.counters))


class SettlementCounts(dict[type[Settlement], int]):
    """Number of settlements by class."""

    def __init__(self) -> None:
        super().__init__(dict.fromkeys(SETTLEMENTS, 0))

    def total(self, counter: Counter) -> int:
        """The number of settlements that increment a counter."""
        return sum(n for kind, n in self.items() if counter in kind.counters)


def group_settlements(settlements: Iterable[Settlement]) -> list[list[Settlement]]:
    """Group settlements by class and by `keep`, into calls of up to `SETTLE_LIMIT`."""
    groups: dict[object, list[Settlement]] = {}
    for settlement in settlements:
        kind, keep = type(settlement), settlement.keep
        groups.setdefault(kind if keep is None else (kind, keep), []).append(settlement)
    return [
        group[start : start + SETTLE_LIMIT]
        for group in groups.values()
        for start in range(0, len(group), SETTLE_LIMIT)
    ]
