"""Diagnostics of a topology: what is wrong, where, and how to fix it.

A code is declared next to the code that reports it: ``MISSING = declare("BT102", …)``. Codes are
permanent: BT0xx is about the file and its YAML, BT1xx about its shape, BT2xx about its meaning,
BT3xx are warnings. Printing diagnostics is up to the command line.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bananas_topology.errors import BananasTopologyError


class Severity(StrEnum):
    """An error keeps a topology from running; a warning does so only under ``--strict``."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Code:
    """A kind of diagnostic: its code, its meaning, and a part of a file that causes it."""

    name: str
    meaning: str
    example: str

    @property
    def severity(self) -> Severity:
        """The severity of all diagnostics with this code."""
        return Severity.WARNING if self.name.startswith("BT3") else Severity.ERROR


_DECLARED: dict[str, Code] = {}


def declare(name: str, meaning: str, example: str = "") -> Code:
    """Declare a code, once.

    Raises:
        ValueError: the code is declared already.
    """
    if name in _DECLARED:
        raise ValueError(f"{name} is declared already: {_DECLARED[name].meaning}")
    _DECLARED[name] = Code(name, meaning, example)
    return _DECLARED[name]


def declared_codes() -> tuple[Code, ...]:
    """All codes in order; complete once `spec.load` is imported."""
    return tuple(_DECLARED[name] for name in sorted(_DECLARED))


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A range of a file: lines and columns count from 1, in characters.

    `end_line` and `end_column` are just past the last character.
    """

    line: int
    column: int
    end_line: int
    end_column: int


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One error or warning. `hint` says how to fix it, if known."""

    code: str
    severity: Severity
    message: str
    file: str
    span: Span
    hint: str | None = None

    def __str__(self) -> str:
        """One greppable, clickable line.

        >>> span = Span(6, 5, 6, 15)
        >>> str(Diagnostic("BT103", Severity.ERROR, "unknown field", "a.yaml", span, "remove it"))
        'a.yaml:6:5: error BT103: unknown field (remove it)'
        """
        hint = f" ({self.hint})" if self.hint else ""
        place = f"{self.file}:{self.span.line}:{self.span.column}"
        return f"{place}: {self.severity} {self.code}: {self.message}{hint}"


class InvalidTopology(BananasTopologyError):
    """A topology has errors, listed in `diagnostics`; its author has to fix them."""

    def __init__(self, diagnostics: tuple[Diagnostic, ...]) -> None:
        super().__init__("\n".join(str(diagnostic) for diagnostic in diagnostics))
        self.diagnostics = diagnostics
