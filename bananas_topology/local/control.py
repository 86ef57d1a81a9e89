"""The control socket of a running `up`, served from the supervisor's loop.

A client connects, sends one line of JSON, ``{"version": 1, "command": "ps", …}``, and reads lines
of JSON until the connection is closed: any number of ``{"version": 1, "progress": "…"}``, then
``{"version": 1, "result": …}`` or ``{"version": 1, "error": "…"}``. A stop has no last line: it is
complete when the process has exited. What a client has begun continues when it disconnects; a
request that has not been read by then is dropped.
"""

from __future__ import annotations

import json
import logging
import select
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from bananas_topology.errors import ControlFailed, InvalidArgument
from bananas_topology.system.bound_socket import BoundSocket
from bananas_topology.system.clock import monotonic

#: Raised when a message changes its meaning; both sides must speak the same version.
VERSION = 1

#: Maximum bytes of a request.
MAX_REQUEST_BYTES = 64 * 1024

#: Connections served at the same time; further ones wait.
MAX_CONNECTIONS = 32

#: Seconds that a client has to send its request.
REQUEST_TIMEOUT_S = 10.0

log = logging.getLogger(__name__)


class Progress(Protocol):
    """Something that continues after its request, such as an `Operation`."""

    @property
    def is_done(self) -> bool: ...

    @property
    def progress(self) -> str:
        """What is waited for; a summary once it is done."""

    @property
    def error(self) -> str:
        """Why it failed; empty otherwise."""


#: Carries out a command, given its arguments: returns its result, or what continues.
Command = Callable[[Mapping[str, Any]], dict[str, Any] | Progress]


class ControlServer(BoundSocket):
    """Serves commands at a path. A source of the loop.

    Raises:
        OSError: the socket cannot be created at the path.
    """

    def __init__(self, path: Path, commands: Mapping[str, Command]) -> None:
        super().__init__(path, socket.SOCK_STREAM)
        self._commands = commands
        self._connections: dict[int, _Connection] = {}

    def __exit__(self, *_: object) -> None:
        for connection in self._connections.values():
            connection.socket.close()
        super().__exit__()

    def interests(self) -> Mapping[int, int]:
        wanted = {fd: each.events for fd, each in self._connections.items()}
        if len(self._connections) < MAX_CONNECTIONS:
            wanted[self.fileno()] = select.POLLIN
        return wanted

    def on_ready(self, fd: int) -> None:
        if fd == self.fileno():
            with suppress(OSError):  # the client has disconnected
                accepted, _ = self._socket.accept()
                self._connections[accepted.fileno()] = _Connection(accepted)
            return
        connection = self._connections[fd]
        if (request := connection.receive()) is not None:
            self._answer(connection, request)

    def on_turn(self) -> None:
        for fd, connection in list(self._connections.items()):
            connection.follow()
            connection.flush()
            if connection.is_closed:
                connection.socket.close()
                del self._connections[fd]

    def _answer(self, connection: _Connection, request: bytes) -> None:
        try:
            arguments = _parse(request)
            command = self._commands.get(arguments["command"])
            if command is None:
                raise ControlFailed(f"unknown command {arguments['command']}")
            answer = command(arguments)
        except ControlFailed as error:
            is_invalid = isinstance(error, InvalidArgument)
            connection.finish(error=str(error), is_invalid_argument=is_invalid)
        except Exception as error:  # whatever is sent, the processes keep running
            log.warning("invalid request", exc_info=True)
            connection.finish(error=f"invalid request: {error!r}")
        else:
            if isinstance(answer, dict):
                connection.finish(result=answer)
            else:
                connection.following = answer


class _Connection:
    """One client: its request, then its answer. Never blocks."""

    def __init__(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        self.socket = accepted
        self.following: Progress | None = None
        self._deadline = monotonic() + REQUEST_TIMEOUT_S
        self._received = bytearray()
        self._to_send = bytearray()
        self._sent_progress = ""
        self._has_request = False
        self._is_finished = False
        self._is_broken = False

    @property
    def events(self) -> int:
        # Without events of interest a hang-up is still noticed.
        return (0 if self._has_request else select.POLLIN) | (
            select.POLLOUT if self._to_send else 0
        )

    @property
    def is_closed(self) -> bool:
        if self._is_broken or (self._is_finished and not self._to_send):
            return True
        return not self._has_request and monotonic() > self._deadline

    def receive(self) -> bytes | None:
        """Read on; returns the request once it is complete."""
        try:
            chunk = self.socket.recv(MAX_REQUEST_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            chunk = b""
        if not chunk or len(self._received) + len(chunk) > MAX_REQUEST_BYTES:
            self._is_broken = True
            return None
        self._received += chunk
        request, newline, _ = self._received.partition(b"\n")
        if self._has_request or not newline:
            return None
        self._has_request = True
        if self._has_hung_up():
            # Told that there was no answer, nobody expects that it is carried out any more.
            self._is_broken = True
            return None
        return bytes(request)

    def _has_hung_up(self) -> bool:
        poll = select.poll()
        poll.register(self.socket, 0)
        return any(events & select.POLLHUP for _, events in poll.poll(0))

    def finish(self, **last: Any) -> None:
        """Send the last line."""
        self._is_finished = True
        self._send(last)

    def follow(self) -> None:
        """Send progress, no faster than the client reads it."""
        if self.following is None or self._is_finished:
            return
        if self.following.is_done:
            error = self.following.error
            self.finish(**{"error": error} if error else {"result": {"summary": self._progress}})
        elif self._progress != self._sent_progress and not self._to_send:
            self._sent_progress = self._progress
            self._send({"progress": self._progress})

    @property
    def _progress(self) -> str:
        return self.following.progress if self.following is not None else ""

    def _send(self, message: Mapping[str, Any]) -> None:
        self._to_send += json.dumps({"version": VERSION, **message}).encode() + b"\n"

    def flush(self) -> None:
        """Write as much as the socket accepts."""
        if not self._to_send or self._is_broken:
            return
        try:
            del self._to_send[: self.socket.send(self._to_send)]
        except BlockingIOError:
            pass
        except OSError:
            self._is_broken = True


def _parse(request: bytes) -> dict[str, Any]:
    """Read a request.

    Raises:
        ControlFailed: it is of another version.
        ValueError, KeyError, TypeError: it is not a request.
    """
    arguments = json.loads(request)
    if arguments["version"] != VERSION:
        raise ControlFailed(
            f"the running `up` has control protocol version {VERSION}, this command has version "
            f"{arguments['version']}: use the release that started it"
        )
    return dict(arguments)
