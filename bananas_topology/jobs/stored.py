"""Reading what is in Redis without trusting it: other clients write there too.

Ids and job types may hold bytes that are not UTF-8; they are kept as surrogate escapes in text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from bananas_topology.jobs.job import DECODE_ERRORS
from bananas_topology.system.clock import parse_timestamp

#: Bytes of a job that are read to find what producers write before the payload.
HEAD_BYTES = 2_048

# Members of a JSON object that are scalars without escapes, up to the one with the name.
_LEADING = rb'^{(?:"[^"\\]*": ?(?:"[^"\\]*"|[-+.\dEe]+|null|true|false), ?)*?"%b": ?"([^"\\]*)"'


#: Numbers that any component writes are shorter: times in milliseconds have 13 digits.
_NUMBER = re.compile(rb"-?\d{1,15}")


def read_all(pipeline: Any) -> list[Any]:
    """Execute a pipeline; the reply is None where a key holds another type than ours does.

    For keys of one job or worker, where another program's value must affect nothing else.
    """
    replies: list[Any] = pipeline.execute(raise_on_error=False)
    for i, reply in enumerate(replies):
        if isinstance(reply, Exception):
            if not str(reply).startswith("WRONGTYPE"):
                raise reply
            replies[i] = None
    return replies


def to_text(value: bytes) -> str:
    """A key, id or job type as text; `to_bytes` restores it exactly."""
    return value.decode(errors="surrogateescape")


def to_bytes(text: str) -> bytes:
    """A key, id or job type as stored in Redis."""
    return text.encode(errors="surrogateescape")


def printable(text: str) -> str:
    """A text for display and JSON: bytes that are not UTF-8 are replaced."""
    return to_bytes(text).decode(errors="replace")


def parse_json(text: bytes | str | None) -> Any:
    """A JSON value; None if there is none or it cannot be parsed."""
    if not text:
        return None
    try:
        return msgspec.json.decode(text)
    except DECODE_ERRORS:
        return None


def parse_fields(text: bytes | str | None) -> dict[str, Any] | None:
    """A JSON object; None if there is none or it is anything else."""
    value = parse_json(text)
    return value if isinstance(value, dict) else None


def text_in(fields: Mapping[str, Any], name: str) -> str | None:
    """A text field of a JSON object; None if it is anything else."""
    value = fields.get(name)
    return value if isinstance(value, str) else None


def integer_in(fields: Mapping[str, Any], name: str) -> int | None:
    """An integer field of a JSON object; None if it is anything else, or has over 15 digits."""
    value = fields.get(name)
    return value if type(value) is int and abs(value) < 10**15 else None


def parse_number(value: bytes | str | None) -> int | None:
    """An integer as stored in Redis; None if the value is not one, or has over 15 digits."""
    text = value.encode(errors="replace") if isinstance(value, str) else value
    return int(text) if text and _NUMBER.fullmatch(text) else None


def field_of_head(head: bytes, name: str) -> str | None:
    """A text field of a job of which `head` is the beginning, or all; None if it is not there.

    >>> field_of_head(b'{"id": "1", "name": "add", "payload": {"x": ', "name")
    'add'
    >>> field_of_head(b'{"payload": {"name": "Ada"}, "name": "add"', "name")
    """
    if match := re.match(_LEADING % name.encode(), head):
        return to_text(match[1])
    return text_in(parse_fields(head) or {}, name)


def error_of(failure: Mapping[str, Any]) -> str:
    """The error of a stored failure as ``Type: message``; "" if it has neither."""
    return ": ".join(str(failure[name]) for name in ("type", "message") if failure.get(name))


def server_time(reply: Sequence[Any]) -> datetime:
    """The server's clock, from the reply to TIME."""
    seconds, micros = map(int, reply)
    return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=micros)


def moment_at(seconds: float) -> datetime | None:
    """A time of Unix seconds; None if it is not within the years 1 to 9999."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def moment_after(moment: datetime, ms: int) -> datetime | None:
    """The time so many milliseconds later; None if it is not within the years 1 to 9999."""
    try:
        return moment + timedelta(milliseconds=ms)
    except OverflowError:
        return None


def claimed_at(fence: bytes) -> datetime | None:
    """When a job was claimed, by the server's clock; None if its fence is not one of claim.lua."""
    ms = parse_number(fence.rpartition(b"|")[2])
    return None if ms is None else moment_at(ms / 1000)


def parse_moment(value: object) -> datetime | None:
    """A timestamp, as text or as stored in Redis; None if the value is not one."""
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    try:
        return parse_timestamp(value) if isinstance(value, str) else None
    except ValueError:
        return None
