"""Records what has run, at the same small cost for every peer: bytes in a shared file.

A job carries its index. Its handler increments that byte of a memory-mapped file and, for
latencies, writes the time at which it started. The runner reads the same memory, so it needs no
bookkeeping of the peer, no command to the server and no result to know what has run, how often
and when. Standard library only: this runs in every peer's environment.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path

_STAMP = struct.Struct("<q")


class Marks:
    """The runs of `count` jobs: per job one byte, and its start in monotonic nanoseconds.

    A process that marks its first run appends a byte to the file `.started` beside it.
    """

    #: Counts a run of the job with an index. Only one thread runs a job, so no update is lost.
    ran: Callable[[int], None]

    def __init__(self, path: Path, count: int) -> None:
        self._count = count
        self._started = path.with_suffix(".started")
        with open(path, "r+b") as file:
            self._map = mmap.mmap(file.fileno(), count * (1 + _STAMP.size))
        self.ran = self._first

    @classmethod
    def create(cls, path: Path, count: int) -> Marks:
        """Create the file, with nothing marked."""
        with open(path, "wb") as file:
            file.truncate(count * (1 + _STAMP.size))
        path.with_suffix(".started").write_bytes(b"")
        return cls(path, count)

    @classmethod
    def from_env(cls) -> Marks:
        """Open the file that BENCH_MARKS names."""
        path = Path(os.environ["BENCH_MARKS"])
        return cls(path, path.stat().st_size // (1 + _STAMP.size))

    def begin(self, index: int) -> None:
        """Record the start of a job, unless it has started before."""
        offset = self._count + index * _STAMP.size
        if self.began(index) == 0:
            _STAMP.pack_into(self._map, offset, time.monotonic_ns())

    def began(self, index: int) -> int:
        """When the job started, in monotonic nanoseconds; 0 if it has not."""
        begun: int = _STAMP.unpack_from(self._map, self._count + index * _STAMP.size)[0]
        return begun

    def done(self) -> int:
        """How many jobs have run at least once."""
        return self._count - self._map[: self._count].count(0)

    def repeated(self) -> int:
        """How many jobs have run more than once."""
        runs = self._map[: self._count]
        return self._count - runs.count(0) - runs.count(1)

    def processes(self) -> int:
        """How many processes have run a job."""
        return self._started.stat().st_size

    def _first(self, index: int) -> None:
        with open(self._started, "ab", buffering=0) as file:
            file.write(b"+")
        self.ran = self._again
        self._again(index)

    def _again(self, index: int) -> None:
        runs = self._map[index]
        self._map[index] = runs + 1 if runs < 255 else 255
