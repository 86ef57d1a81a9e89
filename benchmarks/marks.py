"""How a job's run is seen, at the same small cost for every peer: bytes in a shared file.

Each job carries its index. Its handler adds one to that byte of a file mapped into memory; for
latencies it writes the moment at which it began, too. The runner reads the same memory: no peer's
own bookkeeping, no command to the server and no result is needed to know what has run, how often
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
    """The runs of `count` jobs: a byte each, and a monotonic time in nanoseconds each.

    A process that marks its first run makes the file beside it, `.started`, a byte longer.
    """

    #: Marks that the job of an index has run. A job has one thread at a time, so nothing is lost.
    ran: Callable[[int], None]

    def __init__(self, path: Path, count: int) -> None:
        self._count = count
        self._started = path.with_suffix(".started")
        with open(path, "r+b") as file:
            self._map = mmap.mmap(file.fileno(), count * (1 + _STAMP.size))
        self.ran = self._first

    @classmethod
    def create(cls, path: Path, count: int) -> Marks:
        """Make the file anew, nothing marked."""
        with open(path, "wb") as file:
            file.truncate(count * (1 + _STAMP.size))
        path.with_suffix(".started").write_bytes(b"")
        return cls(path, count)

    @classmethod
    def from_env(cls) -> Marks:
        """Open the file that the runner made and names in the environment."""
        path = Path(os.environ["BENCH_MARKS"])
        return cls(path, path.stat().st_size // (1 + _STAMP.size))

    def begin(self, index: int) -> None:
        """Write that the job of this index starts now, unless it did before."""
        offset = self._count + index * _STAMP.size
        if self.began(index) == 0:
            _STAMP.pack_into(self._map, offset, time.monotonic_ns())

    def began(self, index: int) -> int:
        """When the job started, in monotonic nanoseconds; 0 when it has not."""
        begun: int = _STAMP.unpack_from(self._map, self._count + index * _STAMP.size)[0]
        return begun

    def done(self) -> int:
        """How many jobs have run at least once."""
        return self._count - self._map[: self._count].count(0)

    def repeated(self) -> int:
        """How many have run more than once."""
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
