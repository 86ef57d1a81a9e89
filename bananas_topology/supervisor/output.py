"""Output of child processes as lines, bounded in length and labelled with their source.

Text lines get a prefix (``worker-high-0 | line``). JSON Lines pass unchanged, and anything else
among them (a handler's print, a traceback) is wrapped so that every line can be parsed. Colors are
the caller's choice: the function that paints a prefix is passed in.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection

from bananas_topology.supervisor.log_files import LogFile, LogFiles
from bananas_topology.supervisor.sink import Sink
from bananas_topology.system.clock import format_timestamp, wall_now
from bananas_topology.system.terminal import visible, visible_json

#: Bytes after which an unterminated line is split.
MAX_LINE_BYTES = 1024 * 1024

#: The source of the supervisor's own lines.
SUPERVISOR = "supervisor"

#: How the line begins by which a program says why it cannot start, and how many are remembered.
_ERROR = b"error: "
_MAX_ERRORS = 100

#: Colors a text for its pool: takes the pool's name and the text.
Paint = Callable[[str, str], str]


class LineSplitter:
    """Splits chunks of bytes into complete lines without line endings."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the lines completed by this chunk."""
        *lines, rest = chunk.split(b"\n")
        if lines:
            lines[0] = bytes(self._rest) + lines[0]
            self._rest.clear()
        self._rest += rest
        while len(self._rest) >= MAX_LINE_BYTES:
            lines.append(bytes(self._rest[:MAX_LINE_BYTES]))
            del self._rest[:MAX_LINE_BYTES]
        return [line.removesuffix(b"\r") for line in lines]

    def end(self) -> list[bytes]:
        """Return the remaining unterminated line, if any."""
        rest = bytes(self._rest)
        self._rest.clear()
        return [rest] if rest else []


class Stream:
    """The output of one child across restarts: marked in the sink, and as it is in its file.

    While `is_starting`, `mark_start` marks what it writes.
    """

    def __init__(
        self,
        sink: Sink,
        mark: Callable[[bytes], bytes],
        file: LogFile | None,
        mark_start: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self._sink = sink
        self._mark = mark
        self._mark_start = mark_start or mark
        self._file = file
        self._splitter = LineSplitter()
        self.is_starting = False

    def feed(self, chunk: bytes) -> None:
        self._write(self._splitter.feed(chunk))

    def end(self) -> None:
        """Write an unterminated last line: the process has exited."""
        self._write(self._splitter.end())

    def _write(self, lines: list[bytes]) -> None:
        mark = self._mark_start if self.is_starting else self._mark
        for line in lines:
            self._sink.write(mark(line))
        if self._file is not None:
            self._file.write(lines)


class Output:
    """Creates the streams of a set of children, all writing to one sink, and each to its file."""

    def __init__(
        self, sink: Sink, names: Collection[str], paint: Paint, files: LogFiles | None = None
    ) -> None:
        self.sink = sink
        self._files = files
        self._width = max(len(name) for name in (*names, SUPERVISOR))
        self._paint = paint
        #: Errors of starts, and the child that had each of them first.
        self._errors: dict[bytes, str] = {}

    def stream(self, name: str, pool: str, *, is_json: bool, is_formatted: bool = False) -> Stream:
        """Create the stream of a child; one that is formatted may have colors in its text."""
        file = self._files.file(name) if self._files is not None else None
        if is_json:
            return Stream(self.sink, lambda line: as_json(line, name, pool), file)
        prefix = self._prefix(name, pool)
        text = bytes if is_formatted else as_text

        def mark(line: bytes) -> bytes:
            return (prefix + text(line)).rstrip(b" ")

        return Stream(self.sink, mark, file, lambda line: mark(self._once(name, line)))

    def _once(self, name: str, line: bytes) -> bytes:
        """Refer to the error of another child instead of repeating it."""
        if not line.startswith(_ERROR):
            return line
        if len(self._errors) >= _MAX_ERRORS:
            self._errors.clear()
        first = self._errors.setdefault(line, name)
        return line if first == name else _ERROR + f"the same as {first}".encode()

    def show(self, name: str, pool: str, text: str) -> None:
        """Show a line about a child without writing it to its file."""
        self.sink.write(self._prefix(name, pool) + text.encode(errors="backslashreplace"))

    def _prefix(self, name: str, pool: str) -> bytes:
        return self._paint(pool, f"{name:<{self._width}} |").encode() + b" "


class StreamHandler(logging.Handler):
    """Writes log records to a stream, so the supervisor logs alongside its children."""

    def __init__(self, stream: Stream) -> None:
        super().__init__()
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        self._stream.feed(self.format(record).encode(errors="backslashreplace") + b"\n")


def as_text(line: bytes) -> bytes:
    """Return the line as valid UTF-8, with control characters escaped.

    >>> as_text(b"caf\\xe9") == "caf\N{REPLACEMENT CHARACTER}".encode()
    True
    """
    return visible(line.decode(errors="replace")).encode()


def as_json(line: bytes, name: str, pool: str) -> bytes:
    """Return the line if it looks like a JSON object, otherwise wrap it in one."""
    text = line.decode(errors="replace")
    if text.startswith("{") and text.endswith("}"):
        return visible_json(text).encode()
    entry = {
        "time": format_timestamp(wall_now()),
        "level": "info",
        "msg": text,
        "pool": pool,
        "worker_id": name,
    }
    return visible_json(json.dumps(entry, ensure_ascii=False)).encode()
