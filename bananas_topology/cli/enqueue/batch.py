"""`bananas enqueue --batch`: enqueue JSON Lines, one chunk at a time.

At most one chunk and one line of the input are held in memory, and input that trickles in through
a pipe is enqueued as it arrives.
"""

from __future__ import annotations

import codecs
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from bananas_topology.cli import console
from bananas_topology.cli.enqueue.json_lines import InvalidLine, JobLine, read_line
from bananas_topology.cli.enqueue.single import warn_if_unhandled
from bananas_topology.cli.exit_codes import FAILED, OK
from bananas_topology.cli.server import Server, client_of
from bananas_topology.client import Client
from bananas_topology.errors import BananasTopologyError
from bananas_topology.units import quantity

#: Bytes read at a time.
CHUNK_BYTES = 256 * 1024

#: Invalid lines reported individually; further ones are only counted.
MAX_REPORTED = 20

_STDIN = "-"

Chunk = list[JobLine | InvalidLine]


@dataclass(slots=True)
class _Progress:
    """Progress by line: done through line `done_through`, sent through line `sent_through`."""

    source: str
    enqueued: int = 0
    invalid: int = 0
    done_through: int = 0
    sent_through: int = 0
    job_types: set[str] = field(default_factory=set)

    def report(self, line: InvalidLine) -> None:
        self.invalid += 1
        if self.invalid <= MAX_REPORTED:
            console.notice(f"{self.source}:{line.number}: error: {line.reason}")

    def report_rest(self) -> None:
        if self.invalid > MAX_REPORTED:
            console.notice(
                f"{self.source}: {quantity(self.invalid - MAX_REPORTED, 'more invalid line')}"
            )

    def summary(self) -> str:
        skipped = f", skipped {quantity(self.invalid, 'invalid line')}" if self.invalid else ""
        return f"enqueued {quantity(self.enqueued, 'job')}{skipped}"

    def stopped(self) -> str:
        """Summarize an interrupted batch: what was enqueued, and where to resume."""
        text = f"stopped: {self.summary()}, through line {self.done_through:,} of {self.source}"
        if self.sent_through > self.done_through:
            text += f"; jobs through line {self.sent_through:,} may also have been enqueued"
        return text


def enqueue_batch(source: str, server: Server) -> int:
    """Enqueue the jobs of a file or of standard input (``-``); returns the exit code.

    Raises:
        OSError: the file cannot be read.
        RedisUnavailable, RedisUnsuitable: the server cannot be used; progress has been printed.
    """
    if source == _STDIN:
        return _enqueue(sys.stdin.buffer, "standard input", None, server)
    with Path(source).open("rb") as lines:
        if not lines.seekable():
            return _enqueue(lines, source, None, server)
        total = _check_all(lines, source, server)
        if total is None:
            return FAILED
        lines.seek(0)
        return _enqueue(lines, source, total, server)


def _check_all(lines: IO[bytes], source: str, server: Server) -> int | None:
    """Check all lines before enqueueing any; returns the number of jobs, None if any is invalid."""
    progress = _Progress(source)
    total = 0
    for chunk in _chunks(lines, server):
        for line in chunk:
            if isinstance(line, InvalidLine):
                progress.report(line)
            else:
                total += 1
    if not progress.invalid:
        return total
    progress.report_rest()
    lines_in_total = quantity(total + progress.invalid, "line")
    console.notice(f"error: {progress.invalid:,} of {lines_in_total} invalid; nothing was enqueued")
    return None


def _enqueue(lines: IO[bytes], source: str, total: int | None, server: Server) -> int:
    progress = _Progress(source)
    with client_of(server) as client:
        try:
            _send_all(_chunks(lines, server), client, progress, total)
        except (KeyboardInterrupt, BananasTopologyError):
            console.notice(progress.stopped())
            raise
    progress.report_rest()
    console.notice(progress.summary())
    if progress.enqueued:
        warn_if_unhandled(server, progress.job_types)
    return FAILED if progress.invalid else OK


def _send_all(
    chunks: Iterator[Chunk], client: Client, progress: _Progress, total: int | None
) -> None:
    shows_ids = not console.is_terminal(sys.stdout)
    with console.progress("enqueueing", total) as advance:
        for chunk in chunks:
            progress.sent_through = chunk[-1].number
            jobs = [line.job for line in chunk if isinstance(line, JobLine)]
            ids = client.enqueue_many(jobs)
            progress.enqueued += len(ids)
            progress.done_through = progress.sent_through
            progress.job_types.update(job.job_type for job in jobs)
            for line in chunk:
                if isinstance(line, InvalidLine):
                    progress.report(line)
            if shows_ids and ids:
                print("\n".join(ids), flush=True)
            advance(len(ids))


def _chunks(stream: Any, server: Server) -> Iterator[Chunk]:
    """Yield available lines as jobs and invalid lines, without waiting for a chunk to fill up."""
    number = 0
    partial: list[bytes] = []  # the pieces of an incomplete line
    while data := stream.read1(CHUNK_BYTES):
        *lines, rest = data.split(b"\n")
        if lines:
            lines[0] = b"".join([*partial, lines[0]])
            partial = []
        partial.append(rest)
        if chunk := _read(lines, number, server):
            yield chunk
        number += len(lines)
    if chunk := _read([b"".join(partial)], number, server):
        yield chunk


def _read(lines: list[bytes], number: int, server: Server) -> Chunk:
    if number == 0 and lines:
        lines[0] = lines[0].removeprefix(codecs.BOM_UTF8)
    read = (read_line(number + i, line, server.priority_of) for i, line in enumerate(lines, 1))
    return [line for line in read if line is not None]
