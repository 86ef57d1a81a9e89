"""`bananas enqueue --batch`: JSON Lines become jobs, a chunk at a time.

However long the input, no more than a chunk and a line of it is held in memory; and what comes
slowly through a pipe is enqueued as it comes.
"""

from __future__ import annotations

import codecs
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from bananas_topology.cli import console
from bananas_topology.cli.enqueue.job_lines import BadLine, JobLine, read_line
from bananas_topology.cli.enqueue.single import warn_of_unhandled
from bananas_topology.cli.exit_codes import FAILED, OK
from bananas_topology.cli.server import Server, client_of
from bananas_topology.client import Client
from bananas_topology.errors import BananasTopologyError

#: Bytes that are read at a time.
CHUNK_BYTES = 256 * 1024

#: Bad lines that are reported one by one; the rest is counted.
MAX_REPORTED = 20

_STDIN = "-"

Chunk = list[JobLine | BadLine]


@dataclass(slots=True)
class _Tally:
    """What has become of the lines so far.

    Every line up to `through` is done with; those after it, up to `sending`, are on their way.
    """

    source: str
    enqueued: int = 0
    bad: int = 0
    through: int = 0
    sending: int = 0
    job_types: set[str] = field(default_factory=set)

    def report(self, line: BadLine) -> None:
        self.bad += 1
        if self.bad <= MAX_REPORTED:
            console.notice(f"{self.source}:{line.number}: error: {line.reason}")

    def report_rest(self) -> None:
        if self.bad > MAX_REPORTED:
            console.notice(f"{self.source}: and {self.bad - MAX_REPORTED:,} more bad lines")

    def summary(self) -> str:
        jobs = "1 job" if self.enqueued == 1 else f"{self.enqueued:,} jobs"
        return f"enqueued {jobs}" + (f", not {_bad_lines(self.bad)}" if self.bad else "")

    def stopped(self) -> str:
        """The word on a batch that ended in the middle: what is in, and where to go on."""
        text = f"stopped: {self.summary()}, up to line {self.through:,} of {self.source}"
        if self.sending > self.through:
            text += f"; whether also those up to line {self.sending:,} is not known"
        return text


def enqueue_batch(source: str, server: Server) -> int:
    """Enqueue the jobs of a file, or of standard input (``-``); returns the exit code.

    Raises:
        OSError: the file cannot be read.
        RedisUnavailable, RedisUnsuitable: the server cannot be used; what was enqueued is said.
    """
    if source == _STDIN:
        return _enqueue(sys.stdin.buffer, "standard input", None, server)
    with Path(source).open("rb") as lines:
        if not lines.seekable():
            return _enqueue(lines, source, None, server)
        total = _checked(lines, source, server)
        if total is None:
            return FAILED
        lines.seek(0)
        return _enqueue(lines, source, total, server)


def _checked(lines: IO[bytes], source: str, server: Server) -> int | None:
    """Check every line before the first is enqueued: how many jobs there are; None: bad ones."""
    tally = _Tally(source)
    total = 0
    for chunk in _chunks(lines, server):
        for line in chunk:
            if isinstance(line, BadLine):
                tally.report(line)
            else:
                total += 1
    if not tally.bad:
        return total
    tally.report_rest()
    console.notice(
        f"error: {_bad_lines(tally.bad)} among {total + tally.bad:,}: nothing was enqueued"
    )
    return None


def _enqueue(lines: IO[bytes], source: str, total: int | None, server: Server) -> int:
    tally = _Tally(source)
    with client_of(server) as client:
        try:
            _send_all(_chunks(lines, server), client, tally, total)
        except (KeyboardInterrupt, BananasTopologyError):
            console.notice(tally.stopped())
            raise
    tally.report_rest()
    console.notice(tally.summary())
    if tally.enqueued:
        warn_of_unhandled(server, tally.job_types)
    return FAILED if tally.bad else OK


def _send_all(chunks: Iterator[Chunk], client: Client, tally: _Tally, total: int | None) -> None:
    shows_ids = not console.is_terminal(sys.stdout)
    with console.progress("enqueueing", total) as advance:
        for chunk in chunks:
            tally.sending = chunk[-1].number
            jobs = [line.job for line in chunk if isinstance(line, JobLine)]
            ids = client.enqueue_many(jobs)
            tally.enqueued += len(ids)
            tally.through = tally.sending
            tally.job_types.update(job.job_type for job in jobs)
            for line in chunk:
                if isinstance(line, BadLine):
                    tally.report(line)
            if shows_ids and ids:
                print("\n".join(ids), flush=True)
            advance(len(ids))


def _chunks(stream: Any, server: Server) -> Iterator[Chunk]:
    """Read what there is, as jobs and bad lines; never waits for more while a line is complete."""
    number = 0
    begun: list[bytes] = []  # the pieces of a line that has not ended
    while data := stream.read1(CHUNK_BYTES):
        *lines, rest = data.split(b"\n")
        if lines:
            lines[0] = b"".join([*begun, lines[0]])
            begun = []
        begun.append(rest)
        if chunk := _read(lines, number, server):
            yield chunk
        number += len(lines)
    if chunk := _read([b"".join(begun)], number, server):
        yield chunk


def _read(lines: list[bytes], number: int, server: Server) -> Chunk:
    if number == 0 and lines:
        lines[0] = lines[0].removeprefix(codecs.BOM_UTF8)
    read = (read_line(number + i, line, server.priority_of) for i, line in enumerate(lines, 1))
    return [line for line in read if line is not None]


def _bad_lines(count: int) -> str:
    return "1 bad line" if count == 1 else f"{count:,} bad lines"
