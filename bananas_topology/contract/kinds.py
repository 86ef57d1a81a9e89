"""Kinds of settings: how a value is written in a variable, in a topology and in its JSON Schema.

Readers raise ValueError saying what was expected; their caller names the setting.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bananas_topology.units import (
    format_days,
    format_duration,
    format_memory,
    parse_duration_ms,
    parse_memory_bytes,
)


class OutOfRange(ValueError):
    """A well-formed value is smaller or larger than allowed."""


def _unchanged(value: Any) -> Any:
    return value


@dataclass(frozen=True, slots=True)
class Kind:
    """What all settings of one kind have in common.

    `expected` describes the valid values in the documentation. `read` and `write` convert the text
    of a variable, `from_topology` and `to_topology` the value of a topology's field, whose shape
    the keywords in `schema` describe. Readers raise ValueError, or OutOfRange.
    """

    expected: str
    read: Callable[[str], Any]
    write: Callable[[Any], str] = str
    from_topology: Callable[[Any], Any] = _unchanged
    to_topology: Callable[[Any], Any] = _unchanged
    schema: Mapping[str, Any] = field(default_factory=dict)


def integer(minimum: int, maximum: int) -> Kind:
    """Whole numbers from `minimum` to `maximum`."""

    def read(text: str) -> int:
        if not re.fullmatch(r"\d{1,9}", text, re.ASCII) or not minimum <= int(text) <= maximum:
            raise ValueError(f"expected an integer from {minimum} to {maximum}")
        return int(text)

    schema = {"type": "integer", "minimum": minimum, "maximum": maximum}
    return Kind(f"{minimum} to {maximum}", read, from_topology=int, schema=schema)


def duration(minimum_ms: int, maximum_ms: int | None = None) -> Kind:
    """Durations in milliseconds, written as in Go: ``300ms``, ``1h30m``; days, ``7d``, are read."""
    shortest = format_duration(minimum_ms)

    def read(text: str) -> int:
        duration_ms = parse_duration_ms(text)
        if maximum_ms is not None and not minimum_ms <= duration_ms <= maximum_ms:
            raise OutOfRange(f"expected {shortest} to {format_duration(maximum_ms)}")
        if duration_ms < minimum_ms:
            raise OutOfRange(f"expected at least {shortest}")
        return duration_ms

    expected = f"at least `{shortest}`" if minimum_ms > 1 else "a duration"
    if maximum_ms is not None:
        expected = f"`{shortest}` to `{format_duration(maximum_ms)}`"
    return Kind(
        expected,
        read,
        format_duration,
        from_topology=lambda value: read(str(value)),  # the number 0 needs no unit
        to_topology=format_duration,
        schema={"$ref": "#/$defs/duration"},
    )


def memory(minimum_bytes: int) -> Kind:
    """Amounts of memory in bytes, written as in Kubernetes or Compose: ``512Mi``, ``4G``."""
    smallest = format_memory(minimum_bytes)

    def read(text: str) -> int:
        memory_bytes = parse_memory_bytes(text)
        if memory_bytes < minimum_bytes:
            raise OutOfRange(f"expected at least {smallest}")
        return memory_bytes

    schema = {"$ref": "#/$defs/memory"}
    return Kind(
        f"at least `{smallest}`",
        read,
        format_memory,
        from_topology=lambda value: read(str(value)),  # a number is in bytes
        to_topology=format_memory,
        schema=schema,
    )


def optional(kind: Kind) -> Kind:
    """The same kind, with 0 for a setting that is not set."""
    return replace(kind, write=lambda value: kind.write(value) if value else "")


def retention() -> Kind:
    """How long something is kept, in milliseconds; 0 keeps none."""
    return replace(duration(0), to_topology=format_days)


# Go's strconv.ParseBool, which read these variables in the Go version, accepts exactly these.
_TRUE, _FALSE = ("1", "t", "T", "TRUE", "true", "True"), ("0", "f", "F", "FALSE", "false", "False")


def boolean() -> Kind:
    """True or false."""

    def read(text: str) -> bool:
        if text not in _TRUE + _FALSE:
            raise ValueError("expected true or false")
        return text in _TRUE

    def write(value: bool) -> str:
        return "true" if value else "false"

    return Kind("`true`, `false`", read, write, schema={"type": "boolean"})


def choice(what: str, choices: tuple[str, ...]) -> Kind:
    """One of some texts; `what` names them in an error. Members of a StrEnum stay such."""

    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"invalid {what}: {text} (must be one of: {', '.join(choices)})")
        return choices[choices.index(text)]

    return Kind(
        ", ".join(f"`{each}`" for each in choices),
        read,
        from_topology=read,
        to_topology=str,
        schema={"type": "string", "enum": [str(each) for each in choices]},
    )


def text(expected: str, pattern: str = r"[^\x00]+", error: str = "some text") -> Kind:
    """Texts that match a pattern; `error` describes it in an error."""

    def read(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"expected {error}")
        return value

    return Kind(expected, read, schema={"type": "string", "minLength": 1})


def name_list(expected: str, what: str, pattern: str, items: str | None = None) -> Kind:
    """Lists of names; `items` is their definition in the schema."""

    def read(text: str) -> tuple[str, ...]:
        names = split_list(text)
        invalid = [name for name in names if not re.fullmatch(pattern, name)]
        if invalid or not names:
            got = f', got "{invalid[0]}"' if invalid else ""
            raise ValueError(f"expected {what}, separated by commas{got}")
        return tuple(dict.fromkeys(names))

    return Kind(expected, read, ",".join, tuple, list, _list_schema(items) if items else {})


def priority_list(priorities: tuple[str, ...]) -> Kind:
    """Some of the priorities, always in the order of `priorities`, however they are written.

    In a variable, they may be in upper case, as in the Go version.
    """

    def read(text: str) -> tuple[str, ...]:
        names = split_list(text)
        if not names:
            raise ValueError("worker must process at least one priority queue")
        for name in names:
            if name.lower() not in priorities:
                valid = ", ".join(priorities)
                raise ValueError(f"invalid priority: {name} (must be one of: {valid})")
        return in_order([name.lower() for name in names])

    def in_order(names: list[str]) -> tuple[str, ...]:
        return tuple(priority for priority in priorities if priority in names)

    choices = ", ".join(f"`{each}`" for each in priorities)
    expected = f"some of {choices}, separated by commas"
    return Kind(expected, read, ",".join, in_order, list, _list_schema("priority"))


def _list_schema(items: str) -> dict[str, Any]:
    reference = {"$ref": f"#/$defs/{items}"}
    return {"type": "array", "minItems": 1, "uniqueItems": True, "items": reference}


def split_list(text: str) -> list[str]:
    """The items of a text that separates them by commas.

    >>> split_list("high, low,")
    ['high', 'low']
    """
    return [item.strip() for item in text.split(",") if item.strip()]
