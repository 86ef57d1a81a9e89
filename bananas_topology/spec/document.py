"""A topology file: its text, its nodes, and the diagnostics found in it."""

from __future__ import annotations

from bananas_topology.spec.diagnostics import Code, Diagnostic, Span, declare
from bananas_topology.spec.nodes import Lines, Node

NOT_TEXT = declare("BT003", "Not UTF-8 text")

#: Characters of a key or value that a message shows.
_MAX_SHOWN = 60


class Document:
    """A file as nodes, with its diagnostics. `root` is None if there is nothing usable."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.text = text
        self.lines = Lines(text)
        self.root: Node | None = None
        self.diagnostics: list[Diagnostic] = []
        self._reported: set[tuple[Code, Span, str | None]] = set()

    def report(
        self, code: Code, offsets: tuple[int, int], message: str, hint: str | None = None
    ) -> None:
        """Add a diagnostic.

        A value from `defaults:` or an anchor is checked in every pool that has it, and reported
        once.
        """
        span = self.lines.span(*offsets)
        if (code, span, hint) in self._reported:
            return
        self._reported.add((code, span, hint))
        self.diagnostics.append(
            Diagnostic(code.name, code.severity, message, self.file, span, hint)
        )


def shorten(text: str) -> str:
    """A text on one line, short enough for a message."""
    text = text.replace("\n", " ")
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 3]}..."
