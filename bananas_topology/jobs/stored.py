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


def parse_fields(text: bytes | None) -> dict[str, Any] | None:
    """A JSON object; None if there is none or it is anything else."""
    value = parse_json(text)
    return value if isinstance(value, dict) else None


def field_of_head(head: bytes, name: str) -> str | None:
    """A text field of a job of which `head` is the beginning, or all; None if it is not there.

    >>> field_of_head(b'{"id": "1", "name": "add", "payload": {"x": ', "name")
    'add'
    >>> field_of_head(b'{"payload": {"name": "Ada"}, "name": "add"', "name")
    """
    if match := re.match(_LEADING % name.encode(), head):
        return to_text(match[1])
    value = (parse_fields(head) or {}).get(name)
    return value if isinstance(value, str) else None


def error_of(failure: Mapping[str, Any]) -> str:
    """The error of a stored failure as ``Type: message``; "" if it has neither."""
    return ": ".join(str(failure[name]) for name in ("type", "message") if failure.get(name))


def server_time(reply: Sequence[Any]) -> datetime:
    """The server's clock, from the reply to TIME."""
    seconds, micros = map(int, reply)
    return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=micros)


def parse_moment(value: object) -> datetime | None:
    """A timestamp, as text or as stored in Redis; None if the value is not one."""
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    try:
        return parse_timestamp(value) if isinstance(value, str) else None
    except ValueError:
        return None
