"""What the worker's loop does again and again, each at its own interval."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bananas_topology.system.clock import monotonic


@dataclass(slots=True)
class Duty:
    """Something to do again and again; `due` on the monotonic clock.

    `action` may say in how many seconds it wants to be done again, if not in `interval_s`.
    """

    interval_s: float
    action: Callable[[], float | None]
    due: float = 0.0


def run_due(duties: list[Duty]) -> None:
    """Do what is due. A duty that raises stays due."""
    for duty in duties:
        if duty.due <= monotonic():
            again_s = duty.action()
            duty.due = monotonic() + (duty.interval_s if again_s is None else again_s)


def next_due(duties: list[Duty]) -> float:
    """When the first of the duties is due."""
    return min((duty.due for duty in duties), default=float("inf"))
