"""The HTTP API beside a route without any work, and beside the client."""

from __future__ import annotations

import json
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from bananas_topology import Client
from bananas_topology.client import NewJob
from benchmarks import sessions
from benchmarks.bench import START_S, Bench, Failed, free_port
from benchmarks.catalogue import Peer
from benchmarks.environments import ROOT
from benchmarks.figures import median
from benchmarks.payloads import payload
from benchmarks.scenarios import Figures

CONNECTIONS = 16
LOAD_S = 3.0
TURNS = 3

_BATCH = range(10_000)

_HOST = "127.0.0.1"


@dataclass(frozen=True)
class _Server:
    port: int
    process: subprocess.Popen[bytes]


def api(bench: Bench, peer: Peer) -> Figures:
    """`POST /jobs` beside a bare route, and batches beside `enqueue_many`; in turns."""
    bench.reset(1)
    one = _request("POST", "/jobs", {"name": "noop", "payload": payload(0)})
    many = _request("POST", "/jobs", [{"name": "noop", "payload": payload(i)} for i in _BATCH])
    turns = []
    with (
        _serving(bench, ["-m", "benchmarks.hello", "{port}"]) as hello,
        _serving(bench, ["-m", "bananas_topology.api"]) as server,
        Client(bench.url) as client,
    ):
        for _ in range(TURNS):
            turn = _load(hello, _request("GET", "/hello"), "hello") | _load(server, one, "jobs")
            bench.server.flushall()
            before = time.monotonic()
            client.enqueue_many(NewJob("noop", payload(index)) for index in _BATCH)
            turn["bulk_per_s"] = len(_BATCH) / (time.monotonic() - before)
            batches = _requests_per_s(server.port, many, connections=1, seconds=0.5)
            turn["batch_per_s"] = len(_BATCH) * batches
            # Of each turn, since the machine drifts between them.
            turn["ratio"] = turn["jobs_per_s"] / turn["hello_per_s"]
            turn["ratio_batch"] = turn["batch_per_s"] / turn["bulk_per_s"]
            turns.append(turn)
    return {name: median([turn[name] for turn in turns]) for name in turns[0]}


def _load(server: _Server, request: bytes, name: str) -> Figures:
    """Requests per second, and the server's processor time for each."""
    before = sessions.cpu_seconds(server.process)
    per_s = _requests_per_s(server.port, request)
    used = sessions.cpu_seconds(server.process) - before
    return {f"{name}_per_s": per_s, f"{name}_us": used * 1e6 / (per_s * LOAD_S)}


@contextmanager
def _serving(bench: Bench, arguments: list[str]) -> Iterator[_Server]:
    """Run a server in a process of its own; yields it once it accepts connections."""
    port = free_port()
    command = [sys.executable, *(each.format(port=port) for each in arguments)]
    log = bench.directory / f"server-{port}.log"
    variables = {"API_PORT": str(port), "PYTHONPATH": str(ROOT), "REDIS_URL": bench.url}
    process = sessions.start(command, variables, log)
    try:
        end = time.monotonic() + START_S
        while not _is_served(port):
            if process.poll() is not None or time.monotonic() > end:
                raise Failed(f"{' '.join(command)} does not serve: {log.read_text()[-500:]}")
            time.sleep(0.05)
        yield _Server(port, process)
    finally:
        sessions.kill(process)


def _is_served(port: int) -> bool:
    with suppress(OSError), socket.create_connection((_HOST, port), timeout=1):
        return True
    return False


def _request(method: str, path: str, body: Any = None) -> bytes:
    data = b"" if body is None else json.dumps(body, separators=(",", ":")).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


def _requests_per_s(
    port: int, request: bytes, *, connections: int = CONNECTIONS, seconds: float = LOAD_S
) -> float:
    """Repeat a request on each of some connections; returns the responses per second.

    Raises:
        Failed: a response is not a success, or does not come.
    """
    with ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        for _ in range(connections):
            client = stack.enter_context(socket.create_connection((_HOST, port), timeout=START_S))
            selector.register(client, selectors.EVENT_READ)
            client.sendall(request)
        responses, begin = 0, time.monotonic()
        while (now := time.monotonic()) < begin + seconds or responses == 0:
            ready = selector.select(START_S)
            if not ready:
                raise Failed(f"no response within {START_S:g} s")
            for key, _ in ready:
                assert isinstance(key.fileobj, socket.socket)
                _receive(key.fileobj)
                responses += 1
                key.fileobj.sendall(request)
        return responses / (now - begin)


def _receive(client: socket.socket) -> None:
    """Read one response, of which something has arrived."""
    data = client.recv(65_536)
    while b"\r\n\r\n" not in data:
        data += _more(client)
    head, _, body = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 2"):
        raise Failed(f"expected a success, got {head[:40]!r}")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    left = length - len(body)
    while left > 0:
        left -= len(_more(client))


def _more(client: socket.socket) -> bytes:
    data = client.recv(65_536)
    if not data:
        raise Failed("the server closed the connection")
    return data
