"""What became of every field of the imported files: nothing is left out in silence."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """What became of one leaf field."""

    #: It stands in the topology as it was, or is what a topology says by saying nothing.
    KEPT = "kept"
    #: The topology says it in another way, or Bananas does it by itself.
    TRANSLATED = "translated"
    #: The topology does not say it; the note says why.
    DROPPED = "dropped"
    #: It would have hurt; the note says which rule it breaks and what is there instead.
    MISTAKE = "mistake"


@dataclass(frozen=True, slots=True)
class FieldStatus:
    """One leaf field of one file: where it stands, what it says, and what became of it.

    `place` is the path in the document (``services.worker.deploy.replicas``), `value` the text.
    """

    file: str
    line: int
    place: str
    value: str
    status: Status
    note: str

    def __str__(self) -> str:
        """One greppable, clickable line.

        >>> str(FieldStatus("a.yml", 3, "version", "3.8", Status.DROPPED, "obsolete"))
        'a.yml:3: dropped: version: 3.8 (obsolete)'
        """
        note = f" ({self.note})" if self.note else ""
        return f"{self.file}:{self.line}: {self.status}: {self.place}: {self.value}{note}"
