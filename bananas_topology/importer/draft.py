"""The topology that is being written, section by section, and the statuses that go with it.

A section is what a YAML mapping of the topology file will hold. `put` is the only way in: it keeps
what stands there already, so that several files may tell of one pool without overwriting.
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
    """Everything found so far. Pools by name, in the order in which they were met."""

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
        """The section of a pool, made where it is not there yet."""
        return self.pools.setdefault(name, {})


def put(
    section: Section,
    path: tuple[str, ...],
    value: Any,
    source: Field | None,
    note: str = "",
) -> None:
    """Write a value, and say that its field is kept; `note` says how it is translated instead.

    Where another value stands already it stays, and the field is dropped.
    """
    *parents, last = path
    for name in parents:
        section = section.setdefault(name, {})
    standing = section.setdefault(last, value)
    if source is None:
        return
    if standing != value:
        source.drop(f"{'.'.join(path)} is {standing} already, from another field")
    elif note:
        source.translate(note)
    else:
        source.keep()


def put_read(
    section: Section,
    path: tuple[str, ...],
    read: Callable[[str], Any],
    source: Field,
    note: str = "",
) -> None:
    """Write what `read` makes of the field's text; what it cannot read was a mistake.

    What is interpolated stays as it is: only whoever starts it knows the value.
    """
    try:
        value = read(source.text)
    except ValueError as error:
        if "$" not in source.text:
            source.mark_mistake(f"cannot be read, so it is left out: {error}")
            return
        value = source.text
    put(section, path, value, source, note)


def whole(text: str) -> int:
    """A whole number.

    Raises:
        ValueError: it is none.
    """
    if not is_whole(text):
        raise ValueError("expected a whole number")
    return int(text)


def is_whole(text: str) -> bool:
    """Whether it is a whole number of ordinary digits, and of an ordinary size.

    >>> is_whole("8080"), is_whole("8080-8089"), is_whole("²"), is_whole("9" * 10)
    (True, False, False, False)
    """
    return re.fullmatch(r"[0-9]{1,9}", text) is not None


def look(section: Mapping[str, Any], *path: str) -> Any:
    """The value at a path, or None."""
    found: Any = section
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found
