"""JSON Lines as jobs to enqueue. Payload bytes are preserved."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from bananas_topology.client import NewJob, check_job
from bananas_topology.errors import InvalidJob


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    payload: msgspec.Raw = msgspec.Raw(b"null")
    priority: str | None = None
    id: str | None = None
    delay: str | float | None = None
    at: str | None = None
    max_retries: int | None = None


FIELDS = _Line.__struct_fields__

_DECODER = msgspec.json.Decoder(_Line)


@dataclass(frozen=True, slots=True)
class InvalidLine:
    """An invalid line and the reason; `number` counts from 1."""

    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class JobLine:
    """A line with a valid job."""

    number: int
    job: NewJob


def read_line(
    number: int, line: bytes, priority_of: Callable[[str], str]
) -> JobLine | InvalidLine | None:
    """Parse and check one line; None if it is blank.

    `priority_of` returns the priority of a job type, for lines without one.
    """
    if not line.strip():
        return None
    try:
        job = _new_job(_decode(line), priority_of)
        check_job(job)
    except InvalidJob as error:
        return InvalidLine(number, str(error))
    return JobLine(number, job)


def raw_payload(text: str) -> Any:
    """Check that a text is JSON and return it as a payload that keeps its bytes.

    Raises:
        ValueError: it is not valid JSON; the message says where and why.
    """
    try:
        json.loads(text, parse_constant=_reject_constant)
        return msgspec.Raw(text.strip().encode())
    except UnicodeEncodeError as error:
        raise ValueError("not valid UTF-8") from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _decode(line: bytes) -> _Line:
    try:
        line.decode()
        return _DECODER.decode(line)
    except UnicodeDecodeError as error:
        raise InvalidJob(f"not valid UTF-8: {error.reason} at byte {error.start}") from error
    except RecursionError as error:
        raise InvalidJob("nested too deeply") from error
    except msgspec.ValidationError as error:
        raise InvalidJob(_rephrase(str(error))) from error
    except msgspec.DecodeError as error:
        raise InvalidJob(f"not valid JSON: {str(error).removeprefix('JSON is ')}") from error


def _rephrase(problem: str) -> str:
    """Rephrase a message of the decoder without JSONPath and Python type syntax.

    >>> _rephrase("Expected `int | null`, got `float` - at `$.max_retries`")
    'max_retries: expected int or null, got float'
    """
    message, _, place = problem.replace("`", "").replace(" | ", " or ").partition(" - at $.")
    message = message[0].lower() + message[1:]
    if "unknown field" in message:
        message += f"; expected {', '.join(FIELDS)}"
    return f"{place}: {message}" if place else message


def _new_job(line: _Line, priority_of: Callable[[str], str]) -> NewJob:
    return NewJob(
        job_type=line.name,
        payload=line.payload,
        priority=line.priority or priority_of(line.name),
        id=line.id,
        delay=line.delay,
        at=_parse_time(line.at),
        max_retries=line.max_retries,
    )


def _parse_time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidJob(f'at: expected a time such as 2030-01-31T17:00Z, got "{text}"') from error


def _reject_constant(name: str) -> Iterator[None]:
    raise ValueError(f"{name} is not a JSON value")
