"""Imported files as trees of fields that record their position and what became of them.

Importers read fields and mark them with a status; fields without a status at the end are reported
as dropped. Scalars keep their original text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import yaml

from bananas_topology.contract.names import is_secret_name
from bananas_topology.contract.redis_url import redact, redact_urls
from bananas_topology.errors import ImportRefused
from bananas_topology.importer.status import FieldStatus, Status
from bananas_topology.spec.yaml_errors import explain
from bananas_topology.spec.yaml_loading import join_surrogates, loader_for

#: Maximum fields of one file and levels of nesting: more is an alias bomb.
MAX_FIELDS = 100_000
MAX_DEPTH = 64

#: A name whose values are not shown.
_ANY_SECRET = "SECRET"
#: An option of a command that is followed by a password, such as ``--requirepass``.
_PASSWORD_OPTION = re.compile(r"--?[a-z-]*pass[a-z]*")

_NO_EQUIVALENT = "a topology has no such field; use `kubernetes.patches` or `compose.patches`"


@dataclass(slots=True, eq=False)
class Field:
    """One node: a mapping, a sequence, or a leaf with its `text` (empty containers are leaves).

    `status` None: not marked yet. `is_string` distinguishes ``"1"`` from ``1``.
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
    #: All fields with the same source, for an anchor: its own, and those of its aliases.
    copies: list[Field] = field(default_factory=list)

    @property
    def is_leaf(self) -> bool:
        return not self.mapping and not self.items

    def get(self, *names: str) -> Field | None:
        """The field at a path of mapping keys below, or None."""
        found: Field | None = self
        for name in names:
            found = found.mapping.get(name) if found else None
        return found

    def child(self, *names: str) -> Field:
        """The field at a path below; an empty field without a position if there is none."""
        return self.get(*names) or Field("", 0)

    def text_of(self, *names: str) -> str:
        """The text of the leaf at a path below, or ""."""
        found = self.get(*names)
        return found.text if found else ""

    @property
    def texts(self) -> dict[str, str]:
        """The texts below by key, of a mapping whose values are leaves."""
        return {name: leaf.text for name, leaf in self.mapping.items()}

    def leaves(self) -> Iterator[Field]:
        """All leaves in file order; a leaf yields itself."""
        if self.is_leaf:
            yield self
        for child in (*self.mapping.values(), *self.items):
            yield from child.leaves()

    def leaves_at(self, *names: str) -> list[Field]:
        """Those of the fields with these names below that there are, and that are leaves."""
        found = (self.get(name) for name in names)
        return [each for each in found if each is not None and each.is_leaf]

    def keep(self, note: str = "") -> None:
        """Mark all leaves: the topology has the same value."""
        self._mark(Status.KEPT, note)

    def translate(self, note: str) -> None:
        """Mark all leaves: the topology expresses it differently; `note` says how."""
        self._mark(Status.TRANSLATED, note)

    def drop(self, note: str) -> None:
        """Mark all leaves: the topology cannot express it; `note` says why."""
        self._mark(Status.DROPPED, note)

    def mark_mistake(self, note: str) -> None:
        """Mark all leaves: it would cause harm; `note` says how, and what replaces it."""
        self._mark(Status.MISTAKE, note)

    def follow(self, other: Field) -> None:
        """Mark what is the same in another field as it is marked there."""
        if self.is_leaf and other.is_leaf and self.text == other.text and other.status is not None:
            self._mark(other.status, other.note)
        for key, child in self.mapping.items():
            if (same := other.get(key)) is not None:
                child.follow(same)
        for item in self.items:
            for same in filter(item.is_equal, other.items):
                item.follow(same)

    def is_equal(self, other: Field) -> bool:
        """Whether two fields have the same content."""
        return (
            (self.text, self.mapping.keys()) == (other.text, other.mapping.keys())
            and len(self.items) == len(other.items)
            and all(child.is_equal(other.mapping[key]) for key, child in self.mapping.items())
            and all(map(Field.is_equal, self.items, other.items))
        )

    def follow_copies(self, otherwise: str) -> None:
        """Mark all leaves as their aliases are; as dropped, for the reason `otherwise`, if none.

        Used for extensions, whose fields matter only where they are merged.
        """
        for leaf in self.leaves():
            marked = [copy for copy in leaf.copies if copy.status is not None]
            if any(copy is not leaf for copy in leaf.copies):
                for copy in marked[:1]:
                    leaf._mark(copy.status or Status.DROPPED, copy.note)
            else:
                leaf.drop(otherwise)

    def _mark(self, status: Status, note: str) -> None:
        """A leaf keeps its first status, so more specific importers must run first."""
        for leaf in self.leaves():
            if leaf.status is None:
                leaf.status, leaf.note = status, note


@dataclass(frozen=True, slots=True)
class Source:
    """One file: the name to show, and its documents."""

    name: str
    documents: tuple[Field, ...]

    def statuses(self) -> list[FieldStatus]:
        """What became of every leaf, in file order."""
        return [
            FieldStatus(
                file=self.name,
                line=leaf.line,
                place=f"{_object(document)}{leaf.place}" or "(document)",
                value=_shown(leaf.text, name),
                status=leaf.status or Status.DROPPED,
                note=leaf.note if leaf.status else _NO_EQUIVALENT,
            )
            for document in self.documents
            for name, leaf in _named_leaves(document)
        ]


def _object(document: Field) -> str:
    """The Kubernetes object in kubectl's notation; "" for a Compose file."""
    kind, name = document.text_of("kind"), document.text_of("metadata", "name")
    return f"{kind.lower()}/{name} " if kind else ""


def read(name: str, text: str) -> Source:
    """Read the YAML documents of one file, without empty ones.

    Raises:
        ImportRefused: it is not valid YAML, or unreasonably large.
    """
    reader = _Reader(name)
    try:
        nodes = [node for node in yaml.compose_all(text, loader_for(text)) if node is not None]
    except yaml.YAMLError as error:
        raise ImportRefused(f"{name}{_problem(error, text)}") from error
    except RecursionError as error:
        raise ImportRefused(
            f"{name}: nested too deeply; expected at most {MAX_DEPTH} levels"
        ) from error
    documents = [reader.field(node, "", 0) for node in nodes]
    return Source(name, tuple(document for document in documents if not document.is_null))


def _problem(error: yaml.YAMLError, text: str) -> str:
    """Where a text is not valid YAML, and why."""
    mark = getattr(error, "problem_mark", None)
    problem = str(getattr(error, "problem", None) or getattr(error, "reason", error))
    if mark is None:
        return f": not valid YAML: {problem}"
    message, hint = explain(problem, text, mark.index)
    if "{{" in text:
        hint = "import the output of `helm template` instead of a chart"
    where = f":{mark.line + 1}:{mark.column + 1}: not valid YAML"
    return f"{where}: {message.removeprefix('not valid YAML: ')}{f' ({hint})' if hint else ''}"


class _Reader:
    """Turns YAML nodes into fields, resolving aliases and merge keys, within limits."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._count = 0
        self._copies: dict[int, list[Field]] = {}

    def field(self, node: yaml.Node, place: str, depth: int) -> Field:
        self._count += 1
        if self._count > MAX_FIELDS or depth > MAX_DEPTH:
            raise ImportRefused(
                f"{self._name}: too large; expected at most {MAX_FIELDS} fields and "
                f"{MAX_DEPTH} levels, including aliases"
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
        copies = self._copies.setdefault(id(node), [])
        leaf = Field(
            place,
            line,
            text="" if _is_null(node) else join_surrogates(str(node.value)),
            is_string=node.tag == "tag:yaml.org,2002:str",
            is_null=_is_null(node),
            copies=copies,
        )
        copies.append(leaf)
        return leaf

    def _pairs(self, node: yaml.MappingNode, depth: int) -> dict[str, yaml.Node]:
        """A mapping's pairs and those that it merges (``<<``); its own take precedence."""
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
                name = join_surrogates(str(key.value))
                if name in own:
                    line = key.start_mark.line + 1
                    raise ImportRefused(f'{self._name}:{line}: duplicate key "{name}"; remove one')
                own[name] = value
            else:
                raise ImportRefused(
                    f"{self._name}:{key.start_mark.line + 1}: a key is a list or a map; import the "
                    "output of `helm template` instead of a chart"
                )
        return merged | own


def fields_of(environment: Field | None) -> Iterable[tuple[str, str, Field]]:
    """Compose's variables, a list of ``NAME=value`` or a mapping, as name, value and field.

    A name without a value is taken from the shell, which is ``${NAME}`` in a topology.
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


def _named_leaves(node: Field, name: str = "") -> Iterator[tuple[str, Field]]:
    """All leaves in file order, each with the name that it is the value of.

    That is its key; where Kubernetes has a ``name`` beside a ``value``, that name; and in a command
    the option before it.
    """
    if node.is_leaf:
        yield name, node
    is_secret = node.text_of("kind") == "Secret"
    for key, child in node.mapping.items():
        if is_secret and key in ("data", "stringData"):
            yield from ((_ANY_SECRET, leaf) for leaf in child.leaves())
        else:
            yield from _named_leaves(child, node.text_of("name") if key == "value" else key)
    for index, child in enumerate(node.items):
        is_password = index > 0 and _PASSWORD_OPTION.fullmatch(node.items[index - 1].text)
        yield from _named_leaves(child, _ANY_SECRET if is_password else name)


def _shown(text: str, name: str) -> str:
    """The value of `name` as the report shows it: on one line, without passwords.

    >>> _shown("REDIS_URL=redis://app:s3cret@db:6379", ""), _shown("DB_PASSWORD=s3cret", "")
    ('REDIS_URL=redis://app:***@db:6379', 'DB_PASSWORD=***')
    >>> _shown("s3cret", "DB_PASSWORD"), _shown("redis-server --requirepass s3cret", "command")
    ('***', 'redis-server --requirepass ***')
    """
    if text and not text.startswith("$") and is_secret_name(name):
        return "***"
    variable, equals, value = text.partition("=")
    if equals and re.fullmatch(r"\w+", variable):
        return f"{variable}={_shown(value, variable)}"
    is_url = name.upper().endswith("REDIS_URL") and not text.startswith("$")
    redacted = redact(text) if is_url else redact_urls(text)
    redacted = re.sub(rf"({_PASSWORD_OPTION.pattern}[ =])[^\s$]\S*", r"\1***", redacted)
    line = redacted.replace("\n", "\\n")
    return line if len(line) <= 200 else f"{line[:199]}…"


EnvironmentFields = Mapping[str, tuple[str, Field]]
