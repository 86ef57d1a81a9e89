"""Run a topology in the background: start the process, and wait until everything is ready.

The new process leads its own session and gets its settings on standard input, which other users of
the host cannot read, unlike its arguments. It reports by the sd_notify protocol.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bananas_topology.local.settings import Settings
from bananas_topology.local.sockets import MAX_PATH_BYTES
from bananas_topology.system.clock import monotonic
from bananas_topology.system.notify import VARIABLE, NotifySocket

#: Seconds between checks that the process is alive.
_POLL_S = 0.2

#: Seconds for the process to exit once every child was given up: the server saves its data.
EXIT_TIMEOUT_S = 30.0

_CHUNK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a start ended: ready, a child was given up, the process has exited, or the time was up.

    `failed` says by name why. `exit_code` is None while the process runs.
    """

    is_ready: bool = False
    failed: Mapping[str, str] = field(default_factory=dict)
    exit_code: int | None = None


def start_detached(
    settings: Settings, environ: Mapping[str, str], timeout_s: float, show: Callable[[str], None]
) -> Outcome:
    """Start it, and wait until everything is ready, something has failed or the time is up.

    `timeout_s` in seconds. Its messages are shown meanwhile. Unless it exits by itself, it keeps
    running.
    """
    with _notify_socket() as receiver:
        process = subprocess.Popen(
            # It needs no module of the user's, so that none is to hide one that it does need.
            [sys.executable, "-P", "-m", "bananas_topology.local"],
            env={**environ, VARIABLE: str(receiver.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert process.stdin is not None
        assert process.stderr is not None
        with process.stdin:
            process.stdin.write(json.dumps(asdict(settings)).encode())
        with process.stderr:
            os.set_blocking(process.stderr.fileno(), False)
            messages = _Messages(process.stderr.fileno(), show)
            outcome = _wait(process, receiver, messages, monotonic() + timeout_s)
        # It now runs on its own.
        process.returncode = outcome.exit_code or 0
        return outcome


def _wait(
    process: subprocess.Popen[bytes], receiver: NotifySocket, messages: _Messages, deadline: float
) -> Outcome:
    failed: dict[str, str] = {}
    poll = select.poll()
    poll.register(receiver.fileno(), select.POLLIN)
    poll.register(messages.fd, select.POLLIN)
    while monotonic() < deadline:
        for fd, _ in poll.poll(_POLL_S * 1000):
            if fd == messages.fd and not messages.pump():
                poll.unregister(fd)
        exit_code = process.poll()
        for received in receiver.receive():
            if received.fields.get("READY") == "1":
                return Outcome(is_ready=True)
            if not failed and (exits := received.fields.get("X_FAILED")):
                failed = json.loads(exits)
                if received.fields.get("STOPPING") != "1":
                    messages.pump()
                    return Outcome(failed=failed)
                deadline = monotonic() + EXIT_TIMEOUT_S
        if exit_code is not None:
            messages.pump()
            return Outcome(failed=failed, exit_code=exit_code)
    return Outcome(failed=failed)


class _Messages:
    """Shows the lines read from a descriptor."""

    def __init__(self, fd: int, show: Callable[[str], None]) -> None:
        self.fd = fd
        self._show = show
        self._rest = b""

    def pump(self) -> bool:
        """Show what has arrived; returns whether more may follow."""
        while True:
            try:
                chunk = os.read(self.fd, _CHUNK_BYTES)
            except BlockingIOError:
                return True
            if not chunk:
                return False
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            for line in lines:
                self._show(line.decode(errors="replace"))


@contextmanager
def _notify_socket() -> Iterator[NotifySocket]:
    """Open a socket in a private directory whose path is short enough."""
    root = tempfile.gettempdir()
    if len(os.fsencode(root)) > MAX_PATH_BYTES - len("/bananas-XXXXXXXX/s"):
        root = "/tmp"
    with (
        tempfile.TemporaryDirectory(prefix="bananas-", dir=root) as directory,
        NotifySocket(Path(directory) / "s") as receiver,
    ):
        yield receiver
