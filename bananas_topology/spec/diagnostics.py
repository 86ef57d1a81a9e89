"""What is found wrong in a topology, as values: where, what, and how to mend it.

Printing them is the command line's business.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bananas_topology.errors import BananasTopologyError


class Severity(StrEnum):
    """An error keeps a topology from running; a warning does so only under ``--strict``."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Where something stands in its file: lines and columns count from 1, in characters.

    `end_line` and `end_column` are just past the last character.
    """

    line: int
    column: int
    end_line: int
    end_column: int


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding. `code` (``BT103``) is for ever; `hint` says how to mend it, where we know."""

    code: str
    severity: Severity
    message: str
    file: str
    span: Span
    hint: str | None = None

    def __str__(self) -> str:
        """One greppable, clickable line.

        >>> span = Span(6, 5, 6, 15)
        >>> str(Diagnostic("BT103", Severity.ERROR, "no such field", "a.yaml", span, "drop it"))
        'a.yaml:6:5: error BT103: no such field (drop it)'
        """
        hint = f" ({self.hint})" if self.hint else ""
        place = f"{self.file}:{self.span.line}:{self.span.column}"
        return f"{place}: {self.severity} {self.code}: {self.message}{hint}"


class InvalidTopology(BananasTopologyError):
    """The spec's author acts: a topology has errors, all of them in `diagnostics`."""

    def __init__(self, diagnostics: tuple[Diagnostic, ...]) -> None:
        super().__init__("\n".join(str(diagnostic) for diagnostic in diagnostics))
        self.diagnostics = diagnostics
