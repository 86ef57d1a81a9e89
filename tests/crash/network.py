"""A network between a process and its server that a test can disrupt."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from enum import Enum

HOST = "127.0.0.1"

_CHUNK_BYTES = 65_536


class Condition(Enum):
    """What the network does with traffic."""

    UP = "everything passes"
    DOWN = "connections are closed, new ones immediately"
    STALLED = "connections stay open, nothing passes"
    REPLIES_LOST = "requests pass; the connection is closed before the reply"
    REPLIES_TRUNCATED = "requests pass; the connection is closed amid the reply"


class Network:
    """A TCP proxy with a changeable condition. Two daemon threads per connection."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._condition = Condition.UP
        self._connections: set[socket.socket] = set()
        self._listener = socket.create_server((HOST, 0))
        self.url = f"redis://{HOST}:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    @contextlib.contextmanager
    def forced(self, condition: Condition, seconds: float) -> Iterator[None]:
        """Set a condition for at least `seconds` and while the context is open."""
        self._set(condition)
        until = time.monotonic() + seconds
        yield
        while time.monotonic() < until:
            time.sleep(0.01)
        self._set(Condition.UP)

    def close(self) -> None:
        """Close the listener and all connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._set(Condition.DOWN)

    def _set(self, condition: Condition) -> None:
        self._condition = condition
        if condition is Condition.DOWN:
            for connection in list(self._connections):
                _end(connection)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        far_address = (HOST, self._server_port)
        with contextlib.suppress(OSError), near, socket.create_connection(far_address) as far:
            self._connections |= {near, far}
            # Checked only now, or one that is being opened would be missed when all are ended.
            if self._condition is Condition.DOWN:
                return
            back = threading.Thread(target=self._pump, args=(far, near, True), daemon=True)
            back.start()
            self._pump(near, far, False)
            back.join()

    def _pump(self, source: socket.socket, sink: socket.socket, is_reply: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK_BYTES):
                while self._condition is Condition.STALLED:
                    time.sleep(0.01)
                if is_reply and self._condition is Condition.REPLIES_LOST:
                    break
                if is_reply and self._condition is Condition.REPLIES_TRUNCATED:
                    sink.sendall(data[: len(data) // 2])
                    break
                sink.sendall(data)
        _end(source)
        _end(sink)


def _end(connection: socket.socket) -> None:
    """End a connection; it is closed once no thread reads from it any more."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
