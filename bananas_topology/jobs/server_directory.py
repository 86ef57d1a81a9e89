"""The directory of a bundled server: its lock, password, log and data, all private."""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from bananas_topology.errors import BundledServerFailed
from bananas_topology.system.clock import monotonic, sleep
from bananas_topology.system.files import (
    check_no_links,
    open_private,
    private_directory,
    read_private,
    write_atomic,
)
from bananas_topology.system.processes import start_time_token

#: Seconds for a server to stop, which includes writing its data to disk.
STOP_TIMEOUT_S = 15.0

_PASSWORD_BYTES = 32
_LOG_LINES_SHOWN = 5
_POLL_S = 0.1


class ServerDirectory:
    """The files of one server. Symbolic links and files of other users are rejected."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data_path = path / "data"
        self.log_path = path / "server.log"
        self._lock_path = path / "server.lock"
        self._password_path = path / "server.password"

    def prepare(self) -> None:
        """Create the directories, and empty the log.

        Raises:
            BundledServerFailed: they cannot be created or used.
        """
        with _translated_errors():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            private_directory(self.path)
            private_directory(self.data_path)
            check_no_links(self.data_path)
            os.close(open_private(self.log_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC))

    def password(self) -> str:
        """Read the password, which stays the same so that URLs stay valid, or generate one.

        Raises:
            BundledServerFailed: it cannot be read or written.
        """
        with _translated_errors():
            with suppress(FileNotFoundError):
                password = read_private(self._password_path).decode("ascii", "replace").strip()
                if re.fullmatch(r"[A-Za-z0-9_-]+", password):
                    return password
            password = secrets.token_urlsafe(_PASSWORD_BYTES)
            write_atomic(self._password_path, f"{password}\n", 0o600)
            return password

    def open_log(self) -> IO[bytes]:
        """Open the log to append to it.

        Raises:
            BundledServerFailed: it cannot be opened.
        """
        with _translated_errors():
            handle = open_private(self.log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        return open(handle, "ab")

    def log_tail(self) -> str:
        """The last lines of the log."""
        lines = self.log_path.read_text(errors="replace").splitlines()
        return "\n".join(lines[-_LOG_LINES_SHOWN:])

    @contextmanager
    def lock(self) -> Iterator[IO[str]]:
        """Lock the directory, stopping a server of an earlier run that holds the lock.

        Raises:
            BundledServerFailed: another server keeps it, or the lock cannot be opened.
        """
        with _translated_errors():
            # Opened without truncation: the file names the process that holds the lock.
            handle = open_private(self._lock_path, os.O_RDWR | os.O_CREAT)
        with open(handle, "r+") as lock:
            deadline = monotonic() + STOP_TIMEOUT_S
            while not _try_lock(lock):
                owner = self.owner()
                pid = owner.get("pid", 0)
                if monotonic() > deadline:
                    raise BundledServerFailed(
                        f"another server{f' (process {pid})' if pid else ''} uses the data in "
                        f"{self.path}: stop it first"
                    )
                if pid and start_time_token(pid) == owner.get("mark"):
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGTERM)
                sleep(_POLL_S)
            yield lock

    def owner(self) -> dict[str, Any]:
        """The last process to hold the lock, and its port; empty if unknown."""
        try:
            owner = json.loads(read_private(self._lock_path))
        except (OSError, ValueError):
            return {}
        return owner if isinstance(owner, dict) else {}


def write_owner(lock: IO[str], pid: int, port: int) -> None:
    """Record in a lock file which server holds it."""
    lock.seek(0)
    lock.truncate()
    json.dump({"pid": pid, "mark": start_time_token(pid), "port": port}, lock)


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BundledServerFailed(f"cannot use {error.filename}: {error.strerror}") from error


def _try_lock(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
