"""What a worker counts for the history, and when it adds the counts to Redis (jobs/history.py).

Counting is on every job's path, so it is plain arithmetic. What was counted goes with a heartbeat,
and when the worker leaves: no round trip of its own. A worker that is killed loses what it has
counted since.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import count

from bananas_topology.jobs.history import HistoryFlush, TypeCounts
from bananas_topology.jobs.log_histogram import bucket_of, to_list
from bananas_topology.jobs.settlements import (
    BURIED,
    COMPLETED,
    FAILED,
    Settlement,
    SettlementCounts,
)
from bananas_topology.system.clock import monotonic
from bananas_topology.worker.run import Run

#: Seconds between two flushes.
FLUSH_S = 10.0

#: Maximum number of job types that are counted between two flushes; the rest have no name.
MAX_TYPES = 200

#: Number of runs of a job type whose times are measured between two flushes; beyond that, one in
#: this many is measured, and weighted accordingly. Measuring takes a microsecond, a tenth of what a
#: short job takes.
MEASURE_ALL = 100
MEASURE_ONE_IN = 23


class _Counts:
    """The counts of one job type, and its times by bucket."""

    __slots__ = ("runs", "settled", "total", "waits")

    def __init__(self) -> None:
        self.total = 0
        self.settled = SettlementCounts()
        self.runs: defaultdict[int, int] = defaultdict(int)
        self.waits: defaultdict[int, int] = defaultdict(int)

    def measure(self, run: Run, weight: int) -> None:
        """Count the times of a run, as those of `weight` runs."""
        self.runs[bucket_of(run.duration_s)] += weight
        waited_s = run.waited_s()
        if waited_s is not None:
            self.waits[bucket_of(waited_s)] += weight


class HistoryCounts:
    """The counts by job type since they were last taken."""

    def __init__(self) -> None:
        self._by_type: dict[str, _Counts] = {}
        # Types of which all runs are still measured, and the number of runs until the next sample.
        self._rare: set[str] = set()
        self._skip = 0

    def count(self, job_type: str, kind: type[Settlement], number: int) -> None:
        """Count settled runs; `measure` is to be called with them."""
        counts = self._of(job_type)
        if counts.total < MEASURE_ALL:
            self._rare.add(job_type)
        counts.total += number
        counts.settled[kind] += number

    def measure(self, runs: Sequence[Run]) -> None:
        """Measure the times of settled runs: all of rare types, samples of frequent ones."""
        rare = self._rare
        if rare:
            for run in runs:
                if run.job_type in rare:
                    self._measure(run, 1)
        for run in runs[self._skip :: MEASURE_ONE_IN]:
            if run.job_type not in rare:
                self._measure(run, MEASURE_ONE_IN)
        self._skip = (self._skip - len(runs)) % MEASURE_ONE_IN
        rare.clear()

    def _measure(self, run: Run, weight: int) -> None:
        # A released job will run again, and some are buried that have not run.
        if run.started_at and run.settlement is not None and run.settlement.counters:
            self._of(run.job_type).measure(run, weight)

    def _of(self, job_type: str) -> _Counts:
        counts = self._by_type.get(job_type)
        if counts is None:
            name = job_type if len(self._by_type) < MAX_TYPES else ""
            counts = self._by_type.setdefault(name, _Counts())
        return counts

    def take(self) -> list[TypeCounts]:
        """Return the counts, most runs first, and start over."""
        by_type, self._by_type = self._by_type, {}
        taken = [
            TypeCounts(
                job_type,
                counts.settled.total(COMPLETED),
                counts.settled.total(FAILED),
                counts.settled.total(BURIED),
                to_list(counts.runs),
                to_list(counts.waits),
            )
            for job_type, counts in by_type.items()
        ]
        return sorted(taken, key=lambda each: -each.completed - each.failed)


class HistoryFlushes:
    """Creates flushes of counts, each of which is sent until Redis has confirmed it."""

    def __init__(self, counts: HistoryCounts, pool: str, incarnation: str) -> None:
        self._counts = counts
        self._pool = pool
        self._tokens = (f"{incarnation}.{number}" for number in count(1))
        self._unconfirmed: HistoryFlush | None = None
        self._due = 0.0

    def if_due(self) -> HistoryFlush | None:
        """What to send with a heartbeat, if anything."""
        is_due = self._unconfirmed is not None or monotonic() >= self._due
        return self.now() if is_due else None

    def now(self) -> HistoryFlush | None:
        """What to send at once, if anything, because the worker leaves."""
        if self._unconfirmed is None and (counts := self._counts.take()):
            self._unconfirmed = HistoryFlush.of(next(self._tokens), self._pool, counts)
        return self._unconfirmed

    def confirm(self) -> None:
        """Record that Redis has confirmed a flush."""
        if self._unconfirmed is not None:
            self._unconfirmed = None
            self._due = monotonic() + FLUSH_S
