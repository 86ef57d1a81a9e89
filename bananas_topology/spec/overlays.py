"""Overlays: further files, and values of the command line, that change a topology.

They are merged as nodes, before anything is checked, so that every diagnostic is at the file that
has the value.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from bananas_topology.spec.composer import EMPTY
from bananas_topology.spec.diagnostics import declare
from bananas_topology.spec.document import Document
from bananas_topology.spec.messages import format_value, subject_of
from bananas_topology.spec.nodes import KeyPath, MapNode, Node, ScalarNode, child, plain
from bananas_topology.spec.reader import read_document
from bananas_topology.spec.yaml_scalars import parse_scalar

NOT_A_MAP = declare("BT016", "Overlay that is not a map of fields", "- replicas: 5")

NOTHING_TO_REMOVE = declare("BT017", "Null that removes nothing", "autoscale: null")

NEW_POOL = declare("BT306", "Pool that only `--set` names", "--set pools.wroker.replicas=5")

#: Stands for a file in diagnostics about values of the command line: one line for each of them.
OVERRIDES = "--set"

#: Fields of which a map has exactly one: by the name of the map, and by that of the map of names
#: which has it as an entry.
_ALTERNATIVES = {"disruption": ("min_available", "max_unavailable")}
_ALTERNATIVES_OF_ENTRIES = {
    "env": ("secret", "config"),
    "volumes": ("claim", "temporary", "config", "secret"),
}

#: Maps that may be written as the value of one of their fields.
_SHORT_FORMS: Mapping[KeyPath, str] = {("kubernetes", "namespace"): "name"}

_KEY = re.compile(r"(?:[^\\.=]|\\.)+", re.DOTALL)


def merge(base: Document, overlays: Sequence[Document]) -> None:
    """Merge overlays into a document, later ones last.

    Maps are merged key by key. Any other value replaces the one below it, and `null` removes it.
    """
    for overlay in overlays:
        base.append(overlay)
        if isinstance(overlay.root, MapNode) and isinstance(base.root, MapNode):
            if overlay.file == OVERRIDES:
                _report_new_pools(base, overlay.root)
            base.root = _merged(base.root, overlay.root, on_nothing=partial(_report_nothing, base))
        elif overlay.root is not None and not isinstance(overlay.root, MapNode):
            found = format_value(plain(overlay.root), ())
            place = (overlay.root.start, overlay.root.end)
            base.report(NOT_A_MAP, place, f"the overlay is {found}; expected a map of fields")


def _report_new_pools(base: Document, overrides: MapNode) -> None:
    """Warn about pools that only the command line names: there, one is mostly a typing error."""
    present, given = child(base.root, "pools"), child(overrides, "pools")
    if not isinstance(present, MapNode) or not isinstance(given, MapNode):
        return
    for name, key in given.keys.items():
        if name in present.items:
            continue
        near = difflib.get_close_matches(name, present.items, n=1)
        hint = f'did you mean "{near[0]}"?' if near else "a new pool belongs in a file"
        base.report(NEW_POOL, (key.start, key.end), f'{OVERRIDES} adds a new pool "{name}"', hint)


def _report_nothing(base: Document, path: KeyPath, null: ScalarNode) -> None:
    """Report a null that removes nothing, unless it is a value."""
    if "payload" in path or any(str(step).startswith("x-") for step in path):
        return
    null.is_broken = True
    *above, name = path
    node = base.root
    for step in above:
        node = child(node, step)
    present = node.items if isinstance(node, MapNode) else ()
    near = difflib.get_close_matches(str(name), present, n=1)
    message = f"null removes nothing: no file before this one has {subject_of(path)}"
    hint = f'did you mean "{near[0]}"?' if near else None
    base.report(NOTHING_TO_REMOVE, (null.start, null.end), message, hint)


def _merged(
    below: MapNode,
    above: MapNode,
    path: KeyPath = (),
    *,
    on_nothing: Callable[[KeyPath, ScalarNode], None] | None = None,
) -> MapNode:
    """Both maps in a new one.

    Null stands for itself or, if `on_nothing` is given, for no value: the function is called with
    each null that removes nothing, and its path.
    """
    result = MapNode(below.start, below.end)
    for name, key in below.keys.items():
        result.set(key, below.items[name])
    replaced = _replaced(above, path)
    for name in replaced:
        result.remove(name)
    for name, key in above.keys.items():
        node, present = above.items[name], result.items.get(name)
        if present is not None and (field := _SHORT_FORMS.get((*path, name))):
            present, node = _long_form(present, field), _long_form(node, field)
        if isinstance(present, MapNode) and isinstance(node, MapNode):
            result.items[name] = _merged(present, node, (*path, name), on_nothing=on_nothing)
        elif on_nothing and _is_null(node) and (present is not None or name in replaced):
            result.remove(name)
        else:
            result.set(key, node)
            if on_nothing and isinstance(node, ScalarNode) and _is_null(node):
                on_nothing((*path, name), node)
    return result


def _long_form(node: Node, field: str) -> Node:
    """A value as the map with it as a field; null and maps as they are."""
    if not isinstance(node, ScalarNode) or _is_null(node):
        return node
    made = MapNode(node.start, node.end)
    made.set(ScalarNode(node.start, node.end, field, True, None), node)
    return made


def _replaced(above: MapNode, path: KeyPath) -> Sequence[str]:
    """The alternatives to a field of `above`, which cannot be beside it."""
    names: Sequence[str] = ()
    match path[2:] if path[:1] == ("pools",) else path[1:]:
        case (str(name),):
            names = _ALTERNATIVES.get(name, ())
        case (str(name), _):
            names = _ALTERNATIVES_OF_ENTRIES.get(name, ())
    given = [name for name in names if name in above.items and not _is_null(above.items[name])]
    return names if given else ()


def _is_null(node: Node) -> bool:
    """Whether it was written as null; a value that was left out may be a mistake."""
    return isinstance(node, ScalarNode) and node.is_plain and node.value is None and bool(node.text)


def read_overrides(overrides: Sequence[str], environ: Mapping[str, str]) -> Document:
    r"""Read values of the command line, such as `pools.worker.replicas=5`.

    The value is YAML. A dot in a key is written as `\.`.

    Raises:
        ValueError: one of them has no path, or no value.
    """
    text = "\n".join(overrides)
    document = Document(OVERRIDES, text)
    document.root = MapNode(0, 0)
    start = 0
    for override in overrides:
        keys, at = _parse(override, start)
        end = start + len(override)
        value = _read_value(text[:end], at, environ)
        document.diagnostics += value.diagnostics
        if value.root is not None:
            document.root = _merged(document.root, _nested(keys, value.root))
        start = end + 1
    return document


def _parse(override: str, start: int) -> tuple[list[ScalarNode], int]:
    """Read the keys of an override at an offset; returns them, and the offset of the value."""
    keys: list[ScalarNode] = []
    position = 0
    while match := _KEY.match(override, position):
        name = re.sub(r"\\(.)", r"\1", match[0], flags=re.DOTALL)
        keys.append(ScalarNode(start + match.start(), start + match.end(), name, True, None))
        position = match.end() + 1
        if override[match.end() : position] == "=":
            return keys, start + position
    raise ValueError(f'expected PATH=VALUE such as pools.worker.replicas=5, got "{override}"')


def _read_value(text: str, at: int, environ: Mapping[str, str]) -> Document:
    """Read what is at an offset as a document in which positions are those of the whole text."""
    value = text[at:]
    if parse_scalar(value.strip()) is None:
        # Neither is a document by itself: nothing stands for an empty string.
        document = Document(OVERRIDES, text)
        document.root = scalar = ScalarNode(at, len(text), value, bool(value.strip()), None)
        scalar.value = None if scalar.is_plain else ""
        return document
    before = re.sub(r"[^\n]", " ", text[:at])
    data = (before + value).encode("utf-8", "surrogateescape")
    document = read_document(OVERRIDES, data, environ)
    if [each.code for each in document.diagnostics] == [EMPTY.name]:
        document = Document(OVERRIDES, text)
        hint = "quote it if it begins with #, which begins a comment"
        document.report(EMPTY, (at, len(text)), "the value is empty", hint)
    return document


def _nested(keys: Sequence[ScalarNode], value: Node) -> MapNode:
    *outer, last = keys
    result = MapNode(last.start, value.end)
    result.set(last, value)
    for key in reversed(outer):
        inner, result = result, MapNode(key.start, value.end)
        result.set(key, inner)
    return result
