"""Repair of the bundled server's append-only file after a full disk or a power failure: snapshot,
commands since, and the manifest that names both.

The file system may then have extended a file whose new bytes were never written: they read as NUL.
The server refuses such a file, although it would accept the same one cut in mid-command.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bananas_topology.errors import BundledServerFailed
from bananas_topology.system.files import open_private

#: Before its checksum of this many bytes, a snapshot has this byte.
_CHECKSUM_BYTES = 8
_END_OF_SNAPSHOT = b"\xff"

#: Bytes read at a time.
_CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Repair:
    """A file that had NUL bytes at its end, and the copy made before the repair."""

    path: Path
    removed_bytes: int
    copy: Path


def repair(data: Path, copies: Path) -> Iterator[Repair]:
    """Remove NUL bytes from the end of append-only files in a data directory.

    A valid file never ends with one, except in the checksum of a snapshot. The damaged file is
    first copied to `copies`.

    Raises:
        BundledServerFailed: a file cannot be copied; it is unchanged.
    """
    for path in sorted((data / "appendonlydir").glob("appendonly.aof.*")):
        with open(open_private(path, os.O_RDWR), "r+b") as file:
            size = file.seek(0, os.SEEK_END)
            end = _end_of_content(file, size)
            if path.suffix == ".rdb":
                end = _end_of_snapshot(file, end, size)
            if end == size:
                continue
            copy = copies / f"{path.name}.{time.strftime('%Y%m%dT%H%M%S')}.damaged"
            _copy(file, end, size, copy)
            file.truncate(end)
            os.fsync(file.fileno())
        yield Repair(path, size - end, copy)


def _end_of_content(file: IO[bytes], size: int) -> int:
    """The offset after the last byte that is not NUL."""
    end = size
    while end:
        begin = max(0, end - _CHUNK_BYTES)
        file.seek(begin)
        if content := file.read(end - begin).rstrip(b"\0"):
            return begin + len(content)
        end = begin
    return 0


def _end_of_snapshot(file: IO[bytes], end: int, size: int) -> int:
    """The offset after the checksum, which may end with NUL bytes; `size` if it is not found.

    Without the NUL bytes, the file ends at `end`.
    """
    candidates: list[int] = [size, *range(end, min(end + _CHECKSUM_BYTES + 1, size))]
    for candidate in candidates:
        file.seek(max(0, candidate - _CHECKSUM_BYTES - 1))
        if file.read(1) == _END_OF_SNAPSHOT:
            return candidate
    return size


def _copy(file: IO[bytes], end: int, size: int, copy: Path) -> None:
    """Copy a file whose bytes from `end` on are NUL, which take no space in the copy."""
    try:
        with open(open_private(copy, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as target:
            file.seek(0)
            for begin in range(0, end, _CHUNK_BYTES):
                target.write(file.read(min(_CHUNK_BYTES, end - begin)))
            target.truncate(size)
            os.fsync(target.fileno())
    except OSError as error:
        copy.unlink(missing_ok=True)
        raise BundledServerFailed(
            f"the append-only file ends with {size - end:,} NUL bytes, and could not be copied to "
            f"{copy} before removing them: {error.strerror}"
        ) from error
