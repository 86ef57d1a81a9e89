"""How far to claim ahead of the slots: a few milliseconds of work, never a number of jobs. Pure.

Claiming ahead moves short jobs in large batches; what is claimed ahead of a slot waits in this
process, so it must be little. Two things bound it: how long runs take, and how long those claimed
ahead really waited (which knows of handlers that hold the interpreter's lock, and so do not run
side by side).
"""

from __future__ import annotations

#: Seconds that a job claimed ahead may wait: by so much is a more urgent one late, at the most.
WINDOW_S = 0.005

#: The most jobs to hold, those that slots run among them: larger batches gain nothing, and outgrow
#: the caches of worker and server.
LIMIT = 250

#: How fast the estimate of durations falls; it rises at once, and so errs on the side of too long.
_EASE = 0.2

#: How many jobs to hold ahead before anything is known of how long they wait.
_FIRST = 10


class Pace:
    """Learns from finished runs. Times in seconds."""

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._mean_s = 2 * WINDOW_S
        self._by_wait = float(_FIRST)

    @property
    def ahead(self) -> int:
        """How many jobs to hold beyond those that slots run; 0 while jobs are not short."""
        if self._mean_s >= 2 * WINDOW_S:
            return 0
        by_duration = WINDOW_S * self._concurrency / max(self._mean_s, 1e-6)
        return int(min(max(0, LIMIT - self._concurrency), by_duration, self._by_wait))

    def note(self, count: int, total_s: float, waited_s: float) -> None:
        """Learn from `count` runs that took `total_s` together; the last one waited `waited_s`."""
        mean_s = total_s / count
        rises = mean_s > self._mean_s
        self._mean_s += (mean_s - self._mean_s) * (1 if rises else _EASE)
        if waited_s > WINDOW_S:
            self._by_wait = max(float(_FIRST), self._by_wait * WINDOW_S / waited_s)
        elif waited_s < WINDOW_S / 2:
            self._by_wait = min(float(LIMIT), self._by_wait * 1.5)

    def slow(self, seconds: float) -> None:
        """Learn that jobs claimed ahead had to wait for so long."""
        self._mean_s = max(self._mean_s, seconds)
        self._by_wait = float(_FIRST)
