"""The Markdown files of the repository, and what stands in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

#: All that is written for readers; what others generate is left out.
DOCUMENTS = sorted(
    path
    for folder in (".", "docs", "benchmarks")
    for path in (ROOT / folder).glob("*.md")
)  # fmt: skip


@dataclass(frozen=True)
class Block:
    """A fenced block: where it stands, its language and its text."""

    path: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}"


def blocks(*languages: str) -> list[Block]:
    """Every fenced block in one of the languages."""
    return [block for path in DOCUMENTS for block in blocks_of(path) if block.language in languages]


def blocks_of(path: Path) -> Iterator[Block]:
    """The fenced blocks of one file."""
    text = path.read_text("utf-8")
    for match in re.finditer(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```$", text, re.DOTALL | re.MULTILINE):
        indent, language, body = match.groups()
        body = re.sub(f"^{indent}", "", body, flags=re.MULTILINE)
        yield Block(path, text.count("\n", 0, match.start()) + 1, language, body)


def commands(block: Block) -> Iterator[str]:
    """The commands of a shell block: lines joined at backslashes, without comments."""
    for line in block.text.replace("\\\n", " ").splitlines():
        if command := re.sub(r"(^|\s)#\s.*", "", line).strip().removeprefix("$ "):
            yield command
