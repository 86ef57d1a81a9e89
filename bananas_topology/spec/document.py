"""YAML that remembers where every key and value stood.

Works on the parser's events and never constructs objects: no recursion, nesting and aliases are
bounded, keys are unique, scalars have YAML 1.2's core types (`on`, `no` and dates are text; `1e3`
is a number). What is wrong becomes diagnostics; only a fault of syntax ends the reading.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from collections.abc import Mapping as Environ

import yaml

from bananas_topology.spec.diagnostics import Diagnostic, Severity, Span
from bananas_topology.spec.interpolation import BadSyntax, NotSet, interpolate, whole_variable
from bananas_topology.spec.nodes import Lines, Mapping, Node, Path, Scalar, Sequence, scalars
from bananas_topology.spec.syntax import explain, resolve

#: Larger than any topology, small enough to be read in a moment.
MAX_BYTES = 1024 * 1024
#: How deep lists and maps may be nested; a topology needs 8.
MAX_DEPTH = 50
#: How many values a file may have with all its aliases written out.
MAX_VALUES = 50_000

#: Values that may be one variable which is not set here: what they are is known elsewhere.
MAY_BE_UNSET: tuple[Path, ...] = (("redis", "url"),)

# What YAML forbids: control characters and lone surrogates, but for tab and line ends.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x84\x86-\x9f\ufffe\uffff]")
# What an escape or a foreign environment can make of it all the same; no process takes it.
_UNUSABLE = re.compile("[\x00\ud800-\udfff]")
_PROPERTIES = re.compile(r"(?:[&!]\S*\s+)+|[&!]\S*$")
_MERGE = "<<"
_CORE_TAGS = {
    f"tag:yaml.org,2002:{name}": name
    for name in ("str", "int", "float", "bool", "null", "map", "seq")
}


class Document:
    """A file as nodes, and what was wrong with it. `root` is None if there is nothing to go by."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.text = text
        self.lines = Lines(text)
        self.root: Node | None = None
        self.diagnostics: list[Diagnostic] = []
        self._reported: set[tuple[str, Span, str | None]] = set()

    def report(
        self,
        code: str,
        place: tuple[int, int],
        message: str,
        hint: str | None = None,
        severity: Severity = Severity.ERROR,
    ) -> None:
        """Add a finding at a place given by offsets.

        What `defaults:` or an anchor say is met in every pool that uses it, and reported once.
        """
        span = self.lines.span(*place)
        if (code, span, hint) in self._reported:
            return
        self._reported.add((code, span, hint))
        self.diagnostics.append(Diagnostic(code, severity, message, self.file, span, hint))


def read(file: str, data: bytes, environ: Environ[str, str]) -> Document:
    """Read a file's bytes; never raises for what they hold."""
    if len(data) > MAX_BYTES:
        document = Document(file, "")
        size = f"the file has {len(data)} bytes; expected at most {MAX_BYTES}"
        document.report("BT002", (0, 0), size, "is it a topology at all?")
        return document
    try:
        # Editors do not count a byte order mark as a column, so neither do we.
        document = Document(file, data.decode("utf-8").removeprefix("\ufeff"))
    except UnicodeDecodeError as error:
        return _undecodable(file, data, error)
    if forbidden := _FORBIDDEN.search(document.text):
        at = forbidden.start()
        what = f"the file holds the control character U+{ord(forbidden[0]):04X}"
        document.report("BT003", (at, at + 1), what, "a topology is a text file")
        return document
    _compose(document)
    if document.root is not None:
        _interpolate(document, environ)
    return document


def _undecodable(file: str, data: bytes, error: UnicodeDecodeError) -> Document:
    document = Document(file, data[: error.start].decode("utf-8").removeprefix("\ufeff"))
    is_utf_16 = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    message = f"the file is not UTF-8 (byte 0x{data[error.start]:02x})"
    hint = "it looks like UTF-16; save it as UTF-8" if is_utf_16 else "save it as UTF-8"
    at = len(document.text)
    document.report("BT003", (at, at), message, hint)
    return document


class _Stop(Exception):
    """Reading on would make no sense, or take for ever; why is in the diagnostics."""


def _compose(document: Document) -> None:
    """Make nodes of the text."""
    composer = _Composer(document)
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(document.text)
    try:
        while (event := loader.get_event()) is not None:
            composer.take(event)
    except yaml.MarkedYAMLError as error:
        marks = [error.problem_mark, error.context_mark]
        # An unclosed quote is noticed at the end of the file, and made where it began.
        if "unexpected end" in str(error.problem):
            marks.reverse()
        at = next((mark.index for mark in marks if mark is not None), 0)
        message, hint = explain(str(error.problem), document.text, at)
        document.report("BT004", (at, at + 1), message, hint)
        return
    except yaml.YAMLError as error:
        document.report("BT004", (0, 0), f"this is not YAML: {error}")
        return
    except _Stop:
        return
    finally:
        loader.dispose()
    document.root = composer.root
    if composer.root is None or (isinstance(composer.root, Scalar) and composer.root.value is None):
        document.root = None
        hint = "`bananas init` writes a topology to begin with"
        document.report("BT010", (0, 0), "the file is empty; expected a topology", hint)


class _Composer:
    """Takes events one by one and puts nodes together, on a stack of its own."""

    def __init__(self, document: Document) -> None:
        self.root: Node | None = None
        self._document = document
        self._text = document.text
        self._open: list[Mapping | Sequence] = []
        #: For each open mapping the key whose value comes next; None for sequences.
        self._keys: list[Scalar | None] = []
        self._anchors: dict[str, Node] = {}
        self._documents = 0

    def take(self, event: yaml.Event) -> None:
        """Take one event."""
        assert event.start_mark is not None
        assert event.end_mark is not None
        start, end = event.start_mark.index, event.end_mark.index
        if isinstance(event, yaml.ScalarEvent):
            self._add(self._scalar(event, start, end), event.anchor)
        elif isinstance(event, yaml.MappingStartEvent):
            self._begin(Mapping(start, end), event)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._begin(Sequence(start, end), event)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self._finish(end)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(str(event.anchor), start, end)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                self._stop(
                    "BT009", (start, end), "a second document begins here", "keep one a file"
                )

    def _stop(self, code: str, place: tuple[int, int], message: str, hint: str | None) -> None:
        self._document.report(code, place, message, hint)
        raise _Stop

    def _scalar(self, event: yaml.ScalarEvent, start: int, end: int) -> Scalar:
        tag = self._tag(event.tag, start, end)
        # The event's place takes in anchor and tag, and a block text's last line end.
        source = self._text[start:end]
        start += properties.end() if (properties := _PROPERTIES.match(source)) else 0
        end = start + len(self._text[start:end].rstrip())
        is_plain = event.style in (None, "") and tag is None and event.tag != "!"
        scalar = Scalar(start, end, event.value, is_plain, tag)
        self._resolve(scalar)
        return scalar

    def _resolve(self, scalar: Scalar) -> None:
        code, message = "BT008", None
        if unusable := _UNUSABLE.search(scalar.text):
            code = "BT003"
            message = f"a text cannot hold the character U+{ord(unusable[0]):04X}"
        # With a variable in it, what it is shows later.
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
                "BT008",
                (start, end),
                f'the tag "{shown}" is not known here',
                f"leave it out; {known} are",
            )
            return None
        return _CORE_TAGS[tag]

    def _begin(self, node: Mapping | Sequence, event: yaml.CollectionStartEvent) -> None:
        self._tag(event.tag, node.start, node.end)
        if event.anchor:
            self._anchors[event.anchor] = node
        if len(self._open) >= MAX_DEPTH:
            message = f"lists and maps are nested more than {MAX_DEPTH} deep"
            self._stop("BT006", (node.start, node.end), message, None)
        self._open.append(node)
        self._keys.append(None)

    def _finish(self, end: int) -> None:
        node = self._open.pop()
        self._keys.pop()
        node.end = max(node.start, min(end, len(self._text)))
        if isinstance(node, Mapping) and _MERGE in node.items and node.keys[_MERGE].is_plain:
            self._merge(node)
        self._add(node, None)

    def _alias(self, name: str, start: int, end: int) -> None:
        node = self._anchors.get(name)
        message = None
        if node is None:
            message = f'no anchor "&{name}" stands before this alias'
        elif any(node is each for each in self._open):
            message = f'the alias "*{name}" stands inside of what it repeats'
        if message or node is None:
            self._document.report("BT007", (start, end), message or "")
            node = Scalar(start, end, "", False, None)
            node.is_broken = True
        self._add(node, None, (start, end))

    def _add(self, node: Node, anchor: str | None, place: tuple[int, int] | None = None) -> None:
        """Put a finished node where it belongs."""
        if anchor:
            self._anchors[anchor] = node
        if not self._open:
            self.root = node
            return
        parent = self._open[-1]
        if isinstance(parent, Sequence):
            parent.items.append(node)
        elif self._keys[-1] is None:
            self._keys[-1] = self._key(node, place)
            return
        else:
            self._put(parent, self._keys[-1], node)
            self._keys[-1] = None
        parent.weight += node.weight
        parent.height = max(parent.height, node.height + 1)
        self._check_size(parent, node, place or (node.start, node.end))

    def _check_size(self, parent: Mapping | Sequence, node: Node, place: tuple[int, int]) -> None:
        if parent.weight > MAX_VALUES:
            message = f"the file has more than {MAX_VALUES} values, with its aliases written out"
            self._stop("BT007", place, message, None)
        if len(self._open) + node.height > MAX_DEPTH + 1:
            message = f"lists and maps are nested more than {MAX_DEPTH} deep by this alias"
            self._stop("BT006", place, message, None)

    def _key(self, node: Node, place: tuple[int, int] | None) -> Scalar:
        start, end = place or (node.start, node.end)
        if isinstance(node, Scalar):
            return Scalar(start, end, node.text, node.is_plain, None)
        self._document.report(
            "BT011", (start, end), "a key must be a single value, not a list or map"
        )
        key = Scalar(start, end, "", False, None)
        key.is_broken = True
        return key

    def _put(self, parent: Mapping, key: Scalar, node: Node) -> None:
        if key.is_broken:
            return
        first = parent.keys.get(key.text)
        if first is None:
            parent.set(key, node)
            return
        at = self._document.lines.span(first.start, first.end)
        self._document.report(
            "BT005",
            (key.start, key.end),
            f'the key "{_short(key.text)}" is given twice in one map',
            f"the first one is at {at.line}:{at.column}; remove one of them",
        )

    def _merge(self, node: Mapping) -> None:
        """Resolve ``<<``: what the mapping does not say itself is taken from others."""
        key, value = node.keys[_MERGE], node.items[_MERGE]
        node.remove(_MERGE)
        for source in value.items if isinstance(value, Sequence) else [value]:
            if not isinstance(source, Mapping):
                message = '"<<" takes a map, or a list of maps, to merge into this one'
                self._document.report("BT014", (key.start, key.end), message, "as in <<: *defaults")
                continue
            for name, its_key in source.keys.items():
                if name not in node.keys:
                    node.set(its_key, source.items[name])


def resolve_scalar(scalar: Scalar) -> str | None:
    """Set a scalar's value from its text; gives what is wrong if its tag does not fit."""
    if scalar.is_plain:
        scalar.value = resolve(scalar.text)
        return None
    if scalar.tag in (None, "str"):
        scalar.value = scalar.text
        return None
    value = resolve(scalar.text)
    if scalar.tag == "float" and type(value) is int:
        value = float(value)
    kinds = {"int": int, "float": float, "bool": bool, "null": type(None)}
    if type(value) is not kinds.get(str(scalar.tag)):
        return f'"{_short(scalar.text)}" is no !!{scalar.tag}'
    scalar.value = value
    return None


def _interpolate(document: Document, environ: Environ[str, str]) -> None:
    """Put variables into the values; a value without quotes gets the type it then looks like."""
    assert document.root is not None
    for path, scalar in scalars(document.root):
        if "$" not in scalar.text or scalar.is_broken:
            continue
        name = whole_variable(scalar.text)
        if name and path in MAY_BE_UNSET and not environ.get(name):
            # To the contract of the worker, too, an empty variable is one that is not set.
            scalar.unset, scalar.text, scalar.value = name, "", ""
            continue
        if fault := _fill_in(document, scalar, environ):
            code, offset, message, hint = fault
            scalar.is_broken = True
            document.report(code, (scalar.start + offset, scalar.end), message, hint)


def _fill_in(
    document: Document, scalar: Scalar, environ: Environ[str, str]
) -> tuple[str, int, str, str | None] | None:
    """Put variables into one value; gives code, offset, message and hint of what is wrong."""
    try:
        text = interpolate(scalar.text, environ)
    except (BadSyntax, NotSet) as error:
        # Only where value and source agree does an offset in one say where it is in the other.
        is_literal = document.text[scalar.start : scalar.end] == scalar.text
        offset = error.offset if is_literal else 0
        if isinstance(error, NotSet):
            hint = f"set it, or give a default: ${{{error.name}:-…}}"
            return "BT013", offset, str(error), hint
        return "BT012", offset, str(error), None
    if _UNUSABLE.search(text):
        return "BT012", 0, "a variable in this value holds bytes that are not UTF-8", None
    scalar.is_interpolated = text != scalar.text.replace("$$", "$")
    scalar.text = text
    # An empty variable is an empty text, not "nothing": `url: ${URL:-}` leaves it open.
    scalar.is_plain = scalar.is_plain and text != ""
    message = resolve_scalar(scalar)
    return ("BT008", 0, message, None) if message else None


def broken_paths(root: Node) -> set[Path]:
    """Where values are that nothing can be said of but what was reported."""
    return {path for path, node in _every_scalar(root, ()) if node.is_broken}


def _every_scalar(node: Node, path: Path) -> Iterator[tuple[Path, Scalar]]:
    # As deep as MAX_DEPTH allows, and no more values than MAX_VALUES.
    if isinstance(node, Scalar):
        yield path, node
        return
    steps = node.items.items() if isinstance(node, Mapping) else enumerate(node.items)
    for step, inner in steps:
        yield from _every_scalar(inner, (*path, step))


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
