"""The topology being built, section by section.

A section becomes a YAML mapping of the topology file. `put` never overwrites a value, so several
files may describe one pool, and records what became of the field that the value came from.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bananas_topology.importer.source import Field

Section = dict[str, Any]


@dataclass(slots=True)
class Draft:
    """Everything found so far. Pools by name, in the order in which they were found."""

    name: str = ""
    build: str = ""
    handlers: list[str] = field(default_factory=list)
    redis: Section = field(default_factory=dict)
    jobs: Section = field(default_factory=dict)
    pools: dict[str, Section] = field(default_factory=dict)
    scheduler: Section | None = None
    schedules: Section = field(default_factory=dict)
    api: Section | None = None
    kubernetes: Section = field(default_factory=dict)
    has_managed_redis: bool = False
    notices: list[str] = field(default_factory=list)

    def pool(self, name: str) -> Section:
        """The section of a pool, created if missing."""
        return self.pools.setdefault(name, {})


def put(
    section: Section,
    path: tuple[str, ...],
    value: Any,
    source: Field | None,
    note: str = "",
) -> None:
    """Set a value and mark its field as kept, or as translated if there is a `note`.

    An existing value is not overwritten: if it differs, the field is marked as dropped.
    """
    *parents, last = path
    for name in parents:
        section = section.setdefault(name, {})
    current = section.setdefault(last, value)
    if source is None:
        return
    if current != value:
        source.drop(f"{'.'.join(path)} is already {current}, from another field")
    elif note:
        source.translate(note)
    else:
        source.keep()


def put_parsed(
    section: Section,
    path: tuple[str, ...],
    parse: Callable[[str], Any],
    source: Field,
    note: str = "",
) -> None:
    """Set the parsed text of a field; text that `parse` rejects is marked as a mistake.

    Text with `${VARIABLE}` is set unparsed, because its value is not known.
    """
    try:
        value = parse(source.text)
    except ValueError as error:
        if "$" not in source.text:
            source.mark_mistake(f"not valid, left out: {error}")
            return
        value = source.text
    put(section, path, value, source, note)


def integer(text: str) -> int:
    """
    Raises:
        ValueError: the text is not an integer.
    """
    if not is_integer(text):
        raise ValueError("expected an integer")
    return int(text)


def is_integer(text: str) -> bool:
    """Whether a text is an integer of ASCII digits that is not unreasonably large.

    >>> is_integer("8080"), is_integer("8080-8089"), is_integer("²"), is_integer("9" * 10)
    (True, False, False, False)
    """
    return re.fullmatch(r"[0-9]{1,9}", text) is not None


def get_path(section: Mapping[str, Any], *path: str) -> Any:
    """The value at a path, or None."""
    found: Any = section
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found
