"""Reads one map of a topology into Python values, with defaults from the schema.

Expects a checked shape; what the schema cannot express, such as the range of a duration, is checked
here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import MappingProxyType
from typing import Any

from bananas_topology.contract.kinds import Kind, OutOfRange, duration
from bananas_topology.contract.settings import Setting
from bananas_topology.spec.diagnostics import Code
from bananas_topology.spec.document import Document
from bananas_topology.spec.messages import format_value, subject_of
from bananas_topology.spec.nodes import (
    KeyPath,
    ListNode,
    MapNode,
    Node,
    ScalarNode,
    child,
    find,
    plain,
)
from bananas_topology.spec.schema import definition
from bananas_topology.spec.shape import OUT_OF_RANGE, WRONG_FORMAT
from bananas_topology.units import parse_cpu_millis, parse_duration_ms, parse_memory_bytes


class SectionReader:
    """Reads the fields of one map of the file, which may be absent.

    Invalid fields are reported to the document and added to `invalid_paths`.
    """

    def __init__(
        self,
        document: Document,
        node: Node | None,
        part: dict[str, Any],
        path: KeyPath,
        invalid_paths: set[KeyPath],
    ) -> None:
        self.document = document
        self.node = node if isinstance(node, MapNode) else None
        self.part = definition(part)
        self.path = path
        self.invalid_paths = invalid_paths

    def has(self, name: str) -> bool:
        """Whether the file has this field."""
        return self.node is not None and name in self.node.items

    def entries(self) -> list[tuple[str, SectionReader]]:
        """The sections of a map of sections, with their names, in file order."""
        return [(name, self.section(name)) for name in self.node.items] if self.node else []

    def section(self, name: str) -> SectionReader:
        """A map within this one."""
        properties = self.part.get("properties", {})
        part = properties.get(name) or self.part["additionalProperties"]
        node = child(self.node, name)
        return SectionReader(self.document, node, part, (*self.path, name), self.invalid_paths)

    def sections(self, name: str) -> tuple[SectionReader, ...]:
        """The maps of a list."""
        listed = child(self.node, name)
        nodes = listed.items if isinstance(listed, ListNode) else []
        part = self._part(name)["items"]
        path = (*self.path, name)
        return tuple(
            SectionReader(self.document, node, part, (*path, at), self.invalid_paths)
            for at, node in enumerate(nodes)
        )

    def value(self, name: str) -> Any:
        """Any value, as plain data, or the schema's default."""
        node = child(self.node, name)
        return self._part(name).get("default") if node is None else plain(node)

    def string(self, name: str) -> str:
        """A string that has a default or is required."""
        return self.optional_string(name) or ""

    def optional_string(self, name: str) -> str | None:
        """A string as written in the file (`1.10` stays `1.10`), the default, or None."""
        node = child(self.node, name)
        if isinstance(node, ScalarNode):
            return node.text
        default = self._part(name).get("default")
        return None if default is None else str(default)

    def boolean(self, name: str) -> bool:
        """True or false; false if there is neither a value nor a default."""
        return self.value(name) is True

    def optional_integer(self, name: str) -> int | None:
        """An integer, the default, or None."""
        value = self.value(name)
        return None if value is None else int(value)

    def integer(self, name: str, fallback: int = 0) -> int:
        """An integer, the default, or `fallback`."""
        value = self.optional_integer(name)
        return fallback if value is None else value

    def settings(self, settings: Iterable[Setting], scope: str) -> dict[str, Any]:
        """The values of those settings that the file has in this section, by name.

        `scope` is one of the `sections` of `Setting`.
        """
        values: dict[str, Any] = {}
        for setting in settings:
            if path := setting.path_in(scope):
                owner = self
                for name in path[:-1]:
                    owner = owner.section(name)
                value = owner._read(path[-1], setting.kind)
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
        """An amount of CPU in millicores."""
        return self._parsed(name, parse_cpu_millis)

    def strings(self, name: str) -> tuple[str, ...]:
        """A list of strings, as written."""
        node = child(self.node, name)
        items = node.items if isinstance(node, ListNode) else []
        return tuple(item.text for item in items if isinstance(item, ScalarNode))

    def has_field(self, name: str) -> bool:
        """Whether sections of this kind can have a field."""
        return name in self.part["properties"]

    def string_map(self, name: str) -> MappingProxyType[str, str]:
        """A map of strings, as written."""
        node = child(self.node, name)
        items = node.items if isinstance(node, MapNode) else {}
        return MappingProxyType(
            {key: item.text for key, item in items.items() if isinstance(item, ScalarNode)}
        )

    def _report(self, name: str, code: Code, expected: str) -> None:
        """Report an invalid value, where it was written: that may be in `defaults:`."""
        node, path = child(self.node, name), (*self.path, name)
        in_defaults = ("defaults", *path[2:])
        if path[0] == "pools" and find(self.document.root, in_defaults) is node:
            path = in_defaults
        assert node is not None
        message = f"{subject_of(path)} is {format_value(plain(node), path)}; {expected}"
        self.document.report(code, (node.start, node.end), message)
        self.invalid_paths.add(path)

    def _read(self, name: str, kind: Kind) -> Any:
        """A value of some kind; None if there is none, or if it is invalid, which is reported."""
        node = child(self.node, name)
        if node is None:
            return None
        try:
            return kind.from_topology(plain(node))
        except OutOfRange as error:
            self._report(name, OUT_OF_RANGE, str(error))
        except ValueError as error:
            self._report(name, WRONG_FORMAT, str(error))
        return None

    def _part(self, name: str) -> dict[str, Any]:
        return definition(self.part["properties"][name])

    def _parsed(self, name: str, parse: Callable[[str], int]) -> int | None:
        node = child(self.node, name)
        if not isinstance(node, ScalarNode):
            return self._default(name, parse)
        try:
            return parse(_number_text(node))
        except ValueError as error:
            self._report(name, WRONG_FORMAT, str(error))
            return self._default(name, parse)

    def _default(self, name: str, parse: Callable[[str], int]) -> int | None:
        default = self._part(name).get("default")
        return None if default is None else parse(str(default))


def _number_text(node: ScalarNode) -> str:
    """A number as the parsers of units accept it: without sign, exponent or base."""
    if isinstance(node.value, int):
        return str(node.value)
    return f"{node.value:f}" if isinstance(node.value, float) else node.text
