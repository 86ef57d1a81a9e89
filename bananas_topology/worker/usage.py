"""The utilization of a worker's slots: for one log line per interval, and for scrapes.

A slot is busy while a job runs in it, finished or not, and while a handler that has timed out holds
it. Utilization is measured since the last reading: an average over a process's life would not show
that all slots have been busy for an hour.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from bananas_topology.system.clock import monotonic
from bananas_topology.units import format_duration
from bananas_topology.worker.metrics import Tally
from bananas_topology.worker.slots import Slots

#: Seconds between two log lines with metrics.
REPORT_S = 30.0

#: Minimum seconds over which the rates of a scrape are measured.
WINDOW_S = 5.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Usage:
    """The state of the counts at one moment; a rate is the difference of two.

    `busy_s` is the total time for which slots have been busy.
    """

    at: float
    busy_s: float
    completed: int
    failed: int

    def utilization_since(self, before: Usage, concurrency: int) -> float:
        """The fraction of slot time in use since then."""
        capacity_s = (self.at - before.at) * concurrency
        return min(1.0, max(0.0, self.busy_s - before.busy_s) / max(1e-3, capacity_s))

    def error_rate_since(self, before: Usage) -> float:
        """The fraction of runs since then that failed."""
        failed = self.failed - before.failed
        return failed / max(1, self.completed - before.completed + failed)


class UsageMeter:
    """Takes readings of a worker's counts and slots. For use by one thread at a time."""

    def __init__(self, tally: Tally, slots: Slots) -> None:
        self._tally = tally
        self._slots = slots
        self._read_at = monotonic()
        self._stuck_s = 0.0

    def read(self) -> Usage:
        """Take a reading. Slots that are stuck now count as if since the last one."""
        tally, now = self._tally, monotonic()
        self._stuck_s += len(self._slots.stuck_runs()) * (now - self._read_at)
        self._read_at = now
        busy_s = tally.busy_s + self._slots.running_s(now) + self._stuck_s
        return Usage(now, busy_s, tally.completed, tally.failed)


class UsageWindow:
    """The readings that the rates of scrapes are computed from, `WINDOW_S` or more apart."""

    def __init__(self, first: Usage) -> None:
        self._before = self._last = first

    def rates(self, now: Usage, concurrency: int) -> tuple[float, float]:
        """Return utilization and error rate until now."""
        if now.at - self._last.at >= WINDOW_S:
            self._before, self._last = self._last, now
        return now.utilization_since(self._before, concurrency), now.error_rate_since(self._before)


class UsageReport:
    """Logs the counts since the start, and the utilization since the last report."""

    def __init__(self, tally: Tally, slots: Slots, concurrency: int) -> None:
        self._tally = tally
        self._concurrency = concurrency
        self._meter = UsageMeter(tally, slots)
        self._first = self._last = self._meter.read()

    def log(self) -> None:
        """Log one line, under the field names that existing dashboards use."""
        before, self._last = self._last, self._meter.read()
        now, tally = self._last, self._tally
        processed = now.completed + now.failed
        fields = {
            "jobs_processed": processed,
            "jobs_completed": now.completed,
            "jobs_failed": now.failed,
            "avg_duration_ms": round(tally.settled_s * 1000 / max(1, processed)),
            "worker_utilization": f"{now.utilization_since(before, self._concurrency):.1%}",
            "error_rate": f"{now.failed / max(1, processed):.2%}",
            "uptime": format_duration(round(now.at - self._first.at) * 1000),
        }
        log.info("System metrics", extra=fields)
