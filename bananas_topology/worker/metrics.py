"""What a worker has done: counted as it settles, said in one log line a minute, and for scrapes.

Counting is on the way of each job, so it is plain arithmetic; what a scrape makes of the counts is
the business of exporter.py.
"""

from __future__ import annotations

import logging
from bisect import bisect_left

import msgspec

from bananas_topology.jobs.exchange import Ack, Bury, Retry
from bananas_topology.jobs.job import DECODE_ERRORS
from bananas_topology.system.clock import monotonic, parse_timestamp, wall_seconds
from bananas_topology.units import format_duration
from bananas_topology.worker.run import Run

#: Seconds between two lines of metrics.
REPORT_S = 60.0

#: Upper bounds of the histograms' buckets, in seconds.
BUCKETS_S = (
    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600,
)  # fmt: skip

log = logging.getLogger(__name__)


class Histogram:
    """How many values lay in each bucket (the last is for those beyond all), and their sum."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_S) + 1)
        self.total_s = 0.0

    def note(self, seconds: float) -> None:
        """Count one value."""
        self.counts[bisect_left(BUCKETS_S, seconds)] += 1
        self.total_s += seconds


class TypeTally:
    """The counts of one job type."""

    def __init__(self) -> None:
        self.completed = 0
        self.retried = 0
        self.buried = 0
        self.duration = Histogram()
        self.wait = Histogram()

    def count(self, run: Run) -> None:
        """Note one run that has ended."""
        match run.settlement:
            case Ack():
                self.completed += 1
            case Retry():
                self.retried += 1
            case Bury():
                self.buried += 1
            case _:
                return
        self.duration.note(run.duration_s)
        if (waited_s := _waited_s(run)) is not None:
            self.wait.note(waited_s)


class Tally:
    """Counts of one worker since its start. Utilisation and error rate are of all that time.

    `by_type` is filled only where somebody may come to scrape it.
    """

    def __init__(self, concurrency: int, *, is_scraped: bool) -> None:
        self._concurrency = concurrency
        self._is_scraped = is_scraped
        self._started_at = monotonic()
        self.completed = 0
        self.failed = 0
        self.enqueued = 0
        self.busy_s = 0.0
        self.by_type: dict[str, TypeTally] = {}

    def count(self, run: Run) -> None:
        """Note one run that has ended."""
        settlement = run.settlement
        if isinstance(settlement, Ack):
            self.completed += 1
        elif isinstance(settlement, Retry | Bury):
            self.failed += 1
        self.busy_s += run.duration_s
        if self._is_scraped and run.task is not None:
            job_type = run.job_type
            if job_type not in self.by_type:
                self.by_type[job_type] = TypeTally()
            self.by_type[job_type].count(run)

    def count_enqueued(self) -> None:
        """Note one job that this process enqueued."""
        self.enqueued += 1

    def report(self) -> None:
        """Say it, under the names that dashboards know."""
        processed = self.completed + self.failed
        uptime_s = monotonic() - self._started_at
        capacity_s = max(1e-3, uptime_s * self._concurrency)
        fields = {
            "jobs_processed": processed,
            "jobs_completed": self.completed,
            "jobs_failed": self.failed,
            "avg_duration_ms": round(self.busy_s * 1000 / max(1, processed)),
            "worker_utilization": f"{100 * self.busy_s / capacity_s:.1f}%",
            "error_rate": f"{100 * self.failed / max(1, processed):.2f}%",
            "uptime": format_duration(round(uptime_s) * 1000),
        }
        log.info("System metrics", extra=fields)


class _Origin(msgspec.Struct):
    """What a body says of its job's beginning."""

    created_at: str = ""
    status: str = ""


def _waited_s(run: Run) -> float | None:
    """Seconds from a job's creation to its first run; None where it was meant to wait."""
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
