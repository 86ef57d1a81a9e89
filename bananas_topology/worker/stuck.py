"""Slots lost to handlers that do not end: logged from half of the slots on, then a restart.

A thread cannot be killed, so a handler that ignores its timeout keeps its slot. Without a warning,
the worker would just run fewer jobs.
"""

from __future__ import annotations

import logging

from bananas_topology.system.clock import monotonic
from bananas_topology.worker.run import describe
from bananas_topology.worker.slots import Slots

#: Seconds for which slots must be stuck until that counts.
STUCK_S = 5.0

log = logging.getLogger(__name__)


class StuckSlots:
    """Watches a worker's slots. Call `check` about once a second."""

    def __init__(self, slots: Slots, concurrency: int) -> None:
        self._slots = slots
        self._concurrency = concurrency
        self._half = _Condition()
        self._most = _Condition()
        self._is_half_logged = False

    def check(self) -> bool:
        """Log once that half of the slots are stuck; returns whether more than half are."""
        stuck = self._slots.stuck
        is_half = self._half.lasts(0 < self._concurrency <= stuck * 2)
        is_most = self._most.lasts(stuck * 2 > self._concurrency)
        if is_most:
            log.error("too few slots left: timed-out handlers still running", extra=self._extra())
        elif is_half and not self._is_half_logged:
            log.warning(
                "half of the slots lost: timed-out handlers still running", extra=self._extra()
            )
        self._is_half_logged = is_half
        return is_most

    def _extra(self) -> dict[str, object]:
        stuck, jobs = self._slots.stuck, describe(self._slots.stuck_runs())
        return {"stuck": stuck, "left": self._concurrency - stuck, "jobs": jobs}


class _Condition:
    """Whether a condition has held for `STUCK_S`."""

    def __init__(self) -> None:
        self._since: float | None = None

    def lasts(self, is_so: bool) -> bool:
        if not is_so:
            self._since = None
        elif self._since is None:
            self._since = monotonic()
        return self._since is not None and monotonic() - self._since >= STUCK_S
