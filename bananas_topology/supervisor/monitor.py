"""Monitors running children: replaces stalled ones, measures what they use, explains exits."""

from __future__ import annotations

import logging
import math
import signal
from collections import Counter
from collections.abc import Iterable

from bananas_topology.supervisor.exits import OutOfMemoryKills, describe, kind_of
from bananas_topology.supervisor.state import (
    MAX_REPLACEMENTS,
    REPLACEMENT_WINDOW_S,
    STACKS_TIMEOUT_S,
    ChildState,
)
from bananas_topology.system.clock import monotonic
from bananas_topology.system.processes import usage_of

#: Seconds between two measurements of memory and processor time.
SAMPLE_S = 5.0

#: Seconds between two iterations of the loop after which the supervisor itself must have been
#: suspended: that it received no reports then says nothing about its children.
SUSPENDED_S = 5.0

log = logging.getLogger(__name__)


class Monitor:
    """Called in each iteration of the supervisor's loop."""

    def __init__(self) -> None:
        self._turned_at = monotonic()
        self._sampled_at = -math.inf
        self._out_of_memory_kills = OutOfMemoryKills()
        #: Exits by pool and kind.
        self.exits: Counter[tuple[str, str]] = Counter()

    def check(self, children: Iterable[ChildState], now: float) -> None:
        """Replace the children that have stalled; measure the others from time to time."""
        was_suspended = now - self._turned_at > SUSPENDED_S
        self._turned_at = now
        running = [state for state in children if state.child.is_running]
        for state in running:
            if was_suspended and state.reported_at is not None:
                state.reported_at = now
            if state.is_stalled(now) and state.stalled_s is None and not state.is_stopping:
                _replace(state, now)
        if now - self._sampled_at >= SAMPLE_S:
            for state in running:
                _measure(state, now - self._sampled_at)
            self._sampled_at = now
            self._out_of_memory_kills.update()

    def reason(self, state: ChildState, code: int) -> str:
        """Explain why a child's process exited, and count the exit."""
        is_out_of_memory = not state.is_killed and self._out_of_memory_kills.has_happened()
        is_stalled = state.stalled_s is not None
        kind = kind_of(code, is_out_of_memory=is_out_of_memory, is_stalled=is_stalled)
        self.exits[state.pool, kind] += 1
        return describe(code, is_out_of_memory=is_out_of_memory, stalled_s=state.stalled_s)


def _replace(state: ChildState, now: float) -> None:
    """Make a stalled process write its stacks and exit; the usual restart follows."""
    stalled_s = now - (state.reported_at or now)
    extra = {"child": state.name, "seconds": round(stalled_s)}
    if state.may_be_replaced(now):
        state.stalled_s = stalled_s
        state.replaced_at = (*state.replaced_at, now)[-MAX_REPLACEMENTS:]
        log.error("child stalled, replacing it: its stacks follow", extra=extra)
        # Python's fault handler writes the stacks of all threads on SIGABRT, in C: it needs neither
        # the interpreter nor the loop. A suspended process dies of the SIGKILL that follows.
        state.child.send(signal.SIGABRT)
        state.kill_at = min(state.kill_at or math.inf, now + STACKS_TIMEOUT_S)
    elif not state.has_warned:
        state.has_warned = True
        limit = f"{MAX_REPLACEMENTS} times within {REPLACEMENT_WINDOW_S / 60:.0f} min"
        log.error("child stalled, not replaced: it was %s already", limit, extra=extra)


def _measure(state: ChildState, elapsed_s: float) -> None:
    if state.child.pid is None:
        return
    before, state.usage = state.usage, usage_of(state.child.pid)
    if state.usage is None:
        state.cpu_percent = None
    elif before is not None:
        state.cpu_percent = 100 * (state.usage.cpu_s - before.cpu_s) / elapsed_s
    elif state.child.uptime_s >= 1:
        state.cpu_percent = 100 * state.usage.cpu_s / state.child.uptime_s
