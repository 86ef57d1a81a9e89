"""Counts of what a worker has done, for its log line (usage.py) and for scrapes.

Counting is on every job's path, so it is plain arithmetic; exporter.py turns the counts into
Prometheus metrics when they are scraped.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from typing import Self

from bananas_topology.jobs.settlements import (
    COMPLETED,
    FAILED,
    SETTLEMENTS,
    Settlement,
    SettlementCounts,
)
from bananas_topology.worker.history import HistoryCounts
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
        """Replace the values.

        Raises:
            ValueError: they are too many or too few.
        """
        *counts, self.total_s = values
        self.counts = [round(count) for count in counts]
        if len(counts) != len(BUCKETS_S) + 1:
            raise ValueError(f"expected {len(BUCKETS_S) + 2} numbers, got {len(values)}")


class TypeTally:
    """The counts of one job type."""

    def __init__(self) -> None:
        self.settled = SettlementCounts()
        self.duration = Histogram()
        self.wait = Histogram()

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Create a tally from the `values` of another, or from sums of them.

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

    def count(self, kind: type[Settlement], duration_s: float, waited_s: float | None) -> None:
        """Count one settled run."""
        self.settled[kind] += 1
        self.duration.observe(duration_s)
        if waited_s is not None:
            self.wait.observe(waited_s)


class Tally:
    """Counts of one worker since its start.

    `busy_s` is the time of all runs that have ended, `settled_s` of those that Redis has accepted.
    `by_type` is filled only if `is_scraped`. `history` has what was not added to the history yet.
    """

    def __init__(self, *, is_scraped: bool) -> None:
        self.is_scraped = is_scraped
        self._settled = SettlementCounts()
        self.enqueued = 0
        self.busy_s = 0.0
        self.settled_s = 0.0
        self.by_type: dict[str, TypeTally] = {}
        self.history = HistoryCounts()

    @property
    def completed(self) -> int:
        """Number of completed jobs."""
        return self._settled.total(COMPLETED)

    @property
    def failed(self) -> int:
        """Number of failed runs."""
        return self._settled.total(FAILED)

    def count(self, runs: Sequence[Run]) -> None:
        """Count runs whose settlements Redis has accepted."""
        groups: defaultdict[tuple[str, type[Settlement]], int] = defaultdict(int)
        for run in runs:
            if run.settlement is not None:
                job = run.job
                groups["" if job is None else job.name, type(run.settlement)] += 1
                self.settled_s += run.duration_s
        for (job_type, kind), number in groups.items():
            self._settled[kind] += number
            if kind.counters:
                self.history.count(job_type, kind, number)
        self.history.measure(runs)
        if self.is_scraped:
            self._count_by_type(runs)

    def _count_by_type(self, runs: Sequence[Run]) -> None:
        for run in runs:
            if run.bound is None or run.settlement is None or not run.settlement.counters:
                continue
            job_type = run.job_type
            if job_type not in self.by_type:
                self.by_type[job_type] = TypeTally()
            self.by_type[job_type].count(type(run.settlement), run.duration_s, run.waited_s())

    def count_enqueued(self) -> None:
        """Count one job that this process enqueued."""
        self.enqueued += 1
