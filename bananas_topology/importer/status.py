"""What became of every field of the imported files; no field is dropped silently."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """What became of one leaf field."""

    #: The topology has the same value, explicitly or by default.
    KEPT = "kept"
    #: The topology expresses it differently, or Bananas does it anyway.
    TRANSLATED = "translated"
    #: The topology cannot express it; the note says why.
    DROPPED = "dropped"
    #: It would have caused harm; the note says how, and what replaces it.
    MISTAKE = "mistake"


@dataclass(frozen=True, slots=True)
class FieldStatus:
    """One leaf field of a file: its position, its value, and what became of it.

    `place` is the path in the document (``services.worker.deploy.replicas``), `value` the text.
    """

    file: str
    line: int
    place: str
    value: str
    status: Status
    note: str

    def __str__(self) -> str:
        """One line with a position that editors can open.

        >>> str(FieldStatus("a.yml", 3, "version", "3.8", Status.DROPPED, "obsolete"))
        'a.yml:3: dropped: version: 3.8 (obsolete)'
        """
        note = f" ({self.note})" if self.note else ""
        return f"{self.file}:{self.line}: {self.status}: {self.place}: {self.value}{note}"
