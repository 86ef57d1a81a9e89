"""Reads one map of a topology into Python values, with defaults from the schema.

The schema has settled the shape by now; what it cannot say (a duration's range, say) is found here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import MappingProxyType
from typing import Any

from bananas_topology.contract.kinds import Kind, OutOfRange, duration
from bananas_topology.contract.settings import Setting
from bananas_topology.spec.document import Document
from bananas_topology.spec.messages import field_of, shown
from bananas_topology.spec.nodes import Mapping, Node, Path, Scalar, Sequence, child, find, plain
from bananas_topology.spec.schema import definition
from bananas_topology.units import parse_cpu_millis, parse_duration_ms, parse_memory_bytes


class Section:
    """One map of the file, which may be absent.

    What is invalid is reported to the document and added to `invalid_paths`.
    """

    def __init__(
        self,
        document: Document,
        node: Node | None,
        part: dict[str, Any],
        path: Path,
        invalid_paths: set[Path],
    ) -> None:
        self.document = document
        self.node = node if isinstance(node, Mapping) else None
        self.part = definition(part)
        self.path = path
        self.invalid_paths = invalid_paths

    def has(self, name: str) -> bool:
        """Whether the file says something of this field."""
        return self.node is not None and name in self.node.items

    def entries(self) -> list[tuple[str, Section]]:
        """The sections of a map of sections, with their names, in file order."""
        return [(name, self.section(name)) for name in self.node.items] if self.node else []

    def section(self, name: str, node: Node | None = None) -> Section:
        """A map within this one; `node` takes the place of what the file has."""
        properties = self.part.get("properties", {})
        part = properties.get(name) or self.part["additionalProperties"]
        node = node or child(self.node, name)
        return Section(self.document, node, part, (*self.path, name), self.invalid_paths)

    def sections(self, name: str) -> tuple[Section, ...]:
        """The maps of a list."""
        listed = child(self.node, name)
        nodes = listed.items if isinstance(listed, Sequence) else []
        part = self._part(name)["items"]
        path = (*self.path, name)
        return tuple(
            Section(self.document, node, part, (*path, at), self.invalid_paths)
            for at, node in enumerate(nodes)
        )

    def value(self, name: str) -> Any:
        """Any value, as plain data; the schema's default if the file says nothing."""
        node = child(self.node, name)
        return self._part(name).get("default") if node is None else plain(node)

    def string(self, name: str) -> str:
        """A text that has a default or must be there."""
        return self.optional_string(name) or ""

    def optional_string(self, name: str) -> str | None:
        """A text as it is written in the file (`1.10` stays `1.10`); None if there is none."""
        node = child(self.node, name)
        if isinstance(node, Scalar):
            return node.text
        default = self._part(name).get("default")
        return None if default is None else str(default)

    def boolean(self, name: str) -> bool:
        """A truth value; false if neither file nor schema says anything."""
        return self.value(name) is True

    def optional_integer(self, name: str) -> int | None:
        """A whole number; None if neither file nor schema says anything."""
        value = self.value(name)
        return None if value is None else int(value)

    def integer(self, name: str, otherwise: int = 0) -> int:
        """A whole number; `otherwise` if neither file nor schema says anything."""
        value = self.optional_integer(name)
        return otherwise if value is None else value

    def settings(self, settings: Iterable[Setting], scope: str) -> dict[str, Any]:
        """The values of those settings that the file has in this section, by name.

        `scope` is one of the `sections` of `Setting`.
        """
        values: dict[str, Any] = {}
        for setting in settings:
            if path := setting.path_in(scope):
                section = self
                for name in path[:-1]:
                    section = section.section(name)
                value = section._read(path[-1], setting.kind)
                if value is not None:
                    values[setting.name] = value
        return values

    def optional_duration_ms(
        self, name: str, at_least: int = 1, at_most: int | None = None
    ) -> int | None:
        """A duration in milliseconds; one that is invalid is reported and ignored."""
        value = self._read(name, duration(at_least, at_most))
        return self._default(name, parse_duration_ms) if value is None else int(value)

    def duration_ms(self, name: str, at_least: int = 1, at_most: int | None = None) -> int:
        """A duration in milliseconds that has a default."""
        return self.optional_duration_ms(name, at_least, at_most) or 0

    def memory_bytes(self, name: str) -> int | None:
        """An amount of memory in bytes."""
        return self._parsed(name, parse_memory_bytes)

    def cpu_millis(self, name: str) -> int | None:
        """An amount of CPU in thousandths of a core."""
        return self._parsed(name, parse_cpu_millis)

    def strings(self, name: str) -> tuple[str, ...]:
        """A list of texts, as they are written."""
        node = child(self.node, name)
        items = node.items if isinstance(node, Sequence) else []
        return tuple(item.text for item in items if isinstance(item, Scalar))

    def string_map(self, name: str) -> MappingProxyType[str, str]:
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
        self.invalid_paths.add(path)

    def _read(self, name: str, kind: Kind) -> Any:
        """A value of some kind; None if there is none, or if it is invalid, which is reported."""
        node = child(self.node, name)
        if node is None:
            return None
        try:
            return kind.from_topology(plain(node))
        except OutOfRange as error:
            self.report(name, "BT105", str(error))
        except ValueError as error:
            self.report(name, "BT106", str(error))
        return None

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
