"""Where all output goes: a bounded buffer before a descriptor that may be slow, stuck or closed.

Never blocks, so that whoever reads our output cannot keep us from obeying signals; and a reader
that is stuck for long costs lines, not work: a worker that cannot write its log stops beating.
"""

from __future__ import annotations

import os
import select

from bananas_topology.system.clock import monotonic

#: Bytes in the buffer from which on children are not read, so that a slow reader slows them down.
HIGH_WATER_BYTES = 256 * 1024

#: Seconds without any progress after which lines are dropped instead.
STUCK_S = 2.0

_ERASE_LINE = b"\r\x1b[2K"


class Sink:
    """Takes lines for one descriptor. With a terminal, a status may stay below the lines."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.is_closed = False
        self._buffer = bytearray()
        self._status = b""
        self._status_is_shown = False
        self._no_progress_since: float | None = None
        self._dropped = 0

    @property
    def has_pending(self) -> bool:
        return bool(self._buffer)

    @property
    def wants_pause(self) -> bool:
        """Whether to wait for the reader before anything more is written."""
        return len(self._buffer) >= HIGH_WATER_BYTES and not self._is_stuck()

    def write(self, line: bytes) -> None:
        """Add a line; it is dropped, and counted, when the reader is stuck."""
        if self.is_closed:
            return
        if len(self._buffer) >= HIGH_WATER_BYTES and self._is_stuck():
            self._dropped += 1
            return
        self._erase_status()
        self._buffer += line + b"\n"

    def show_status(self, text: str) -> None:
        """Keep this text below the last line, in place of what was there; empty for nothing."""
        has_room = len(self._buffer) < HIGH_WATER_BYTES
        if text.encode() != self._status and has_room and not self.is_closed:
            self._erase_status()
            self._status = text.encode()

    def take_dropped(self) -> int:
        """How many lines were dropped since the last call; 0 for as long as the reader is stuck."""
        if len(self._buffer) >= HIGH_WATER_BYTES:
            return 0
        dropped, self._dropped = self._dropped, 0
        return dropped

    def flush(self) -> None:
        """Write what the descriptor takes without blocking."""
        if self._status and not self._status_is_shown:
            self._buffer += self._status
            self._status_is_shown = True
        progress = False
        while self._buffer and self._is_writable():
            progress = True
            try:
                # No more at a time than a pipe that counts as writable is sure to have room for.
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
        """Take the status away, and write what is left until the deadline."""
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
