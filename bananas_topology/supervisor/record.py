"""The state directory of a running `up`, next to its topology file, for other commands to find.

A lock prevents a topology from running twice on this host; the record holds its Redis URL.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from bananas_topology.errors import ControlFailed
from bananas_topology.system.files import (
    open_private,
    private_directory,
    read_private,
    write_atomic,
)
from bananas_topology.system.processes import start_time_token

#: Next to the topology file: one directory per topology, with its record, server log and data.
STATE_DIRECTORY = ".bananas"

_RECORD = "up.json"
_LOCK = "up.lock"


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A running `up`. `start_time_token` detects a process id that has been reused.

    `control` is the path of its control socket, `directory` that of its state directory.
    """

    pid: int
    start_time_token: str
    name: str
    topology: str
    redis_url: str
    key_prefix: str
    started_at: str
    control: str = ""
    directory: str = ""


class ExclusiveLock:
    """The lock that makes a run the only `up` of its topology on this host.

    Raises (`__enter__` and `retake`):
        ControlFailed: another `up` holds it, or it cannot be created.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._name = name
        self._handle = -1

    def __enter__(self) -> Self:
        self.retake()
        return self

    def __exit__(self, *_: object) -> None:
        if self.is_held:
            (self._directory / _RECORD).unlink(missing_ok=True)
        os.close(self._handle)

    @property
    def is_held(self) -> bool:
        """Whether others see the lock: its file has not been deleted."""
        try:
            found = os.stat(self._directory / _LOCK)
        except OSError:
            return False
        return os.path.samestat(found, os.fstat(self._handle))

    def retake(self) -> None:
        """Take it, also if it was held before and its file has been deleted."""
        try:
            handle = open_private(self._directory / _LOCK, os.O_WRONLY | os.O_CREAT)
        except OSError as error:
            raise ControlFailed(f"cannot lock {error.filename}: {error.strerror}") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(handle)
            other = _read(self._directory / _RECORD)
            process = f" (process {other.pid})" if other else ""
            # It may have been started under another name.
            running = other.name if other else self._name
            raise ControlFailed(
                f'topology "{running}" is already running here{process}; stop it with '
                "`bananas down`"
            ) from error
        if self._handle >= 0:
            os.close(self._handle)
        self._handle = handle


def write(directory: Path, record: RunRecord) -> None:
    """Write the record atomically, readable by its owner only: the URL may hold a password."""
    write_atomic(directory / _RECORD, json.dumps(asdict(record), indent=2), 0o600)


def create_directory(directory: Path) -> None:
    """Create a state directory, accessible to its owner only, if it does not exist.

    Raises:
        OSError: it cannot be created, or is a symbolic link or another user's.
    """
    private_directory(directory.parent)
    private_directory(directory)
    ignore = directory.parent / ".gitignore"
    if not ignore.exists():
        write_atomic(ignore, "*\n")


class Publication:
    """The record of a run, in its own directory, the first one, and where it was started."""

    def __init__(self, record: RunRecord, directories: Sequence[Path]) -> None:
        self.record = record
        self._directories = list(directories)

    def __enter__(self) -> Self:
        self.update(self.record)
        return self

    def __exit__(self, *_: object) -> None:
        for directory in self._directories:
            # Another `up` of a topology with the same name may have been started here since.
            if _read(directory / _RECORD) == self.record:
                (directory / _RECORD).unlink(missing_ok=True)

    @property
    def is_complete(self) -> bool:
        """Whether the record is still everywhere where it was written."""
        return all((directory / _RECORD).exists() for directory in self._directories)

    def create(self) -> None:
        """Create the directories where they have been deleted; the folder of others may be, too.

        Raises:
            OSError: its own cannot be created.
        """
        own, *others = self._directories
        create_directory(own)
        self._directories = [own]
        for directory in others:
            with suppress(OSError):
                create_directory(directory)
                self._directories.append(directory)

    def update(self, record: RunRecord) -> None:
        """Replace the record.

        Raises:
            OSError: it cannot be written.
        """
        for directory in self._directories:
            write(directory, record)
        self.record = record


def find(directory: Path, name: str | None = None, file: Path | None = None) -> RunRecord | None:
    """Find the running `up` of a topology in this directory; without a name, the latest one.

    Ignores records as `running` does. If none has the name, finds the one of the `file`, whose name
    was edited since.
    """
    found = running(directory, name)
    if not found and file is not None:
        found = [each for each in running(directory) if each.topology == str(file.absolute())]
    return max(found, key=lambda record: record.started_at, default=None)


def running(directory: Path, name: str | None = None) -> list[RunRecord]:
    """Find every running `up` of this directory, or those of one topology.

    Records left behind by killed processes are ignored, and so are those of other users, and
    behind symbolic links: a record says where jobs are sent.
    """
    root = directory / STATE_DIRECTORY
    found = [] if root.is_symlink() else sorted(root.glob(f"*/{_RECORD}"))
    paths = [path for path in found if not path.parent.is_symlink()]
    records = [record for path in paths if (record := _read(path)) is not None]
    return [record for record in records if name in (None, record.name)]


def running_in(directory: Path) -> RunRecord | None:
    """Return the running `up` whose state directory this is, if any."""
    return _read(directory / _RECORD)


def is_running(record: RunRecord) -> bool:
    """Whether the process of the record still runs, and is not another one with the same id."""
    return start_time_token(record.pid) == record.start_time_token


def _read(path: Path) -> RunRecord | None:
    try:
        record = RunRecord(**json.loads(read_private(path)))
    except (OSError, ValueError, TypeError):
        return None
    return record if is_running(record) else None
