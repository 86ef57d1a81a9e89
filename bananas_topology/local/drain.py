"""`up --drain`: detects that no jobs are left, reports progress, and counts jobs that died.

The supervisor only polls `is_over`; what it means in Redis is defined here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection

from bananas_topology.errors import RedisUnavailable, RedisUnsuitable
from bananas_topology.jobs.inspect import Backlog, Inspector
from bananas_topology.system.clock import monotonic

#: Consecutive polls that must find no jobs: while keys are read one after the other, a job may
#: move from one to another and be missed in both.
_EMPTY_POLLS = 2

#: Seconds to wait for workers to register.
STARTUP_TIMEOUT_S = 10.0

#: Seconds without progress before a warning is logged.
STALL_WARNING_S = 5.0

log = logging.getLogger(__name__)


class Drain:
    """Polled until all jobs are done.

    `show` receives a progress line, at most every `show_every_s` seconds.
    """

    def __init__(
        self,
        inspector: Inspector,
        workers: Collection[str],
        show: Callable[[str], None],
        show_every_s: float,
    ) -> None:
        self._inspector = inspector
        self._starting = set(workers)
        self._startup_deadline = monotonic() + STARTUP_TIMEOUT_S
        self._show = show
        self._show_every_s = show_every_s
        self._show_at = monotonic() + show_every_s
        self._empty_polls = 0
        self._progress_at = monotonic()
        self._has_warned = False
        self._first = self._last = inspector.backlog()

    @property
    def completed(self) -> int:
        """Jobs completed since the drain started."""
        return max(0, self._last.completed - self._first.completed)

    @property
    def died(self) -> int:
        """Jobs that died since the drain started."""
        return max(0, self._last.dead - self._first.dead)

    def is_over(self) -> bool:
        """Poll Redis. While it is unavailable the state is unknown, so the drain continues."""
        try:
            self._poll()
            is_empty = _is_empty(self._last) and self._has_started()
        except (RedisUnavailable, RedisUnsuitable):
            is_empty = False
        self._empty_polls = self._empty_polls + 1 if is_empty else 0
        if monotonic() >= self._show_at:
            self._show_at = monotonic() + self._show_every_s
            self._show(self._progress())
        return self._empty_polls >= _EMPTY_POLLS

    def summary(self) -> str:
        """Summarize a finished drain."""
        died = f", {self.died:,} died (see `bananas dead list`)" if self.died else ""
        return f"drained: {self.completed:,} completed{died}"

    def _poll(self) -> None:
        before, self._last = self._last, self._inspector.backlog()
        if before != self._last or self._last.running or not self._last.ready:
            self._progress_at = monotonic()
        elif monotonic() - self._progress_at >= STALL_WARNING_S and not self._has_warned:
            self._has_warned = True
            self._warn_of_stall()

    def _warn_of_stall(self) -> None:
        """Log the job types that no worker accepts: the drain may never finish."""
        unhandled = {each for depth in self._inspector.depths() for each in depth.unhandled}
        types = ",".join(sorted(unhandled)) or "unknown"
        log.warning(
            "drain stalled: no running worker accepts the ready jobs",
            extra={"jobs": self._last.ready, "job_types": types},
        )

    def _has_started(self) -> bool:
        if self._starting and monotonic() < self._startup_deadline:
            self._starting -= {worker.worker_id for worker in self._inspector.workers()}
        return not self._starting or monotonic() >= self._startup_deadline

    def _progress(self) -> str:
        last = self._last
        parts = [
            f"{self.completed:,} completed",
            f"{last.ready:,} ready",
            f"{last.running:,} running",
        ]
        if last.scheduled:
            parts.append(f"{last.scheduled:,} scheduled")
        if self.died:
            parts.append(f"{self.died:,} died")
        return ", ".join(parts)


def _is_empty(backlog: Backlog) -> bool:
    return backlog.ready == backlog.scheduled == backlog.running == 0
