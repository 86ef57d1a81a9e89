"""How a worker stops: the grace, what ends it early, and the exit code. Knows no slots."""

from __future__ import annotations

import signal

from bananas_topology.system.clock import monotonic

#: Seconds that a stop tries to tell Redis what it holds, once its grace is over, or that it holds
#: nothing. What it cannot tell is returned by the lease.
FAREWELL_S = 2.0

#: Seconds within which a signal that comes again is the same wish: shells and supervisors signal
#: a whole process group, and each other's children again.
ECHO_S = 0.2


class Stopping:
    """The state of a stop. Times on the monotonic clock, in seconds."""

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s
        self._begun_at = 0.0
        self._forced_by: signal.Signals | None = None
        self._exit_code = 0
        #: When the grace is over; infinite while nothing stops.
        self.deadline = float("inf")

    @property
    def is_on(self) -> bool:
        """Whether the worker stops."""
        return self.deadline != float("inf")

    @property
    def is_forced(self) -> bool:
        """Whether it stops at once."""
        return self._forced_by is not None

    @property
    def is_due(self) -> bool:
        """Whether what still runs is to be given up."""
        return monotonic() >= self.deadline

    @property
    def is_over(self) -> bool:
        """Whether the worker is to end, whatever it still holds."""
        return monotonic() >= self.deadline + FAREWELL_S

    @property
    def is_farewell_over(self) -> bool:
        """Whether a worker that holds nothing has tried for long enough to say so."""
        return monotonic() >= self._begun_at + FAREWELL_S

    @property
    def exit_code(self) -> int:
        """What the process shall end with: 128 + n when it was forced by signal n."""
        return self._exit_code if self._forced_by is None else 128 + self._forced_by

    def is_echo(self, received: signal.Signals) -> bool:
        """Whether a signal repeats the wish that began the stop, rather than force it."""
        soft = received in (signal.SIGTERM, signal.SIGINT)
        return soft and self.is_on and monotonic() - self._begun_at < ECHO_S

    def begin(self, exit_code: int) -> None:
        """Start to stop: the grace begins."""
        self._begun_at = monotonic()
        self.deadline = self._begun_at + self._grace_s
        self._exit_code = exit_code

    def force(self, received: signal.Signals) -> None:
        """Stop at once."""
        self._forced_by = received
        self.deadline = self._begun_at = monotonic()
