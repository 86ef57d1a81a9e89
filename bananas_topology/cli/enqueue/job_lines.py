"""Lines of JSON as jobs to enqueue. Payloads stay the bytes that they were written as."""

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
class BadLine:
    """A line that is no job, and why; `number` counts from 1."""

    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class JobLine:
    """A line that is a job that can be enqueued."""

    number: int
    job: NewJob


def read_line(
    number: int, line: bytes, priority_of: Callable[[str], str]
) -> JobLine | BadLine | None:
    """Read one line and check it; None if nothing is in it.

    `priority_of` gives the priority of a job type for which the line has none.
    """
    if not line.strip():
        return None
    try:
        job = _new_job(_decode(line), priority_of)
        check_job(job)
    except InvalidJob as error:
        return BadLine(number, str(error))
    return JobLine(number, job)


def raw_payload(text: str) -> Any:
    """Check that a text is JSON, and make of it a payload that keeps its bytes.

    Raises:
        ValueError: it is not, with where and why.
    """
    try:
        json.loads(text, parse_constant=_refuse_constant)
        return msgspec.Raw(text.strip().encode())
    except UnicodeEncodeError as error:
        raise ValueError("it is not UTF-8") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _decode(line: bytes) -> _Line:
    try:
        line.decode()
        return _DECODER.decode(line)
    except UnicodeDecodeError as error:
        raise InvalidJob(f"it is not UTF-8: {error.reason} at byte {error.start}") from error
    except RecursionError as error:
        raise InvalidJob("it is nested too deeply") from error
    except msgspec.ValidationError as error:
        raise InvalidJob(_explained(str(error))) from error
    except msgspec.DecodeError as error:
        raise InvalidJob(f"it is not JSON: {str(error).removeprefix('JSON is ')}") from error


def _explained(problem: str) -> str:
    """The decoder's words in ours.

    >>> _explained("Expected `int | null`, got `float` - at `$.max_retries`")
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
        at=_moment(line.at),
        max_retries=line.max_retries,
    )


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidJob(
            f'at: "{text}" is no time; expected one such as 2030-01-31T17:00Z'
        ) from error


def _refuse_constant(name: str) -> Iterator[None]:
    raise ValueError(f"{name} is no JSON value")
