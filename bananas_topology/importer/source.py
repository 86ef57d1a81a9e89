"""Imported files as trees of fields that remember where they stand and what became of them.

A converter reads a field and says its status; what nobody has said anything of at the end is
dropped, and the report says so. Scalars stay the text that their author wrote.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import yaml

from bananas_topology.errors import ImportRefused
from bananas_topology.importer.status import FieldStatus, Status

#: Fields of one file, and levels of nesting, at the most: more is an alias bomb.
MAX_FIELDS = 100_000
MAX_DEPTH = 64

NOT_SAID = "nothing in a topology says this; a patch can (`kubernetes.patches`, `compose.patches`)"


@dataclass(slots=True, eq=False)
class Field:
    """One node: a mapping, a sequence, or a leaf with its `text` (empty containers are leaves).

    `status` None: nobody has said anything yet. `is_string` tells ``"1"`` from ``1``.
    """

    place: str
    line: int
    text: str = ""
    is_string: bool = False
    is_null: bool = False
    mapping: dict[str, Field] = field(default_factory=dict)
    items: list[Field] = field(default_factory=list)
    status: Status | None = None
    note: str = ""

    @property
    def is_leaf(self) -> bool:
        return not self.mapping and not self.items

    def get(self, *names: str) -> Field | None:
        """The field below, by the names of the mappings on the way; None if there is none."""
        found: Field | None = self
        for name in names:
            found = found.mapping.get(name) if found else None
        return found

    def child(self, *names: str) -> Field:
        """The field below; where there is none, an empty one that stands nowhere."""
        return self.get(*names) or Field("", 0)

    def text_of(self, *names: str) -> str:
        """The text of a leaf below, or "" if there is none."""
        found = self.get(*names)
        return found.text if found else ""

    def leaves(self) -> Iterator[Field]:
        """The leaves below, itself if it is one, in file order."""
        if self.is_leaf:
            yield self
        for child in (*self.mapping.values(), *self.items):
            yield from child.leaves()

    def keep(self, note: str = "") -> None:
        """The topology says this too."""
        self._mark(Status.KEPT, note)

    def translate(self, note: str) -> None:
        """The topology says it in another way: how."""
        self._mark(Status.TRANSLATED, note)

    def drop(self, note: str) -> None:
        """The topology does not say it: why."""
        self._mark(Status.DROPPED, note)

    def mark_mistake(self, rule: str) -> None:
        """It was a mistake: which rule it breaks, and what is there instead."""
        self._mark(Status.MISTAKE, rule)

    def _mark(self, status: Status, note: str) -> None:
        """The first word on a leaf counts: the more special converters speak first."""
        for leaf in self.leaves():
            if leaf.status is None:
                leaf.status, leaf.note = status, note


@dataclass(frozen=True, slots=True)
class Source:
    """One file: its name as it is shown, and its documents."""

    name: str
    documents: tuple[Field, ...]

    def statuses(self) -> list[FieldStatus]:
        """What became of every leaf, in file order."""
        return [
            FieldStatus(
                file=self.name,
                line=leaf.line,
                place=f"{_owner(document)}{leaf.place}" or "(document)",
                value=_shown(leaf.text),
                status=leaf.status or Status.DROPPED,
                note=leaf.note if leaf.status else NOT_SAID,
            )
            for document in self.documents
            for leaf in document.leaves()
        ]


def _owner(document: Field) -> str:
    """Which Kubernetes object it is, as kubectl says it; "" for a Compose file."""
    kind, name = document.text_of("kind"), document.text_of("metadata", "name")
    return f"{kind.lower()}/{name} " if kind else ""


def read(name: str, text: str) -> Source:
    """Read one file of one or several YAML documents; empty ones are passed over.

    Raises:
        ImportRefused: it is not YAML, or not of a reasonable size.
    """
    reader = _Reader(name)
    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        nodes = [node for node in yaml.compose_all(text, loader) if node is not None]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        reason = getattr(error, "problem", None) or "it cannot be read"
        raise ImportRefused(f"{name}{where}: not YAML: {reason}") from error
    except RecursionError as error:
        raise ImportRefused(f"{name}: nested too deeply; expected {MAX_DEPTH} levels") from error
    documents = [reader.field(node, "", 0) for node in nodes]
    return Source(name, tuple(document for document in documents if not document.is_null))


class _Reader:
    """Turns nodes into fields, aliases and merge keys resolved, within bounds."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._count = 0

    def field(self, node: yaml.Node, place: str, depth: int) -> Field:
        self._count += 1
        if self._count > MAX_FIELDS or depth > MAX_DEPTH:
            raise ImportRefused(
                f"{self._name}: more than {MAX_FIELDS} fields or {MAX_DEPTH} levels, "
                "aliases included; no deployment is that large"
            )
        line = node.start_mark.line + 1
        if isinstance(node, yaml.MappingNode):
            pairs = self._pairs(node, depth)
            children = {
                name: self.field(value, f"{place}.{name}" if place else name, depth + 1)
                for name, value in pairs.items()
            }
            return Field(place, line, text="" if children else "{}", mapping=children)
        if isinstance(node, yaml.SequenceNode):
            items = [
                self.field(value, f"{place}[{index}]", depth + 1)
                for index, value in enumerate(node.value)
            ]
            return Field(place, line, text="" if items else "[]", items=items)
        return Field(
            place,
            line,
            text="" if _is_null(node) else str(node.value),
            is_string=node.tag == "tag:yaml.org,2002:str",
            is_null=_is_null(node),
        )

    def _pairs(self, node: yaml.MappingNode, depth: int) -> dict[str, yaml.Node]:
        """A mapping's own pairs, and those that it merges in (``<<``), which its own win over."""
        if depth > MAX_DEPTH:
            raise ImportRefused(f"{self._name}: merged more than {MAX_DEPTH} levels deep")
        own: dict[str, yaml.Node] = {}
        merged: dict[str, yaml.Node] = {}
        for key, value in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                sources = value.value if isinstance(value, yaml.SequenceNode) else [value]
                for source in sources:
                    if isinstance(source, yaml.MappingNode):
                        merged = self._pairs(source, depth + 1) | merged
            elif isinstance(key, yaml.ScalarNode):
                own[str(key.value)] = value
        return merged | own


def fields_of(environment: Field | None) -> Iterable[tuple[str, str, Field]]:
    """Variables in Compose's forms, a list of ``NAME=value`` or a mapping: name, value, field.

    A name without a value takes it from the shell, which a topology says as ``${NAME}``.
    """
    if environment is None:
        return
    for leaf in environment.items:
        name, equals, value = leaf.text.partition("=")
        yield name, value if equals else f"${{{name}}}", leaf
    for name, leaf in environment.mapping.items():
        yield name, f"${{{name}}}" if leaf.is_null else leaf.text, leaf


def _is_null(node: yaml.Node) -> bool:
    return node.tag == "tag:yaml.org,2002:null"


def _shown(text: str) -> str:
    """A value as a report shows it: one line, and no password.

    >>> _shown("REDIS_URL=redis://app:s3cret@db:6379"), _shown("DB_PASSWORD=s3cret")
    ('REDIS_URL=redis://app:***@db:6379', 'DB_PASSWORD=***')
    """
    redacted = re.sub(r"(://[^/@:\s]*):[^/@\s]+@", r"\1:***@", text)
    redacted = re.sub(r"(?i)^(\w*(?:password|secret|token)\w*=)[^$].*", r"\1***", redacted)
    line = redacted.replace("\n", "\\n")
    return line if len(line) <= 200 else f"{line[:199]}…"


EnvironmentFields = Mapping[str, tuple[str, Field]]
