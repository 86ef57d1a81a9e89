"""A client of ``/events``, on a real socket."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from bananas_topology.system.clock import monotonic


class Sent(NamedTuple):
    """An event as it was received; `id` of the last one that had any."""

    kind: str
    data: dict[str, Any]
    id: str


class Stream:
    """Reads events one by one; fails if none comes within the timeout of the connection."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self._response = response
        self.headers = response.headers
        self.last_id = ""

    def read(self) -> Sent | None:
        """The next event; None if the stream has ended."""
        kind, data = "", ""
        while line := self._response.readline().decode():
            field, _, value = line.rstrip("\n").partition(": ")
            if field == "id":
                self.last_id = value
            elif field == "event":
                kind = value
            elif field == "data":
                data = value
            elif line == "\n" and kind:
                return Sent(kind, json.loads(data), self.last_id)
        return None

    def next(self, kind: str, matches: Callable[[dict[str, Any]], bool] = lambda data: True) -> Any:
        """The data of the next event of a kind that matches; others are skipped."""
        until = monotonic() + 30
        while (sent := self.read()) is not None:
            if sent.kind == kind and matches(sent.data):
                return sent.data
            assert monotonic() < until, f"no such event: {kind}"
        raise AssertionError(f"the stream has ended without such an event: {kind}")


@contextmanager
def following(
    port: int, path: str = "/events", *, small: bool = False, after: str = "", token: str = ""
) -> Iterator[Stream]:
    """Follow events; `small`: with a small buffer for what is not read."""
    headers = {"Last-Event-ID": after} if after else {}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    if small:
        connection.sock = socket.socket()
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        connection.sock.settimeout(20)
        connection.sock.connect(("127.0.0.1", port))
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    try:
        assert response.status == 200, response.read()
        yield Stream(response)
    finally:
        response.close()
        connection.close()
