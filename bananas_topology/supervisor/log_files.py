"""Keeps the output of children in files: one per child, rotated by size.

Each line is the time of its arrival (RFC 3339, UTC, always 27 characters), a space, and the line.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from bananas_topology.system.clock import format_timestamp, wall_now
from bananas_topology.system.files import open_private, private_directory

#: Bytes after which a file is rotated, and how many rotated ones are kept: 20 MB a child at most.
MAX_FILE_BYTES = 5_000_000
BACKUPS = 3

#: Characters of a line's time.
TIMESTAMP_LENGTH = 27

_SUFFIX = ".log"

log = logging.getLogger(__name__)


class LogFile:
    """Writes the lines of one child. Never raises: a full disk must not stop the supervisor."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None
        self._size = 0
        self._is_failing = False

    def write(self, lines: Iterable[bytes]) -> None:
        """Append lines, all with the present time."""
        stamp = format_timestamp(wall_now()).encode() + b" "
        data = b"".join(stamp + line + b"\n" for line in lines)
        if not data:
            return
        try:
            self._append(data)
        except OSError as error:
            self.close()
            if not self._is_failing:
                self._is_failing = True
                log.error("cannot write log file %s: %s", self._path, error.strerror)
        else:
            self._is_failing = False

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _append(self, data: bytes) -> None:
        if self._fd is None:
            self._fd = open_private(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            self._size = os.fstat(self._fd).st_size
        if self._size and self._size + len(data) > MAX_FILE_BYTES:
            self.close()
            self._rotate()
            self._append(data)
            return
        self._size += os.write(self._fd, data)

    def _rotate(self) -> None:
        for number in range(BACKUPS, 0, -1):
            with suppress(FileNotFoundError):
                os.replace(backup(self._path, number - 1), backup(self._path, number))


class LogFiles:
    """The log files of a run, in a directory of their own."""

    def __init__(self, directory: Path) -> None:
        private_directory(directory)
        self._directory = directory
        self._files: dict[str, LogFile] = {}

    def reopen(self) -> None:
        """Create the directory and files again where they have been deleted.

        Raises:
            OSError: the directory cannot be created.
        """
        private_directory(self._directory)
        for file in self._files.values():
            file.close()

    def file(self, name: str) -> LogFile:
        """The file of a child, the same one over its restarts."""
        if name not in self._files:
            self._files[name] = LogFile(log_path(self._directory, name))
        return self._files[name]


def log_path(directory: Path, name: str) -> Path:
    """Where the lines of a child are."""
    return directory / f"{name}{_SUFFIX}"


def backup(path: Path, number: int) -> Path:
    """A rotated file; 0 is the current one, higher numbers are older."""
    return path if number == 0 else path.with_name(f"{path.name}.{number}")


def children_with_logs(directory: Path) -> list[str]:
    """Names of the children that have log files, in alphabetical order."""
    return sorted(path.name.removesuffix(_SUFFIX) for path in directory.glob(f"*{_SUFFIX}"))


def possible_files(directory: Path, name: str) -> list[Path]:
    """Where the log files of a child may be, the newest first."""
    return [backup(log_path(directory, name), number) for number in range(BACKUPS + 1)]


def existing_files(directory: Path, name: str) -> list[Path]:
    """The log files of a child, the oldest first."""
    return [path for path in reversed(possible_files(directory, name)) if path.exists()]
