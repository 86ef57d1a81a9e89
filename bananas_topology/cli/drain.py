"""`up --drain`: when nothing is left to do, what is shown until then, and whether a job died.

The supervisor only asks "is it over?"; what that means in Redis is known here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection

from bananas_topology.errors import RedisUnavailable, RedisUnsuitable
from bananas_topology.jobs.inspect import Backlog, Inspector
from bananas_topology.system.clock import monotonic

#: Polls in a row that must find nothing: between two keys read, a job may move from one to the
#: other and be seen in neither.
_QUIET_POLLS = 2

#: Seconds after which a drain no longer waits for workers that have never come up.
COME_UP_S = 10.0

#: Seconds of standstill after which it is said what is waited for in vain.
STANDSTILL_S = 5.0

log = logging.getLogger(__name__)


class Drain:
    """Asked again and again until it says that all is done.

    `show` gets a progress line, at most every `show_every_s` seconds.
    """

    def __init__(
        self,
        inspector: Inspector,
        workers: Collection[str],
        show: Callable[[str], None],
        show_every_s: float,
    ) -> None:
        self._inspector = inspector
        self._awaited = set(workers)
        self._await_until = monotonic() + COME_UP_S
        self._show = show
        self._show_every_s = show_every_s
        self._show_at = monotonic() + show_every_s
        self._quiet_polls = 0
        self._moved_at = monotonic()
        self._has_warned = False
        self._first = self._last = inspector.backlog()

    @property
    def done(self) -> int:
        """Jobs completed since the beginning."""
        return max(0, self._last.completed - self._first.completed)

    @property
    def died(self) -> int:
        """Jobs that have died since the beginning."""
        return max(0, self._last.dead - self._first.dead)

    def is_over(self) -> bool:
        """Look again. An outage of Redis is not an end: nothing is known until it is back."""
        try:
            self._look()
            quiet = _is_empty(self._last) and self._has_come_up()
        except (RedisUnavailable, RedisUnsuitable):
            quiet = False
        self._quiet_polls = self._quiet_polls + 1 if quiet else 0
        if monotonic() >= self._show_at:
            self._show_at = monotonic() + self._show_every_s
            self._show(self._progress())
        return self._quiet_polls >= _QUIET_POLLS

    def summary(self) -> str:
        """The last word on it."""
        died = f", {self.died:,} died: see `bananas dead list`" if self.died else ""
        return f"drained: {self.done:,} done{died}"

    def _look(self) -> None:
        before, self._last = self._last, self._inspector.backlog()
        if before != self._last or self._last.running or not self._last.ready:
            self._moved_at = monotonic()
        elif monotonic() - self._moved_at >= STANDSTILL_S and not self._has_warned:
            self._has_warned = True
            self._warn_of_standstill()

    def _warn_of_standstill(self) -> None:
        """Name what is ready and yet taken by nobody: this drain may last for ever."""
        unhandled = {each for depth in self._inspector.depths() for each in depth.unhandled}
        types = ",".join(sorted(unhandled)) or "unknown"
        log.warning(
            "jobs are ready that no running worker takes: still waiting",
            extra={"jobs": self._last.ready, "job_types": types},
        )

    def _has_come_up(self) -> bool:
        if self._awaited and monotonic() < self._await_until:
            self._awaited -= {worker.worker_id for worker in self._inspector.workers()}
        return not self._awaited or monotonic() >= self._await_until

    def _progress(self) -> str:
        last = self._last
        parts = [f"{self.done:,} done", f"{last.ready:,} ready", f"{last.running:,} running"]
        if last.scheduled:
            parts.append(f"{last.scheduled:,} scheduled")
        if self.died:
            parts.append(f"{self.died:,} died")
        return ", ".join(parts)


def _is_empty(backlog: Backlog) -> bool:
    return backlog.ready == backlog.scheduled == backlog.running == 0
