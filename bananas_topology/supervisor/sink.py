"""A bounded, non-blocking buffer in front of a descriptor that may be slow, stuck or closed.

It never blocks, so a slow reader cannot delay signal handling. While a reader is stuck, lines are
dropped rather than held back: a worker that blocks on writing its log stops sending heartbeats.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable

from bananas_topology.system.clock import monotonic
from bananas_topology.system.files import has_lost_reader

#: Buffered bytes above which children are not read: a slow reader slows the writers down.
HIGH_WATER_BYTES = 256 * 1024

#: Seconds without progress after which lines are dropped instead.
STUCK_S = 2.0

_ERASE_LINE = b"\r\x1b[2K"


class Sink:
    """Buffers lines for one descriptor; on a terminal, a status line can be kept below them.

    `on_closed` is called once when the reader has gone.
    """

    def __init__(self, fd: int, on_closed: Callable[[], None] | None = None) -> None:
        self.fd = fd
        self.is_closed = False
        self._on_closed = on_closed
        self._buffer = bytearray()
        self._status = b""
        self._status_is_shown = False
        self._no_progress_since: float | None = None
        self._dropped = 0

    @property
    def has_pending(self) -> bool:
        return bool(self._buffer)

    @property
    def events(self) -> int:
        """The events to poll the descriptor for; that its reader has gone is always reported."""
        return select.POLLOUT if self._buffer else 0

    @property
    def wants_pause(self) -> bool:
        """Whether to wait for the reader before writing more."""
        return len(self._buffer) >= HIGH_WATER_BYTES and not self._is_stuck()

    def write(self, line: bytes) -> None:
        """Add a line, or count it as dropped if the reader is stuck."""
        if self.is_closed:
            return
        if len(self._buffer) >= HIGH_WATER_BYTES and self._is_stuck():
            self._dropped += 1
            return
        self._erase_status()
        self._buffer += line + b"\n"

    def show_status(self, text: str) -> None:
        """Set the status text below the last line; empty removes it."""
        has_room = len(self._buffer) < HIGH_WATER_BYTES
        if text.encode() != self._status and has_room and not self.is_closed:
            self._erase_status()
            self._status = text.encode()

    def take_dropped(self) -> int:
        """Return the lines dropped since the last call; 0 while the reader is stuck."""
        if len(self._buffer) >= HIGH_WATER_BYTES:
            return 0
        dropped, self._dropped = self._dropped, 0
        return dropped

    def flush(self) -> None:
        """Write as much as the descriptor accepts without blocking."""
        if self.is_closed:
            return
        if not self._buffer and has_lost_reader(self.fd):
            self._close()
            return
        if self._status and not self._status_is_shown:
            self._buffer += self._status
            self._status_is_shown = True
        progress = False
        while self._buffer and self._is_writable():
            progress = True
            try:
                # A writable pipe is guaranteed to have room for PIPE_BUF bytes, not more.
                written = os.write(self.fd, self._buffer[: select.PIPE_BUF])
            except BlockingIOError:
                break
            except OSError:
                self._close()
                return
            del self._buffer[:written]
        if progress or not self._buffer:
            self._no_progress_since = None
        elif self._no_progress_since is None:
            self._no_progress_since = monotonic()

    def finish(self, deadline: float) -> None:
        """Remove the status and flush, until `deadline` on the monotonic clock."""
        self.show_status("")
        while self._buffer and not self.is_closed and monotonic() < deadline:
            self._is_writable(deadline - monotonic())
            self.flush()

    def _is_stuck(self) -> bool:
        since = self._no_progress_since
        return since is not None and monotonic() - since >= STUCK_S

    def _is_writable(self, timeout_s: float = 0.0) -> bool:
        poll = select.poll()
        poll.register(self.fd, select.POLLOUT)
        return bool(poll.poll(max(0.0, timeout_s) * 1000))

    def _erase_status(self) -> None:
        if self._status_is_shown:
            self._buffer += _ERASE_LINE
            self._status_is_shown = False

    def _close(self) -> None:
        self.is_closed = True
        self._buffer.clear()
        if self._on_closed is not None:
            self._on_closed()
