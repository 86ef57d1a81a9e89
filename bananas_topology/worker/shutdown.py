"""How a worker shuts down: its grace period, what shortens it, and the exit code."""

from __future__ import annotations

import signal

from bananas_topology.system.clock import monotonic
from bananas_topology.system.signals import DEBOUNCE_S
from bananas_topology.worker.slots import CLEANUP_S

#: Seconds to release jobs and deregister at Redis once the grace period is over or nothing is left
#: to run. After that the lease returns whatever is still claimed.
LEAVE_TIMEOUT_S = 2.0

#: Maximum seconds for exit hooks (`atexit`, non-daemon threads), and the latest end of these after
#: the grace period. A worker's parent waits for the grace period and 5 s more.
EXIT_HOOKS_S = 5.0
EXIT_BY_S = 4.0


class Shutdown:
    """The state of a shutdown. Times on the monotonic clock, in seconds."""

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s
        self._started_at = 0.0
        self._forced_by: signal.Signals | None = None
        self._exit_code = 0
        self._leave_by = float("inf")
        #: Whether the worker is shutting down.
        self.is_started = False
        #: The end of the grace period; infinite before the shutdown, and in a drain.
        self.deadline = float("inf")

    @property
    def is_started_with_grace(self) -> bool:
        """Whether the worker is shutting down, and not just draining."""
        return self.deadline != float("inf")

    @property
    def is_forced(self) -> bool:
        """Whether it shuts down without a grace period."""
        return self._forced_by is not None

    @property
    def is_grace_over(self) -> bool:
        """Whether jobs that still run are to be released."""
        return monotonic() >= self.deadline

    @property
    def is_cleanup_over(self) -> bool:
        """Whether jobs are to be released although their interrupted handlers have not ended.

        Not later because a paused process has interrupted them late.
        """
        return self.is_forced or monotonic() >= self.deadline + CLEANUP_S

    @property
    def overdue_at(self) -> float:
        """When the worker must exit even if it still holds jobs."""
        return self.deadline + CLEANUP_S + LEAVE_TIMEOUT_S

    @property
    def must_exit(self) -> bool:
        """Whether the worker must exit, whatever Redis has not confirmed."""
        return monotonic() >= min(self.overdue_at, self._leave_by)

    @property
    def exit_hooks_s(self) -> float:
        """How many seconds the process's exit hooks may take."""
        if self.is_forced:
            return 0.0
        left_s = self.deadline + EXIT_BY_S - monotonic()
        return max(EXIT_BY_S - CLEANUP_S - LEAVE_TIMEOUT_S, min(EXIT_HOOKS_S, left_s))

    @property
    def exit_code(self) -> int:
        """The process's exit code: 128 + n if signal n forced the shutdown."""
        return self._exit_code if self._forced_by is None else 128 + self._forced_by

    def is_duplicate_signal(self, received: signal.Signals) -> bool:
        """Whether a signal repeats the one that started the shutdown rather than forcing it."""
        is_graceful = received in (signal.SIGTERM, signal.SIGINT)
        is_recent = monotonic() - self._started_at < DEBOUNCE_S
        return is_graceful and self.is_started_with_grace and is_recent

    def start(self, exit_code: int, *, is_drain: bool = False) -> None:
        """Start the grace period, or a drain, which takes as long as the running jobs."""
        self.is_started = True
        self._started_at = monotonic()
        if not is_drain:
            self.deadline = self._started_at + self._grace_s
        self._exit_code = exit_code

    def force(self, received: signal.Signals) -> None:
        """Shut down without a grace period."""
        self._forced_by = received
        self.is_started = True
        self.deadline = self._started_at = monotonic()

    def leave(self) -> None:
        """Start the time in which a worker that holds nothing more must have deregistered."""
        if self._leave_by == float("inf"):
            self._leave_by = monotonic() + LEAVE_TIMEOUT_S
