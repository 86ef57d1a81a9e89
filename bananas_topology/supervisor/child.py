"""One child of the supervisor: at most one process at a time, started anew as often as told.

A child is the leader of a session of its own: the terminal's Ctrl-C reaches the supervisor only,
and whatever the child has started ends with it, as it would in a container. Decides nothing.
"""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress

from bananas_topology.supervisor.output import Stream
from bananas_topology.supervisor.plan import ChildPlan
from bananas_topology.system.clock import monotonic
from bananas_topology.system.processes import dying_with_parent

#: Bytes read at a time: all that a pipe holds on Linux.
_CHUNK_BYTES = 64 * 1024

#: The most that is read of what a process has left in its pipe: one that it started may write on.
_LAST_WORDS_BYTES = 1024 * 1024


class Child:
    """A place in the plan, and the process that fills it now."""

    def __init__(self, plan: ChildPlan, stream: Stream) -> None:
        self.plan = plan
        self._stream = stream
        self._process: subprocess.Popen[bytes] | None = None
        self._pipe: int | None = None
        self._started_at = 0.0

    @property
    def name(self) -> str:
        return self.plan.name

    @property
    def is_running(self) -> bool:
        return self._process is not None

    @property
    def pipe(self) -> int | None:
        """The descriptor of the process's output, until it is closed."""
        return self._pipe

    @property
    def lived_s(self) -> float:
        """Seconds since the last start."""
        return monotonic() - self._started_at

    def start(self) -> None:
        """Start the process.

        Raises:
            OSError: the system could not.
        """
        self._started_at = monotonic()
        read_end, write_end = os.pipe()
        try:
            self._process = subprocess.Popen(
                self.plan.argv,
                env=self.plan.env,
                cwd=self.plan.cwd,
                stdin=subprocess.DEVNULL,
                stdout=write_end,
                stderr=write_end,
                start_new_session=True,
                # A worker reads SIGQUIT as "hand back and leave at once".
                preexec_fn=dying_with_parent(signal.SIGQUIT),
            )
        except OSError:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
        os.set_blocking(read_end, False)
        self._pipe = read_end

    def pump(self) -> None:
        """Pass on what there is to read, one chunk at the most, so that nobody starves."""
        if self._pipe is None:
            return
        try:
            chunk = os.read(self._pipe, _CHUNK_BYTES)
        except BlockingIOError:
            return
        if chunk:
            self._stream.feed(chunk)
        else:
            self._close_pipe()

    def send(self, number: signal.Signals) -> None:
        """Signal the process itself; what it has started is its own business."""
        if self._process is not None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """End the process and all that it has started, at once."""
        if self._process is not None:
            _kill_group(self._process.pid)

    def poll(self) -> int | None:
        """The code of a process that has ended; its last words have then been passed on."""
        code = None if self._process is None else self._process.poll()
        if self._process is None or code is None:
            return None
        _kill_group(self._process.pid)
        self._process = None
        self._read_last_words()
        self._close_pipe()
        return code

    def _read_last_words(self) -> None:
        left = _LAST_WORDS_BYTES
        with suppress(BlockingIOError):
            while self._pipe is not None and left > 0:
                chunk = os.read(self._pipe, _CHUNK_BYTES)
                if not chunk:
                    break
                left -= len(chunk)
                self._stream.feed(chunk)
        self._stream.end()

    def _close_pipe(self) -> None:
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None


def _kill_group(pid: int) -> None:
    # PermissionError is what macOS says of a group with nothing but zombies.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
