"""A topology file: its text, its nodes, and the diagnostics found in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from bananas_topology.spec.diagnostics import Code, Diagnostic, Span, declare
from bananas_topology.spec.nodes import Lines, Node, shift

NOT_TEXT = declare("BT003", "Not UTF-8 text")

#: Characters of a key or value that a message shows.
_MAX_SHOWN = 60


@dataclass(frozen=True, slots=True)
class _Source:
    """A text that nodes are in; their offsets count from `start`."""

    start: int
    file: str
    text: str
    lines: Lines


class Document:
    """A file as nodes, with its diagnostics. `root` is None if there is nothing usable.

    After `append` it has the nodes of several files, and knows which of them an offset is in.
    """

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.text = text
        self.lines = Lines(text)
        self.root: Node | None = None
        self.diagnostics: list[Diagnostic] = []
        self._sources = [_Source(0, file, text, self.lines)]
        self._reported: set[tuple[Code, str, Span, str | None]] = set()

    @property
    def sources(self) -> Mapping[str, str]:
        """The text of each file, in the order in which they were appended."""
        return {source.file: source.text for source in self._sources}

    def hide(self, start: int, end: int) -> None:
        """Replace a part of the text where it is shown, such as a password; offsets stay valid."""
        hidden = re.sub(r"[^\r\n]", "*", self.text[start:end])
        self.text = self.text[:start] + hidden + self.text[end:]
        self._sources[0] = replace(self._sources[0], text=self.text)

    def append(self, other: Document) -> None:
        """Take over the text and the diagnostics of another file, and make its nodes ours."""
        last = self._sources[-1]
        # One more than the text, so that the end of a file is not the start of the next.
        start = last.start + len(last.text) + 1
        self._sources.append(_Source(start, other.file, other.text, other.lines))
        self.diagnostics += other.diagnostics
        if other.root is not None:
            shift(other.root, start)

    def report(
        self, code: Code, offsets: tuple[int, int], message: str, hint: str | None = None
    ) -> None:
        """Add a diagnostic.

        A value from `defaults:` or an anchor is checked in every pool that has it, and reported
        once.
        """
        source = next(each for each in reversed(self._sources) if each.start <= offsets[0])
        span = source.lines.span(offsets[0] - source.start, offsets[1] - source.start)
        if (code, source.file, span, hint) in self._reported:
            return
        self._reported.add((code, source.file, span, hint))
        self.diagnostics.append(
            Diagnostic(code.name, code.severity, message, source.file, span, hint)
        )


def shorten(text: str) -> str:
    """A text on one line, short enough for a message."""
    text = text.replace("\n", " ")
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 3]}..."
