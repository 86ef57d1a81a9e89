"""The sd_notify protocol: a process reports its readiness and progress to whoever started it.

A message is one datagram of ``NAME=value`` lines to the socket that NOTIFY_SOCKET names. `up`
listens to its children this way, as systemd listens to `up`:
https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bananas_topology.system.bound_socket import BoundSocket

#: The variable with the socket's path; a leading ``@`` stands for Linux's abstract namespace.
VARIABLE = "NOTIFY_SOCKET"

#: Set if whoever listens also wants to know finished jobs, and the field that has them, as JSON:
#: their number ``count``, and ``jobs``, a list of the first ones. A message with it has no others.
JOBS_VARIABLE = "NOTIFY_JOBS"
JOBS = "X_JOBS"

#: The same for a worker's counts: `up` adds up and serves them.
METRICS_VARIABLE = "NOTIFY_METRICS"
METRICS = "X_METRICS"

#: Fields of messages that say nothing about the state of a process.
EXTENSIONS = (JOBS, METRICS)

_MAX_MESSAGE_BYTES = 64 * 1024

#: Messages taken at a time, so that a flood cannot hold the receiver.
_MAX_MESSAGES = 1000


class Notifier:
    """Sends to one socket, or nowhere without one. Never blocks and never raises."""

    def __init__(self, address: str) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._socket: socket.socket | None = None

    @classmethod
    def from_environ(cls, environ: MutableMapping[str, str]) -> Self:
        """Take the address out of the environment: programs that we start must not report."""
        return cls(environ.pop(VARIABLE, ""))

    @property
    def is_wanted(self) -> bool:
        """Whether anybody listens."""
        return bool(self._address)

    def close(self) -> None:
        """Release the socket; it is opened again by the next message."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def send(self, **fields: str | int) -> bool:
        """Send one message, with the sender's process id; lost if the receiver is not reading.

        Returns whether it was sent.
        """
        if not self._address:
            return False
        lines = {"MAINPID": os.getpid(), **fields}
        message = "".join(f"{name}={value}\n" for name, value in lines.items()).encode()
        with suppress(OSError):
            if self._socket is None:
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                self._socket.setblocking(False)
            self._socket.sendto(message, self._address)
            return True
        return False


@dataclass(frozen=True, slots=True)
class Notification:
    """One message; `pid` is its sender's, 0 if the message does not say."""

    pid: int
    fields: Mapping[str, str]


class NotifySocket(BoundSocket):
    """The receiving end, at a path.

    Raises:
        OSError: the socket cannot be created at the path.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, socket.SOCK_DGRAM)

    def receive(self) -> list[Notification]:
        """Return the messages that have come; never blocks."""
        received: list[Notification] = []
        with suppress(BlockingIOError):
            while len(received) < _MAX_MESSAGES:
                received.append(_parse(self._socket.recv(_MAX_MESSAGE_BYTES)))
        return received


def _parse(message: bytes) -> Notification:
    lines = message.decode(errors="replace").splitlines()
    fields = {name: value for name, _, value in (line.partition("=") for line in lines)}
    pid = fields.get("MAINPID", "")
    return Notification(int(pid) if pid.isdecimal() else 0, fields)
