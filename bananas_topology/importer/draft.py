"""The topology being built, section by section.

A section becomes a YAML mapping of the topology file. `put` never overwrites a value, so several
files may describe one pool, and records what became of the field that the value came from.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bananas_topology.contract.names import API, SCHEDULER
from bananas_topology.contract.settings import POOL
from bananas_topology.importer.source import Field
from bananas_topology.spec.interpolation import BadSyntax, NotSet, interpolate
from bananas_topology.spec.shape import expectation
from bananas_topology.spec.yaml_scalars import parse_scalar

Section = dict[str, Any]

#: The definitions in the schema of all sections that values are put into.
_SECTIONS = (POOL, SCHEDULER, API, "redis", "managed", "kubernetes")


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
    #: The Redis servers in the files, by the hosts at which processes reach them.
    servers: dict[str, str] = field(default_factory=dict)
    #: Which of them the processes use; None while no URL says so.
    used_server: str | None = None
    notices: list[str] = field(default_factory=list)

    @property
    def has_server(self) -> bool:
        """Whether a Redis server is in the files."""
        return bool(self.servers)

    def is_pool(self, section: Section) -> bool:
        """Whether a section is one of a pool, and not the scheduler's or the api's."""
        return section is not self.api and section is not self.scheduler

    def pool(self, name: str) -> Section:
        """The section of a pool, created if missing."""
        return self.pools.setdefault(name, {})


def put_name(draft: Draft, name: Field) -> None:
    """Set the deployment's name; the first name takes precedence."""
    label = name.text if has_variable(name.text) else dns_label(name.text)
    draft.name = draft.name or label
    if label != draft.name:
        name.drop(f"the topology is named {draft.name}")
    elif label != name.text:
        name.translate(f"{label}: a name is a DNS label")
    else:
        name.keep()


def put(
    section: Section,
    path: tuple[str, ...],
    value: Any,
    source: Field | None,
    note: str = "",
) -> None:
    """Set a value and mark its field as kept, or as translated if there is a `note`.

    An existing value is not overwritten: if it differs, the field is marked as dropped. A value
    that the topology would not accept is left out: that was a mistake.
    """
    if source is not None and not source.is_leaf:
        source.mark_mistake("left out: expected a single value")
        return
    if source is not None and (problem := _problem(path, value)):
        source.mark_mistake(f"not valid, left out: {problem}")
        return
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


def put_structure(
    section: Section, path: tuple[str, ...], value: Any, *sources: Field, note: str = ""
) -> bool:
    """Set a mapping or a list that is made of several fields; returns whether it is valid.

    Otherwise, or if there is another value already, all fields are marked as dropped.
    """
    if problem := _problem(path, value):
        reason = f"left out: {problem}"
    else:
        *parents, last = path
        for name in parents:
            section = section.setdefault(name, {})
        reason = ""
        if section.setdefault(last, value) != value:
            reason = f"{'.'.join(path)} has another value already, from another field"
    for source in sources:
        if reason:
            source.drop(reason)
        elif note:
            source.translate(note)
        else:
            source.keep()
    return not reason


def _problem(path: tuple[str, ...], value: Any) -> str | None:
    """Why no section accepts a value at this path; None if one does."""
    if isinstance(value, (dict, list)):
        below = value.values() if isinstance(value, dict) else value
        if any(isinstance(each, str) and has_variable(each) for each in below):
            return None
    values = [value]
    if isinstance(value, str):
        try:
            text = interpolate(value, {})
        except BadSyntax as error:
            return str(error)
        except NotSet:
            return None
        if has_variable(value):
            values = [text, parse_scalar(text)]
    problems = [expectation(section, path, each) for section in _SECTIONS for each in values]
    if None in problems:
        return None
    # Sections without the field know least about it.
    return min(filter(None, problems), key=lambda it: it.startswith("expected no field"))


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
        if not has_variable(source.text):
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


def dns_label(text: str) -> str:
    """A valid name of a topology or a pool: a DNS label.

    >>> dns_label("Worker_High"), dns_label("_")
    ('worker-high', 'bananas')
    """
    label = re.sub(r"[^a-z0-9-]+", "-", text.lower()).strip("-")[:63].strip("-")
    return label or "bananas"


def has_variable(text: str) -> bool:
    """Whether a topology or Compose replaces a part of a text.

    >>> has_variable("${A:-1}"), has_variable("$$A"), has_variable("5 $")
    (True, False, False)
    """
    return re.search(r"(?<!\$)(?:\$\$)*\$[A-Za-z_{]", text) is not None


def get_path(section: Mapping[str, Any], *path: str) -> Any:
    """The value at a path, or None."""
    found: Any = section
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found
