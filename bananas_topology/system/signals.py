"""Signals as an inbox: handlers only queue a number, which the main loop reads when it is ready.

Python's wake-up file descriptor makes a waiting `select` return at once, so that no loop needs
to poll. Used by the worker and the supervisor; only a process's main thread may install it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from types import FrameType, TracebackType
from typing import Any, Self

#: Seconds within which a repeated stop signal counts as the same request: shells, make and uv
#: forward a Ctrl-C that the terminal also delivers to the whole process group.
DEBOUNCE_S = 0.2


class SignalInbox:
    """Catches the given signals while the context is open; restores the previous handlers after."""

    def __init__(self, signals: Iterable[signal.Signals]) -> None:
        self._signals = tuple(signals)
        self._previous: dict[signal.Signals, Any] = {}
        self._read_fd, self._write_fd = -1, -1

    def __enter__(self) -> Self:
        self._read_fd, self._write_fd = os.pipe()
        os.set_blocking(self._read_fd, False)
        os.set_blocking(self._write_fd, False)
        self._previous_fd = signal.set_wakeup_fd(self._write_fd, warn_on_full_buffer=False)
        self._previous = {number: signal.signal(number, _ignore) for number in self._signals}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Restore the previous handlers and close the pipe; also for a forked child."""
        if self._read_fd < 0:
            return
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._previous_fd)
        os.close(self._read_fd)
        os.close(self._write_fd)
        self._read_fd = self._write_fd = -1

    def fileno(self) -> int:
        """The descriptor to `select` on: readable when a signal has arrived."""
        return self._read_fd

    def drain(self) -> list[signal.Signals]:
        """Return the signals received since the last call, in order; never blocks."""
        received: list[signal.Signals] = []
        while True:
            try:
                received += [signal.Signals(number) for number in os.read(self._read_fd, 512)]
            except BlockingIOError:
                return received


def _ignore(number: int, frame: FrameType | None) -> None:
    """Does nothing: Python writes to the wake-up descriptor only for signals with a handler."""
