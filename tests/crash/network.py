"""A network between a process and its server, which a test may make as bad as networks get."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from enum import Enum

HOST = "127.0.0.1"

_CHUNK_BYTES = 65_536


class Weather(Enum):
    """What the network does to what passes."""

    FINE = "all passes"
    CUT = "connections are closed, and new ones at once"
    STALLED = "connections stay, and nothing passes"
    LOSING_REPLIES = "requests pass; the connection is closed instead of the reply"
    CUTTING_REPLIES = "requests pass; half of the reply does, then the connection is closed"


class Network:
    """A TCP proxy with weather. Every connection has two threads, all of them daemons."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._weather = Weather.FINE
        self._connections: set[socket.socket] = set()
        self._listener = socket.create_server((HOST, 0))
        self.url = f"redis://{HOST}:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    @contextlib.contextmanager
    def being(self, weather: Weather, seconds: float) -> Iterator[None]:
        """Bad weather for at least so long, and while the context is open."""
        self._set(weather)
        until = time.monotonic() + seconds
        yield
        while time.monotonic() < until:
            time.sleep(0.01)
        self._set(Weather.FINE)

    def close(self) -> None:
        """Close everything."""
        self._listener.close()
        self._set(Weather.CUT)

    def _set(self, weather: Weather) -> None:
        self._weather = weather
        if weather is Weather.CUT:
            for connection in list(self._connections):
                _end(connection)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._weather is Weather.CUT:
                near.close()
                continue
            far = socket.create_connection((HOST, self._server_port))
            self._connections |= {near, far}
            for source, sink, is_reply in ((near, far, False), (far, near, True)):
                thread = threading.Thread(
                    target=self._pump, args=(source, sink, is_reply), daemon=True
                )
                thread.start()

    def _pump(self, source: socket.socket, sink: socket.socket, is_reply: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK_BYTES):
                while self._weather is Weather.STALLED:
                    time.sleep(0.01)
                if is_reply and self._weather is Weather.LOSING_REPLIES:
                    break
                if is_reply and self._weather is Weather.CUTTING_REPLIES:
                    sink.sendall(data[: len(data) // 2])
                    break
                sink.sendall(data)
        _end(source)
        _end(sink)


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
