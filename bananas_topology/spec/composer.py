"""YAML events to nodes that know their position.

Never constructs objects and never recurses: nesting and aliases are bounded, keys are unique, and
scalars have the types of YAML 1.2's core schema (`on`, `no` and dates are strings; `1e3` is a
number). Errors become diagnostics; only those of syntax and size end the reading.
"""

from __future__ import annotations

import re

import yaml

from bananas_topology.spec.diagnostics import Code, declare
from bananas_topology.spec.document import NOT_TEXT, Document, shorten
from bananas_topology.spec.nodes import ListNode, MapNode, Node, ScalarNode
from bananas_topology.spec.yaml_errors import explain
from bananas_topology.spec.yaml_loading import join_surrogates, loader_for
from bananas_topology.spec.yaml_scalars import parse_scalar

#: How deep lists and maps may be nested; a topology needs 8.
MAX_DEPTH = 50
#: How many values a file may have with all its aliases expanded.
MAX_VALUES = 50_000

NOT_YAML = declare("BT004", "Not valid YAML", "name: a: b")
DUPLICATE_KEY = declare("BT005", "Duplicate key", "{mode: thin, mode: default}")
TOO_DEEP = declare("BT006", "Lists and maps nested more than 50 levels deep", "[[[[…")
BAD_ALIAS = declare("BT007", "Alias that is unknown, recursive or too large", "env: *nowhere")
BAD_TAG = declare(
    "BT008", "Unknown tag, or a value that does not match its tag", "replicas: !!int many"
)
MANY_DOCUMENTS = declare("BT009", "More than one document", "---")
EMPTY = declare("BT010", "Empty file")
COMPLEX_KEY = declare("BT011", "Key that is a list or a map", "? [a, b]")
BAD_MERGE = declare("BT014", "Merge key (`<<`) without a map", "<<: 3")

#: What an escape or a foreign environment can put into a string; no process accepts it.
UNUSABLE_CHARACTER = re.compile("[\x00\ud800-\udfff]")
_PROPERTIES = re.compile(r"(?:[&!]\S*\s+)+|[&!]\S*$")
_MERGE = "<<"
_CORE_TAGS = {
    f"tag:yaml.org,2002:{name}": name
    for name in ("str", "int", "float", "bool", "null", "map", "seq")
}
#: Tags that demand a type of a scalar: the type, and its name.
_TAGGED: dict[str, tuple[type, str]] = {
    "int": (int, "integer"),
    "float": (float, "number"),
    "bool": (bool, "boolean"),
    "null": (type(None), "null"),
}


class _Stop(Exception):
    """Ends the reading; the diagnostics say why."""


def compose(document: Document) -> None:
    """Make the nodes of a document from its text."""
    composer = _Composer(document)
    loader = loader_for(document.text)(document.text)
    try:
        while (event := loader.get_event()) is not None:
            composer.handle(event)
    except yaml.MarkedYAMLError as error:
        marks = [error.problem_mark, error.context_mark]
        # The library finds an unclosed quote at the end of the file; we report where it opened.
        if "unexpected end" in str(error.problem):
            marks.reverse()
        at = next((mark.index for mark in marks if mark is not None), 0)
        message, hint = explain(str(error.problem), document.text, at)
        document.report(NOT_YAML, (at, at + 1), message, hint)
        return
    except yaml.YAMLError as error:
        document.report(NOT_YAML, (0, 0), f"not valid YAML: {error}")
        return
    except _Stop:
        return
    finally:
        loader.dispose()
    root = composer.root
    is_empty = root is None or (isinstance(root, ScalarNode) and root.value is None)
    document.root = None if is_empty else root
    if is_empty:
        hint = "create one with `bananas init`"
        document.report(EMPTY, (0, 0), "the file is empty", hint)


class _Composer:
    """Builds nodes from events, on a stack of its own."""

    def __init__(self, document: Document) -> None:
        self.root: Node | None = None
        self._document = document
        self._text = document.text
        self._open: list[MapNode | ListNode] = []
        #: For each open map the key whose value comes next; None for lists.
        self._keys: list[ScalarNode | None] = []
        self._anchors: dict[str, Node] = {}
        self._documents = 0

    def handle(self, event: yaml.Event) -> None:
        """Handle one event."""
        assert event.start_mark is not None
        assert event.end_mark is not None
        start, end = event.start_mark.index, event.end_mark.index
        if isinstance(event, yaml.ScalarEvent):
            self._add(self._scalar(event, start, end), event.anchor)
        elif isinstance(event, yaml.MappingStartEvent):
            self._begin(MapNode(start, end), event)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._begin(ListNode(start, end), event)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self._finish(end)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(str(event.anchor), start, end)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                self._stop(MANY_DOCUMENTS, (start, end), "second document", "keep one per file")

    def _stop(self, code: Code, place: tuple[int, int], message: str, hint: str | None) -> None:
        self._document.report(code, place, message, hint)
        raise _Stop

    def _scalar(self, event: yaml.ScalarEvent, start: int, end: int) -> ScalarNode:
        tag = self._tag(event.tag, start, end)
        # The event's range includes anchor and tag, and the last line break of a block scalar.
        source = self._text[start:end]
        start += properties.end() if (properties := _PROPERTIES.match(source)) else 0
        end = start + len(self._text[start:end].rstrip())
        is_plain = event.style in (None, "") and tag is None and event.tag != "!"
        scalar = ScalarNode(start, end, join_surrogates(event.value), is_plain, tag)
        self._resolve(scalar)
        return scalar

    def _resolve(self, scalar: ScalarNode) -> None:
        code, message = BAD_TAG, None
        if unusable := UNUSABLE_CHARACTER.search(scalar.text):
            code = NOT_TEXT
            message = f"a string cannot contain the character U+{ord(unusable[0]):04X}"
        # With a variable in it, its type is known only once that is filled in.
        elif "$" not in scalar.text:
            message = resolve_scalar(scalar)
        if message:
            scalar.is_broken = True
            self._document.report(code, (scalar.start, scalar.end), message)

    def _tag(self, tag: str | None, start: int, end: int) -> str | None:
        if tag is None or tag == "!":
            return None
        if tag not in _CORE_TAGS:
            known = ", ".join(f"!!{name}" for name in _CORE_TAGS.values())
            shown = tag.replace("tag:yaml.org,2002:", "!!")
            self._document.report(
                BAD_TAG,
                (start, end),
                f'unknown tag "{shown}"',
                f"remove it; known tags are {known}",
            )
            return None
        return _CORE_TAGS[tag]

    def _begin(self, node: MapNode | ListNode, event: yaml.CollectionStartEvent) -> None:
        self._tag(event.tag, node.start, node.end)
        if event.anchor:
            self._anchors[event.anchor] = node
        if len(self._open) >= MAX_DEPTH:
            message = f"lists and maps are nested more than {MAX_DEPTH} levels deep"
            self._stop(TOO_DEEP, (node.start, node.end), message, None)
        self._open.append(node)
        self._keys.append(None)

    def _finish(self, end: int) -> None:
        node = self._open.pop()
        self._keys.pop()
        node.end = max(node.start, min(end, len(self._text)))
        if isinstance(node, MapNode) and _MERGE in node.items and node.keys[_MERGE].is_plain:
            self._merge(node)
        self._add(node, None)

    def _alias(self, name: str, start: int, end: int) -> None:
        node = self._anchors.get(name)
        message = None
        if node is None:
            message = f'there is no anchor "&{name}" before this alias'
        elif any(node is each for each in self._open):
            message = f'the alias "*{name}" is inside its own anchor'
        if message or node is None:
            self._document.report(BAD_ALIAS, (start, end), message or "")
            node = ScalarNode(start, end, "", False, None)
            node.is_broken = True
        self._add(node, None, (start, end))

    def _add(self, node: Node, anchor: str | None, place: tuple[int, int] | None = None) -> None:
        """Add a finished node to the open map or list."""
        if anchor:
            self._anchors[anchor] = node
        if not self._open:
            self.root = node
            return
        parent = self._open[-1]
        if isinstance(parent, ListNode):
            parent.items.append(node)
        elif self._keys[-1] is None:
            self._keys[-1] = self._key(node, place)
            return
        else:
            self._put(parent, self._keys[-1], node)
            self._keys[-1] = None
        parent.node_count += node.node_count
        parent.depth = max(parent.depth, node.depth + 1)
        self._check_size(parent, node, place or (node.start, node.end))

    def _check_size(self, parent: MapNode | ListNode, node: Node, place: tuple[int, int]) -> None:
        if parent.node_count > MAX_VALUES:
            message = f"with aliases expanded, the file has more than {MAX_VALUES} values"
            self._stop(BAD_ALIAS, place, message, None)
        if len(self._open) + node.depth > MAX_DEPTH + 1:
            message = f"this alias nests lists and maps more than {MAX_DEPTH} levels deep"
            self._stop(TOO_DEEP, place, message, None)

    def _key(self, node: Node, place: tuple[int, int] | None) -> ScalarNode:
        start, end = place or (node.start, node.end)
        if isinstance(node, ScalarNode):
            return ScalarNode(start, end, node.text, node.is_plain, None)
        self._document.report(
            COMPLEX_KEY, (start, end), "a key must be a scalar, not a list or map"
        )
        key = ScalarNode(start, end, "", False, None)
        key.is_broken = True
        return key

    def _put(self, parent: MapNode, key: ScalarNode, node: Node) -> None:
        if key.is_broken:
            return
        first = parent.keys.get(key.text)
        if first is None:
            parent.set(key, node)
            return
        at = self._document.lines.span(first.start, first.end)
        self._document.report(
            DUPLICATE_KEY,
            (key.start, key.end),
            f'duplicate key "{shorten(key.text)}"',
            f"first used at {at.line}:{at.column}; remove one of them",
        )

    def _merge(self, node: MapNode) -> None:
        """Resolve ``<<``: keys that the map does not have are copied from other maps."""
        key, value = node.keys[_MERGE], node.items[_MERGE]
        node.remove(_MERGE)
        for source in value.items if isinstance(value, ListNode) else [value]:
            if not isinstance(source, MapNode):
                message = '"<<" requires a map, or a list of maps'
                hint = "write <<: *name"
                self._document.report(BAD_MERGE, (key.start, key.end), message, hint)
                continue
            for name, its_key in source.keys.items():
                if name not in node.keys:
                    node.set(its_key, source.items[name])


def resolve_scalar(scalar: ScalarNode) -> str | None:
    """Set a scalar's value from its text; returns an error message if its tag does not match."""
    if scalar.is_plain:
        scalar.value = parse_scalar(scalar.text)
        return None
    if scalar.tag in (None, "str"):
        scalar.value = scalar.text
        return None
    value = parse_scalar(scalar.text)
    if scalar.tag == "float" and type(value) is int:
        value = float(value)
    expected, name = _TAGGED.get(str(scalar.tag), (None, scalar.tag))
    if type(value) is not expected:
        return f'"{shorten(scalar.text)}" is not a valid {name}'
    scalar.value = value
    return None
