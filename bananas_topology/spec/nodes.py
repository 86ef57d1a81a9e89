"""What a YAML file is made of: scalars, mappings and sequences that know where they stand.

Positions are offsets into the text; `Lines` turns them into lines and columns when one is shown.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import Any

from bananas_topology.spec.diagnostics import Span

#: Where something is in a topology: keys and list positions from the top.
Path = tuple[str | int, ...]


class Lines:
    """Turns offsets into spans; a line ends where an editor ends it."""

    def __init__(self, text: str) -> None:
        self._length = len(text)
        self._starts = [0]
        position = 0
        for line in text.splitlines(keepends=True):
            position += len(line)
            # splitlines also breaks at form feeds and separators which no editor breaks at.
            if line[-1] in "\r\n":
                self._starts.append(position)

    def span(self, start: int, end: int) -> Span:
        """The place between two offsets, cut to what is in the text."""
        start = min(max(start, 0), self._length)
        end = min(max(end, start), self._length)
        return Span(*self._place(start), *self._place(end))

    def offset(self, line: int, column: int) -> int:
        """The offset of a place that counts from 1."""
        line = min(max(line, 1), len(self._starts))
        return min(self._starts[line - 1] + max(column, 1) - 1, self._length)

    def _place(self, offset: int) -> tuple[int, int]:
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1


class Scalar:
    """One value. `text` is as written (interpolated, unquoted), `value` what it means.

    `is_plain`: without quotes. `is_interpolated`: something of it came from the environment.
    `is_broken`: a fault of it is reported, nothing more can be said of it.
    `unset` names the variable without which its value is not known here.
    """

    __slots__ = (
        "end",
        "height",
        "is_broken",
        "is_interpolated",
        "is_plain",
        "start",
        "tag",
        "text",
        "unset",
        "value",
        "weight",
    )

    def __init__(self, start: int, end: int, text: str, is_plain: bool, tag: str | None) -> None:
        self.start, self.end = start, end
        self.text, self.is_plain, self.tag = text, is_plain, tag
        self.value: Any = text
        self.is_interpolated = False
        self.is_broken = False
        self.unset: str | None = None
        self.weight, self.height = 1, 1


class Mapping:
    """Keys to values in file order; `keys` has each key's own place."""

    __slots__ = ("end", "height", "items", "keys", "start", "weight")

    def __init__(self, start: int, end: int) -> None:
        self.start, self.end = start, end
        self.keys: dict[str, Scalar] = {}
        self.items: dict[str, Node] = {}
        self.weight, self.height = 1, 1

    def set(self, key: Scalar, node: Node) -> None:
        self.keys[key.text] = key
        self.items[key.text] = node

    def remove(self, name: str) -> None:
        self.keys.pop(name, None)
        self.items.pop(name, None)


class Sequence:
    """Values in file order."""

    __slots__ = ("end", "height", "items", "start", "weight")

    def __init__(self, start: int, end: int) -> None:
        self.start, self.end = start, end
        self.items: list[Node] = []
        self.weight, self.height = 1, 1


Node = Scalar | Mapping | Sequence


def plain(node: Node) -> Any:
    """The node as ordinary dicts, lists and scalars."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Mapping):
        return {name: plain(child) for name, child in node.items.items()}
    return [plain(child) for child in node.items]


def child(node: Node | None, step: str | int) -> Node | None:
    """What a mapping or a sequence has at a step; None if nothing."""
    if isinstance(node, Mapping):
        return node.items.get(step) if isinstance(step, str) else None
    if isinstance(node, Sequence) and isinstance(step, int) and 0 <= step < len(node.items):
        return node.items[step]
    return None


def find(root: Node | None, path: Path) -> Node | None:
    """The node at a path; None if there is none."""
    node = root
    for step in path:
        node = child(node, step)
    return node


def value_place(root: Node | None, path: Path) -> tuple[int, int]:
    """Where the value at a path is, or the nearest thing around it; a collection by its key."""
    node, place = root, (0, 0)
    if isinstance(root, Mapping) and root.keys:
        # What a whole topology lacks is said at its first key.
        first = next(iter(root.keys.values()))
        place = (first.start, first.end)
    for step in path:
        parent, node = node, child(node, step)
        if node is None:
            return place
        place = (node.start, node.end)
        if isinstance(parent, Mapping) and (not isinstance(node, Scalar) or node.start == node.end):
            key = parent.keys[str(step)]
            place = (key.start, key.end)
    return place


def key_place(root: Node | None, path: Path) -> tuple[int, int]:
    """Where the key at the end of a path is, or the nearest thing around it."""
    if path:
        parent = find(root, path[:-1])
        if isinstance(parent, Mapping) and path[-1] in parent.keys:
            key = parent.keys[str(path[-1])]
            return (key.start, key.end)
    return value_place(root, path)


def scalars(root: Node) -> Iterator[tuple[Path, Scalar]]:
    """Every scalar value once, with the path at which it is met first."""
    seen: set[int] = set()
    waiting: list[tuple[Path, Node]] = [((), root)]
    while waiting:
        path, node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, Scalar):
            yield path, node
        elif isinstance(node, Mapping):
            waiting.extend(
                ((*path, name), child) for name, child in reversed(list(node.items.items()))
            )
        else:
            waiting.extend(((*path, at), child) for at, child in enumerate(node.items))
