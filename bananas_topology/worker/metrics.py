"""Counts of what a worker has done, for its log line (usage.py) and for scrapes.

Counting is on every job's path, so it is plain arithmetic; exporter.py turns the counts into
Prometheus metrics when they are scraped.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Self

import msgspec

from bananas_topology.jobs.job import DECODE_ERRORS
from bananas_topology.jobs.settlements import COMPLETED, FAILED, SETTLEMENTS, Counter, Settlement
from bananas_topology.system.clock import monotonic, parse_timestamp, wall_seconds
from bananas_topology.worker.run import Run

#: Upper bounds of the histogram buckets, in seconds.
BUCKETS_S = (
    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600,
)  # fmt: skip


class Histogram:
    """The number of values per bucket (the last one is unbounded), and their sum."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_S) + 1)
        self.total_s = 0.0

    def observe(self, seconds: float) -> None:
        """Count one value."""
        self.counts[bisect_left(BUCKETS_S, seconds)] += 1
        self.total_s += seconds

    def values(self) -> list[float]:
        """All numbers, as `set` reads them."""
        return [*self.counts, self.total_s]

    def set(self, values: Sequence[float]) -> None:
        """Take over numbers.

        Raises:
            ValueError: they are too many or too few.
        """
        *counts, self.total_s = values
        self.counts = [round(count) for count in counts]
        if len(counts) != len(BUCKETS_S) + 1:
            raise ValueError(f"expected {len(BUCKETS_S) + 2} numbers, got {len(values)}")


class SettlementCounts(dict[type[Settlement], int]):
    """Number of settlements by class."""

    def __init__(self) -> None:
        super().__init__(dict.fromkeys(SETTLEMENTS, 0))

    def total(self, counter: Counter) -> int:
        """The number of settlements that increment a counter."""
        return sum(n for kind, n in self.items() if counter in kind.counters)


class TypeTally:
    """The counts of one job type."""

    def __init__(self) -> None:
        self.settled = SettlementCounts()
        self.duration = Histogram()
        self.wait = Histogram()

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Make a tally of the `values` of another, or of sums of them.

        Raises:
            ValueError: they are too many or too few.
        """
        tally = cls()
        begin = len(SETTLEMENTS)
        middle = (begin + len(values)) // 2
        for kind, count in zip(SETTLEMENTS, values, strict=False):
            tally.settled[kind] = round(count)
        tally.duration.set(values[begin:middle])
        tally.wait.set(values[middle:])
        return tally

    def values(self) -> list[float]:
        """All numbers, to be added up with those of other workers."""
        return [*self.settled.values(), *self.duration.values(), *self.wait.values()]

    @property
    def completed(self) -> int:
        """Number of completed jobs."""
        return self.settled.total(COMPLETED)

    @property
    def failed(self) -> int:
        """Number of failed runs."""
        return self.settled.total(FAILED)

    def count(self, run: Run) -> None:
        """Count one settled run."""
        settlement = run.settlement
        if settlement is None or not settlement.counters:
            return
        self.settled[type(settlement)] += 1
        self.duration.observe(run.duration_s)
        if (waited_s := _waited_s(run)) is not None:
            self.wait.observe(waited_s)


class Tally:
    """Counts of one worker since its start.

    `busy_s` is the time of all runs that have ended, `settled_s` of those that Redis has accepted.
    `by_type` is filled only if `is_scraped`.
    """

    def __init__(self, *, is_scraped: bool) -> None:
        self.is_scraped = is_scraped
        self._settled = SettlementCounts()
        self.enqueued = 0
        self.busy_s = 0.0
        self.settled_s = 0.0
        self.by_type: dict[str, TypeTally] = {}

    @property
    def completed(self) -> int:
        """Number of completed jobs."""
        return self._settled.total(COMPLETED)

    @property
    def failed(self) -> int:
        """Number of failed runs."""
        return self._settled.total(FAILED)

    def count(self, run: Run) -> None:
        """Count one run whose settlement Redis has accepted."""
        if run.settlement is not None:
            self._settled[type(run.settlement)] += 1
        self.settled_s += run.duration_s
        if self.is_scraped and run.bound is not None:
            job_type = run.job_type
            if job_type not in self.by_type:
                self.by_type[job_type] = TypeTally()
            self.by_type[job_type].count(run)

    def count_enqueued(self) -> None:
        """Count one job that this process enqueued."""
        self.enqueued += 1


class _Origin(msgspec.Struct):
    """The fields of a stored job that tell when it could first run."""

    created_at: str = ""
    status: str = ""


def _waited_s(run: Run) -> float | None:
    """Seconds from a job's creation to its first run; None if it was delayed or is a retry."""
    if run.attempt > 1 or run.started_at == 0.0:
        return None
    try:
        origin = _ORIGIN.decode(run.claim.body or b"")
        created_at = parse_timestamp(origin.created_at)
    except (ValueError, *DECODE_ERRORS):
        return None
    if origin.status == "scheduled":
        return None
    started_at = wall_seconds() - (monotonic() - run.started_at)
    return max(0.0, started_at - created_at.timestamp())


_ORIGIN = msgspec.json.Decoder(_Origin)
