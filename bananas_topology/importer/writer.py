"""A topology as the text of its file, laid out as people write it: short values on one line."""

from __future__ import annotations

from typing import Any

from bananas_topology.yaml_writer import to_flow_yaml, with_blank_lines

#: Maximum columns of a line.
_WIDTH = 100

#: Top-level sections with a blank line before them.
_SECTIONS = ("redis", "defaults", "jobs", "pools", "scheduler", "schedules", "api", "kubernetes")

_SCHEMA = "# yaml-language-server: $schema="


def write(topology: dict[str, Any], origins: list[str], schema: str) -> str:
    """The text of a topology file, beginning with the names of the files it was imported from."""
    header = f"{_SCHEMA}{schema}\n# Imported from {', '.join(origins)}.\n"
    lines = [line for name, value in topology.items() for line in _entry(name, value, 0)]
    return header + with_blank_lines("\n".join(lines), _SECTIONS, within="pools")


def _entry(name: str, value: Any, indent: int) -> list[str]:
    """A key and its value: on one line if it fits and is not a section with sections in it."""
    margin = " " * indent
    key = to_flow_yaml(name)
    line = f"{margin}{key}: {to_flow_yaml(value)}"
    is_section = isinstance(value, dict) and value and (indent == 0 or _is_nested(value))
    if not is_section and (len(line) <= _WIDTH or not isinstance(value, dict | list) or not value):
        return [line]
    lines = [f"{margin}{key}:"]
    if isinstance(value, dict):
        for below, item in value.items():
            lines += _entry(below, item, indent + 2)
    else:
        lines += [f"{margin}  - {to_flow_yaml(item)}" for item in value]
    return lines


def _is_nested(value: dict[str, Any]) -> bool:
    return any(isinstance(item, dict) for item in value.values())
