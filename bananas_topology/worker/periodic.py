"""Actions that the worker's loop repeats at intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bananas_topology.system.clock import monotonic


@dataclass(slots=True)
class PeriodicTask:
    """An action to repeat; `due` on the monotonic clock.

    `action` may return the seconds until its next run, if that is not `interval_s`.
    """

    interval_s: float
    action: Callable[[], float | None]
    due: float = 0.0


def run_due(tasks: list[PeriodicTask]) -> None:
    """Run the tasks that are due. A task that raises stays due."""
    for task in tasks:
        if task.due <= monotonic():
            delay_s = task.action()
            task.due = monotonic() + (task.interval_s if delay_s is None else delay_s)


def next_due(tasks: list[PeriodicTask]) -> float:
    """When the first of the tasks is due; infinite if there is none."""
    return min((task.due for task in tasks), default=float("inf"))
