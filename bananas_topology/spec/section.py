"""Reads one map of a topology into Python values, with defaults from the schema.

The schema has settled the shape by now; what it cannot say (a duration's range, say) is found here.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

from bananas_topology.spec.document import Document
from bananas_topology.spec.messages import field_of, shown
from bananas_topology.spec.nodes import Mapping, Node, Path, Scalar, Sequence, child, find, plain
from bananas_topology.spec.schema import definition
from bananas_topology.units import (
    format_duration,
    parse_cpu_millis,
    parse_duration_ms,
    parse_memory_bytes,
)


class Section:
    """One map of the file, which may be absent. Faults go to the document and to `damaged`."""

    def __init__(
        self,
        document: Document,
        node: Node | None,
        part: dict[str, Any],
        path: Path,
        damaged: set[Path],
    ) -> None:
        self.document = document
        self.node = node if isinstance(node, Mapping) else None
        self.part = definition(part)
        self.path = path
        self.damaged = damaged

    @property
    def is_given(self) -> bool:
        """Whether the file has this map at all."""
        return self.node is not None

    def has(self, name: str) -> bool:
        """Whether the file says something of this field."""
        return self.node is not None and name in self.node.items

    def names(self) -> tuple[str, ...]:
        """The keys that are there, in file order."""
        return tuple(self.node.items) if self.node else ()

    def section(self, name: str, node: Node | None = None) -> Section:
        """A map within this one; `node` takes the place of what the file has."""
        properties = self.part.get("properties", {})
        part = properties.get(name) or self.part["additionalProperties"]
        node = node or child(self.node, name)
        return Section(self.document, node, part, (*self.path, name), self.damaged)

    def sections(self, name: str) -> tuple[Section, ...]:
        """The maps of a list."""
        listed = child(self.node, name)
        nodes = listed.items if isinstance(listed, Sequence) else []
        part = self._part(name)["items"]
        path = (*self.path, name)
        return tuple(
            Section(self.document, node, part, (*path, at), self.damaged)
            for at, node in enumerate(nodes)
        )

    def value(self, name: str) -> Any:
        """Any value, as plain data; the schema's default if the file says nothing."""
        node = child(self.node, name)
        return self._part(name).get("default") if node is None else plain(node)

    def text(self, name: str) -> str:
        """A text that has a default or must be there."""
        return self.optional_text(name) or ""

    def optional_text(self, name: str) -> str | None:
        """A text as it is written in the file (`1.10` stays `1.10`); None if there is none."""
        node = child(self.node, name)
        if isinstance(node, Scalar):
            return node.text
        default = self._part(name).get("default")
        return None if default is None else str(default)

    def flag(self, name: str) -> bool:
        """A truth value; false if neither file nor schema says anything."""
        return self.value(name) is True

    def optional_whole(self, name: str) -> int | None:
        """A whole number; None if neither file nor schema says anything."""
        value = self.value(name)
        return None if value is None else int(value)

    def whole(self, name: str, otherwise: int = 0) -> int:
        """A whole number; `otherwise` if neither file nor schema says anything."""
        value = self.optional_whole(name)
        return otherwise if value is None else value

    def optional_duration_ms(
        self, name: str, at_least: int = 1, at_most: int | None = None
    ) -> int | None:
        """A duration in milliseconds; one out of range is reported, and as good as not given."""
        duration_ms = self._parsed(name, parse_duration_ms)
        if duration_ms is None:
            return None
        if duration_ms < at_least or (at_most is not None and duration_ms > at_most):
            bounds = f"at least {format_duration(at_least)}"
            if at_most is not None:
                bounds = f"{format_duration(at_least)} to {format_duration(at_most)}"
            self.report(name, "BT105", f"expected {bounds}")
            return self._default(name, parse_duration_ms)
        return duration_ms

    def duration_ms(self, name: str, at_least: int = 1, at_most: int | None = None) -> int:
        """A duration in milliseconds that has a default."""
        return self.optional_duration_ms(name, at_least, at_most) or 0

    def memory_bytes(self, name: str) -> int | None:
        """An amount of memory in bytes."""
        return self._parsed(name, parse_memory_bytes)

    def cpu_millis(self, name: str) -> int | None:
        """An amount of CPU in thousandths of a core."""
        return self._parsed(name, parse_cpu_millis)

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts, as they are written."""
        node = child(self.node, name)
        items = node.items if isinstance(node, Sequence) else []
        return tuple(item.text for item in items if isinstance(item, Scalar))

    def text_map(self, name: str) -> MappingProxyType[str, str]:
        """A map of texts, as they are written."""
        node = child(self.node, name)
        items = node.items if isinstance(node, Mapping) else {}
        return MappingProxyType(
            {key: item.text for key, item in items.items() if isinstance(item, Scalar)}
        )

    def report(self, name: str, code: str, expected: str) -> None:
        """Report that a field's value is not what it should be."""
        path = (*self.path, name)
        above = ("defaults", *path[2:])
        if path[0] == "pools" and find(self.document.root, above) is child(self.node, name):
            path = above
        met = shown(plain(node), path) if (node := child(self.node, name)) else "missing"
        place = (node.start, node.end) if node else (0, 0)
        self.document.report(code, place, f"{field_of(path)} is {met}; {expected}")
        self.damaged.add(path)

    def _part(self, name: str) -> dict[str, Any]:
        return definition(self.part["properties"][name])

    def _parsed(self, name: str, parse: Callable[[str], int]) -> int | None:
        node = child(self.node, name)
        if not isinstance(node, Scalar):
            return self._default(name, parse)
        try:
            return parse(_number_text(node))
        except ValueError as error:
            self.report(name, "BT106", str(error))
            return self._default(name, parse)

    def _default(self, name: str, parse: Callable[[str], int]) -> int | None:
        default = self._part(name).get("default")
        return None if default is None else parse(str(default))


def _number_text(node: Scalar) -> str:
    """A number as the parsers of units know it: they have no signs, exponents or bases."""
    if isinstance(node.value, int):
        return str(node.value)
    return f"{node.value:f}" if isinstance(node.value, float) else node.text
