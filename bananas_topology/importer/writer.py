"""A topology's mapping as the text of its file: blocks for what is long, one line for the rest."""

from __future__ import annotations

from typing import Any

import yaml

#: Columns of a line at the most, as people write topologies.
_WIDTH = 100

#: Top-level sections that stand in blocks of their own, an empty line before each.
_BLOCKS = ("redis", "defaults", "jobs", "pools", "scheduler", "schedules", "api", "kubernetes")

_SCHEMA = "# yaml-language-server: $schema="


def write(topology: dict[str, Any], origins: list[str], schema: str) -> str:
    """The text of a topology file, with where it came from."""
    lines = [f"{_SCHEMA}{schema}", f"# Imported from {', '.join(origins)}."]
    for name, value in topology.items():
        if name in _BLOCKS:
            lines.append("")
        lines += _entry(name, value, 0)
    return "\n".join(lines) + "\n"


def _entry(name: str, value: Any, indent: int) -> list[str]:
    """A key and its value: on one line where it fits and is no section of sections."""
    margin = " " * indent
    key = _flow(name)
    line = f"{margin}{key}: {_flow(value)}"
    is_section = isinstance(value, dict) and value and (indent == 0 or _is_deep(value))
    if not is_section and (len(line) <= _WIDTH or not isinstance(value, dict | list) or not value):
        return [line]
    lines = [f"{margin}{key}:"]
    if isinstance(value, dict):
        for index, (below, item) in enumerate(value.items()):
            if name == "pools" and indent == 0 and index:
                lines.append("")
            lines += _entry(below, item, indent + 2)
    else:
        lines += [f"{margin}  - {_flow(item)}" for item in value]
    return lines


def _is_deep(value: dict[str, Any]) -> bool:
    """Whether a mapping is better read over several lines: it holds other mappings."""
    return any(isinstance(item, dict) for item in value.values())


def _flow(value: Any) -> str:
    """A value on one line, quoted where YAML would read it as something else."""
    text = yaml.dump(
        value,
        Dumper=yaml.SafeDumper,
        default_flow_style=True,
        allow_unicode=True,
        width=float("inf"),
        sort_keys=False,
    )
    return text.removesuffix("\n").removesuffix("...").rstrip("\n")
