"""Servers other than the one that all tests share: replicas, sentinels, clusters, TLS."""

from __future__ import annotations

import contextlib
import secrets
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import redis

from bananas_topology.jobs.bundled_server import find_binary
from bananas_topology.system.clock import monotonic, sleep
from bananas_topology.system.processes import dying_with_parent

HOST = "127.0.0.1"


def free_port() -> int:
    """A port that is free, and that no other test is given as long as this process runs.

    None of those that the system gives to other programs, which would often do so before the port
    is used.
    """
    while True:
        port = 10_000 + secrets.randbelow(20_000)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind((HOST, port))
            if sys.platform == "linux":
                # Remains bound. A server can listen on it nevertheless, since it sets this, too.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.detach()
            return port


def ask(port: int) -> Any:
    """A plain client for any kind of server, untyped as its replies are."""
    return redis.Redis(port=port, socket_timeout=5)


def wait_until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for a condition; an unreachable server counts as not yet."""
    deadline = monotonic() + seconds
    while True:
        with contextlib.suppress(redis.ConnectionError, redis.TimeoutError):
            if condition():
                return
        assert monotonic() < deadline, "timed out"
        sleep(0.02)


@contextlib.contextmanager
def running(directory: Path, *arguments: str, port: int = 0) -> Iterator[int]:
    """Run the bundled server with the given arguments; yields its port."""
    port = port or free_port()
    directory.mkdir(exist_ok=True)
    common = ("--port", str(port), "--bind", HOST, "--dir", str(directory), "--save", "")
    process = subprocess.Popen(
        [find_binary(), *arguments, *common],
        env={"LC_ALL": "C"},
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        preexec_fn=dying_with_parent(signal.SIGKILL),
    )
    try:
        yield port
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def black_hole(*, accepts: bool) -> Iterator[int]:
    """A server that accepts connections and never replies, or never accepts; yields its port."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((HOST, 0), backlog=0))
        port = int(listener.getsockname()[1])
        if accepts:
            threading.Thread(target=_swallow, args=(listener,), daemon=True).start()
        else:
            # Nobody accepts these, so the next connection waits for a place in the backlog.
            for _ in range(4):
                waiting = stack.enter_context(socket.socket())
                waiting.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    waiting.connect((HOST, port))
        yield port


def _swallow(listener: socket.socket) -> None:
    with contextlib.suppress(OSError), contextlib.ExitStack() as accepted:
        while True:
            accepted.enter_context(listener.accept()[0])


class Proxy:
    """A TCP proxy in front of a server, one thread per direction; with a context, it uses TLS.

    `on_request` sees what is sent to the server and may cut the connection: by returning False
    before it is forwarded, by returning None after that, so that the reply is lost.
    """

    def __init__(
        self,
        target_port: int,
        *,
        tls: ssl.SSLContext | None = None,
        on_request: Callable[[bytes], bool | None] = lambda data: True,
    ) -> None:
        self._target_port = target_port
        self._tls = tls
        self._on_request = on_request
        self._listener = socket.create_server((HOST, 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Accept no more connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.enter_context(near)
            if self._tls is not None:
                near = stack.enter_context(self._tls.wrap_socket(near, server_side=True))
            far = stack.enter_context(socket.create_connection((HOST, self._target_port)))
            back = threading.Thread(target=self._pump, args=(far, near), daemon=True)
            back.start()
            while data := near.recv(65_536):
                verdict = self._on_request(data)
                if verdict is False:
                    break
                if verdict is None:
                    near.shutdown(socket.SHUT_RDWR)
                far.sendall(data)
            with contextlib.suppress(OSError):
                far.shutdown(socket.SHUT_WR)
            back.join()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)
