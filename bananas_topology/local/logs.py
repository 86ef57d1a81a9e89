"""Reads the log files of `up`'s children: merges them by time, filters and follows them."""

from __future__ import annotations

import heapq
import json
import os
import re
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Self

from bananas_topology.errors import InvalidArgument
from bananas_topology.supervisor.log_files import (
    TIMESTAMP_LENGTH,
    children_with_logs,
    existing_files,
    log_path,
    possible_files,
)
from bananas_topology.supervisor.output import SUPERVISOR
from bananas_topology.system.clock import format_timestamp, sleep

#: Where the files are, in the state directory of a topology.
LOG_DIRECTORY = "logs"

#: The levels of lines, by severity.
LEVELS = ("debug", "info", "warn", "error")

#: Seconds between reads of growing files.
_POLL_S = 0.2

_SGR = re.compile(r"\x1b\[[0-9;]*m")
#: The level of a logged line, or of a message printed before logging is set up.
_TEXT_LEVEL = re.compile(r"(?:\d\d:\d\d:\d\d )?(debug|info|warn|error)(?:\b(?!:)|: |ing: )")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a child; `at` is when it arrived, as a timestamp that sorts as text."""

    at: str
    child: str
    text: str


@dataclass(frozen=True, slots=True)
class Filter:
    """Which lines to select: of which children, since when, and at least of which level."""

    children: Sequence[str] = ()
    since: datetime | None = None
    level: str | None = None


def choose_children(directory: Path, pools: Collection[str]) -> list[str]:
    """Names of the selected children, which may be named by pool or one by one.

    Raises:
        InvalidArgument: some of them have no logs.
    """
    known = children_with_logs(directory)
    if not pools:
        return known
    chosen = [name for name in known if name in pools or _pool_of(name) in pools]
    for pool in pools:
        if not any(pool in (name, _pool_of(name)) for name in known):
            pools_known = ", ".join(dict.fromkeys(map(_pool_of, known))) or "nothing"
            raise InvalidArgument(f'no logs of "{pool}": expected one of {pools_known}')
    return chosen


def read(
    directory: Path, wanted: Filter, tail: int | None, until: Follower | None = None
) -> Iterator[Line]:
    """Yield the lines in order of arrival; with `tail`, only that many of the latest.

    With `until`, only lines from before this follower's start.
    """
    ends = {} if until is None else until.begins
    streams = [
        _read_child(directory, name, wanted, tail, ends.get(name)) for name in wanted.children
    ]
    merged = heapq.merge(*streams, key=_arrival)
    return iter(deque(merged, tail)) if tail is not None else merged


class Follower:
    """Yields the lines that arrive after its creation, including those of new children."""

    def __init__(self, directory: Path, pools: Collection[str], wanted: Filter) -> None:
        self._directory = directory
        self._pools = pools
        self._level = wanted.level
        self._levels = {name: _Levels(wanted.level) for name in wanted.children}
        self._tails = {name: _Growing(directory, name, at_end=True) for name in wanted.children}
        #: Where it starts in the file of each child.
        self.begins = {name: tail.position for name, tail in self._tails.items()}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for tail in self._tails.values():
            tail.close()

    def lines(self, is_over: Callable[[], bool]) -> Iterator[Line]:
        """Yield until `is_over`."""
        while True:
            # Checked before the last read, or lines written in between would be missed.
            was_over = is_over()
            self._find_new_children()
            found = [
                line
                for name, tail in self._tails.items()
                for line in self._levels[name].select(_parse(name, raw) for raw in tail.read())
            ]
            yield from sorted(found, key=_arrival)
            if was_over:
                return
            sleep(_POLL_S)

    def _find_new_children(self) -> None:
        for name in children_with_logs(self._directory):
            is_wanted = not self._pools or name in self._pools or _pool_of(name) in self._pools
            if is_wanted and name not in self._tails:
                self._tails[name] = _Growing(self._directory, name, at_end=False)
                self._levels[name] = _Levels(self._level)


@dataclass(frozen=True, slots=True)
class _Position:
    """A place in a file, which keeps its inode when it is renamed."""

    inode: int
    offset: int


def _arrival(line: Line) -> str:
    return line.at


def _pool_of(name: str) -> str:
    return name if name == SUPERVISOR else name.rpartition("-")[0]


def _read_child(
    directory: Path, name: str, wanted: Filter, tail: int | None, end: _Position | None
) -> Iterator[Line]:
    since = format_timestamp(wanted.since) if wanted.since is not None else ""
    paths = existing_files(directory, name)
    if tail is not None and wanted.level is None:
        paths = _with_last(paths, tail)
    lines = (_parse(name, raw) for raw in _raw_lines(paths, end))
    return (line for line in _Levels(wanted.level).select(lines) if line.at >= since)


def _with_last(paths: list[Path], count: int) -> list[Path]:
    """The newest files that together have at least this many lines."""
    chosen: list[Path] = []
    for path in reversed(paths):
        chosen.insert(0, path)
        try:
            count -= path.read_bytes().count(b"\n")
        except FileNotFoundError:  # rotated away meanwhile
            continue
        if count <= 0:
            break
    return chosen


def _raw_lines(paths: Iterable[Path], end: _Position | None) -> Iterator[bytes]:
    """Yield the lines of files, the oldest first, up to a place in one of them."""
    for path in paths:
        try:
            file = open(path, "rb")  # noqa: SIM115  (closed below)
        except FileNotFoundError:  # rotated away meanwhile
            continue
        with file:
            if end is not None and os.fstat(file.fileno()).st_ino == end.inode:
                yield from file.read(end.offset).splitlines()
                return
            yield from (line.rstrip(b"\n") for line in file)


def _parse(name: str, raw: bytes) -> Line:
    text = raw.decode(errors="replace")
    return Line(text[:TIMESTAMP_LENGTH], name, _SGR.sub("", text[TIMESTAMP_LENGTH + 1 :]))


class _Levels:
    """Selects lines of one child by level; one without a level has that of the line before."""

    def __init__(self, least: str | None) -> None:
        self._least = LEVELS.index(least) if least is not None else 0
        self._latest = LEVELS.index("info")

    def select(self, lines: Iterable[Line]) -> Iterator[Line]:
        if self._least == 0:
            yield from lines
            return
        for line in lines:
            level = _level_of(line.text)
            if level is not None:
                self._latest = level
            if self._latest >= self._least:
                yield line


def _level_of(text: str) -> int | None:
    if text.startswith("{"):
        try:
            level = json.loads(text).get("level")
        except (ValueError, AttributeError):
            return None
        return LEVELS.index(level) if level in LEVELS else None
    found = _TEXT_LEVEL.match(text)
    return LEVELS.index(found[1]) if found else None


class _Growing:
    """Reads complete lines from the file of a child, which grows and is rotated."""

    def __init__(self, directory: Path, name: str, *, at_end: bool) -> None:
        self._directory = directory
        self._name = name
        self._path = log_path(directory, name)
        self._rest = b""
        self._file = self._open(self._path) if at_end else None
        if self._file is not None:
            self._file.seek(0, os.SEEK_END)

    @property
    def position(self) -> _Position | None:
        """The current position; None while there is no file."""
        if self._file is None:
            return None
        return _Position(os.fstat(self._file.fileno()).st_ino, self._file.tell())

    def read(self) -> list[bytes]:
        """Return the lines that have arrived."""
        lines = self._read()
        while (file := self._next_file()) is not None:
            # What was written to the file before it was rotated.
            lines += self._read()
            self.close()
            self._file, self._rest = file, b""
            lines += self._read()
        return lines

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _read(self) -> list[bytes]:
        if self._file is None:
            return []
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        return lines

    def _next_file(self) -> IO[bytes] | None:
        """Open the file that was created right after the open one; None if there is none.

        Looks from the newest to the oldest, as files move when they are rotated: so none is missed
        that moves meanwhile.
        """
        inode = self.position.inode if self.position is not None else None
        if (current := _inode(self._path)) is None or current == inode:
            return None
        found: IO[bytes] | None = None
        for path in possible_files(self._directory, self._name):
            if (file := self._open(path)) is None:
                continue
            if os.fstat(file.fileno()).st_ino == inode:
                file.close()
                break
            if found is not None:
                found.close()
            found = file
        return found

    @staticmethod
    def _open(path: Path) -> IO[bytes] | None:
        try:
            return open(path, "rb")
        except FileNotFoundError:
            return None


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:  # rotated meanwhile
        return None
