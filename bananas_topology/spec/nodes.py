"""YAML as nodes that know their position: scalars, maps and lists.

Positions are offsets into the text; `Lines` turns them into lines and columns.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import Any

from bananas_topology.spec.diagnostics import Span

#: Keys and list indexes from the top of a topology to one of its values.
KeyPath = tuple[str | int, ...]


class Lines:
    """Turns offsets into spans; lines are those that editors count."""

    def __init__(self, text: str) -> None:
        self._length = len(text)
        self._starts = [0]
        position = 0
        for line in text.splitlines(keepends=True):
            position += len(line)
            # splitlines also splits at form feeds and separators, where editors do not.
            if line[-1] in "\r\n":
                self._starts.append(position)

    def span(self, start: int, end: int) -> Span:
        """The range between two offsets, limited to the text."""
        start = min(max(start, 0), self._length)
        end = min(max(end, start), self._length)
        return Span(*self._place(start), *self._place(end))

    def offset(self, line: int, column: int) -> int:
        """The offset of a line and a column that count from 1."""
        line = min(max(line, 1), len(self._starts))
        return min(self._starts[line - 1] + max(column, 1) - 1, self._length)

    def _place(self, offset: int) -> tuple[int, int]:
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1


class ScalarNode:
    """One value: `text` as written (interpolated, unquoted), and the `value` it stands for.

    `is_plain`: without quotes. `is_interpolated`: part of it came from the environment.
    `is_broken`: an error in it is reported already, and its value is unusable.
    `unset` names the variable that would have its value, if that is not set here.
    """

    __slots__ = (
        "depth",
        "end",
        "is_broken",
        "is_interpolated",
        "is_plain",
        "node_count",
        "start",
        "tag",
        "text",
        "unset",
        "value",
    )

    def __init__(self, start: int, end: int, text: str, is_plain: bool, tag: str | None) -> None:
        self.start, self.end = start, end
        self.text, self.is_plain, self.tag = text, is_plain, tag
        self.value: Any = text
        self.is_interpolated = False
        self.is_broken = False
        self.unset: str | None = None
        self.node_count, self.depth = 1, 1


class MapNode:
    """Keys to values in file order; `keys` has the positions of the keys.

    `node_count` and `depth` include everything inside, with aliases expanded.
    """

    __slots__ = ("depth", "end", "items", "keys", "node_count", "start")

    def __init__(self, start: int, end: int) -> None:
        self.start, self.end = start, end
        self.keys: dict[str, ScalarNode] = {}
        self.items: dict[str, Node] = {}
        self.node_count, self.depth = 1, 1

    def set(self, key: ScalarNode, node: Node) -> None:
        self.keys[key.text] = key
        self.items[key.text] = node

    def remove(self, name: str) -> None:
        self.keys.pop(name, None)
        self.items.pop(name, None)


class ListNode:
    """Values in file order."""

    __slots__ = ("depth", "end", "items", "node_count", "start")

    def __init__(self, start: int, end: int) -> None:
        self.start, self.end = start, end
        self.items: list[Node] = []
        self.node_count, self.depth = 1, 1


Node = ScalarNode | MapNode | ListNode


def shift(root: Node, by: int) -> None:
    """Add to the offsets of all nodes and keys."""
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        # Anchors and `<<` put the same node into several places.
        seen.add(id(node))
        node.start, node.end = node.start + by, node.end + by
        if isinstance(node, MapNode):
            waiting.extend(node.keys.values())
            waiting.extend(node.items.values())
        elif isinstance(node, ListNode):
            waiting.extend(node.items)


def plain(node: Node) -> Any:
    """The node as plain dicts, lists and scalars."""
    if isinstance(node, ScalarNode):
        return node.value
    if isinstance(node, MapNode):
        return {name: plain(child) for name, child in node.items.items()}
    return [plain(child) for child in node.items]


def child(node: Node | None, step: str | int) -> Node | None:
    """The node at a key of a map, or at an index of a list; None if there is none."""
    if isinstance(node, MapNode):
        return node.items.get(step) if isinstance(step, str) else None
    if isinstance(node, ListNode) and isinstance(step, int) and 0 <= step < len(node.items):
        return node.items[step]
    return None


def find(root: Node | None, path: KeyPath) -> Node | None:
    """The node at a path; None if there is none."""
    node = root
    for step in path:
        node = child(node, step)
    return node


def locate_value(root: Node | None, path: KeyPath) -> tuple[int, int]:
    """The offsets of the value at a path, or of what is closest around it.

    For a map or a list they are those of its key.
    """
    node, place = root, (0, 0)
    if isinstance(root, MapNode) and root.keys:
        # What a topology lacks as a whole is reported at its first key.
        first = next(iter(root.keys.values()))
        place = (first.start, first.end)
    for step in path:
        parent, node = node, child(node, step)
        if node is None:
            return place
        place = (node.start, node.end)
        has_no_text = not isinstance(node, ScalarNode) or node.start == node.end
        if isinstance(parent, MapNode) and has_no_text:
            key = parent.keys[str(step)]
            place = (key.start, key.end)
    return place


def locate_key(root: Node | None, path: KeyPath) -> tuple[int, int]:
    """The offsets of the last key of a path, or of what is closest around it."""
    if path:
        parent = find(root, path[:-1])
        if isinstance(parent, MapNode) and path[-1] in parent.keys:
            key = parent.keys[str(path[-1])]
            return (key.start, key.end)
    return locate_value(root, path)


def scalars(root: Node) -> Iterator[tuple[KeyPath, ScalarNode]]:
    """Every scalar once, with the first path that leads to it."""
    seen: set[int] = set()
    waiting: list[tuple[KeyPath, Node]] = [((), root)]
    while waiting:
        path, node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, ScalarNode):
            yield path, node
        elif isinstance(node, MapNode):
            waiting.extend(
                ((*path, name), child) for name, child in reversed(list(node.items.items()))
            )
        else:
            waiting.extend(((*path, at), child) for at, child in enumerate(node.items))
