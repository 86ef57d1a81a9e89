"""One child of the supervisor: at most one process at a time, restarted on request.

Every child leads its own session: Ctrl-C in the terminal reaches the supervisor only, and
processes started by the child end with it, as they would in a container. Makes no decisions.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress

from bananas_topology.supervisor.output import Stream
from bananas_topology.supervisor.plan import ChildPlan
from bananas_topology.system.clock import monotonic
from bananas_topology.system.processes import dying_with_parent

#: Bytes read at a time: the capacity of a pipe on Linux.
_CHUNK_BYTES = 64 * 1024

#: Maximum bytes read from the pipe of an exited process: its descendants may still be writing.
_FINAL_OUTPUT_BYTES = 1024 * 1024


class Child:
    """A planned child and its current process."""

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
    def has_exited(self) -> bool:
        """Whether the process has exited, and `poll` has not returned its exit code yet."""
        return self._process is not None and self._process.poll() is not None

    @property
    def pipe(self) -> int | None:
        """The descriptor to read the process's output from, or None once it is closed."""
        return self._pipe

    @property
    def pid(self) -> int | None:
        """The id of the current process, or None if none runs."""
        return None if self._process is None else self._process.pid

    @property
    def uptime_s(self) -> float:
        """Seconds since the last start."""
        return monotonic() - self._started_at

    def start(self, variables: Mapping[str, str]) -> None:
        """Start the process, with `variables` on top of the planned environment.

        Raises:
            OSError: the process cannot be started.
        """
        self._started_at = monotonic()
        self._stream.is_starting = True
        read_end, write_end = os.pipe()
        try:
            self._process = subprocess.Popen(
                self.plan.argv,
                env={**self.plan.env, **variables},
                cwd=self.plan.cwd,
                stdin=subprocess.DEVNULL,
                stdout=write_end,
                stderr=write_end,
                start_new_session=True,
                # SIGQUIT asks a worker to requeue its jobs and exit immediately.
                preexec_fn=dying_with_parent(signal.SIGQUIT),
            )
        except OSError:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
        os.set_blocking(read_end, False)
        self._pipe = read_end

    def on_ready(self) -> None:
        """What it writes from now on is not about its start."""
        self._stream.is_starting = False

    def pump(self) -> None:
        """Forward available output, at most one chunk so that no other child is starved."""
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
        """Signal the process, but not its descendants."""
        if self._process is not None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """Kill the process and its descendants."""
        if self._process is not None:
            _kill_group(self._process.pid)

    def poll(self) -> int | None:
        """Return the exit code of an exited process, after forwarding its remaining output."""
        code = None if self._process is None else self._process.poll()
        if self._process is None or code is None:
            return None
        _kill_group(self._process.pid)
        self._process = None
        self._read_final_output()
        self._close_pipe()
        return code

    def _read_final_output(self) -> None:
        remaining = _FINAL_OUTPUT_BYTES
        with suppress(BlockingIOError):
            while self._pipe is not None and remaining > 0:
                chunk = os.read(self._pipe, _CHUNK_BYTES)
                if not chunk:
                    break
                remaining -= len(chunk)
                self._stream.feed(chunk)
        self._stream.end()

    def _close_pipe(self) -> None:
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None


def _kill_group(pid: int) -> None:
    # macOS raises PermissionError for a group that contains only zombies.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
