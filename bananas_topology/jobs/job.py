"""Jobs as values and as JSON: which fields are written, read, or kept unchanged.

A payload is not decoded in transit: it stays the bytes that its producer wrote. When a body is
rewritten, unknown fields keep their bytes as well.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from bananas_topology.contract.values import JOB_TYPE_PATTERN, MAX_RETRIES, PRIORITIES
from bananas_topology.errors import InvalidJob
from bananas_topology.jobs.crashes import Crash
from bananas_topology.system.clock import format_timestamp

#: Maximum length of an id, in characters: it becomes part of key names.
MAX_ID_LENGTH = 512

#: What decoding JSON may raise; RecursionError on deeply nested payloads.
DECODE_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)

_ENCODE_ERRORS = (TypeError, ValueError, OverflowError, RecursionError)


class Job(msgspec.Struct, frozen=True):
    """The fields of a job's JSON that a worker reads. `max_retries` is None if the job has none."""

    id: str
    name: str
    payload: msgspec.Raw = msgspec.Raw(b"null")
    attempts: int = 0
    max_retries: int | None = None


class Claim(msgspec.Struct, frozen=True):
    """A job held by the worker until its lease expires. `body` is None if none is stored.

    `fence` is the fencing token: settling checks that the claim is still the same one. `crashes` is
    set if the job must run alone because of them (see crashes.py).
    """

    job_id: str
    body: bytes | None
    fence: bytes
    crashes: tuple[Crash, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a job failed: the exception's type and message, and the end of its traceback.

    `at` is the time of the failure, for jobs whose JSON does not have it.
    """

    type: str
    message: str
    traceback: str = ""
    at: str = ""


class EncodedJob(msgspec.Struct, frozen=True):
    """A job as `enqueue` sends it. `due`: "" now, "+<ms>" from now, or "<Unix seconds>"."""

    job_id: str
    body: bytes
    priority: str
    job_type: str
    due: str


class _NewBody(msgspec.Struct):
    """A new job's JSON. Id, name and priority come first (after `scheduled_for`, if any), where the
    scripts read them without parsing the payload.
    """

    scheduled_for: str | msgspec.UnsetType
    id: str
    name: str
    priority: str
    status: str
    created_at: str
    updated_at: str
    attempts: int
    max_retries: int | msgspec.UnsetType
    payload: Any


def new_id() -> str:
    """A random UUID, version 4, as text; four times as fast as uuid.uuid4."""
    digits = os.urandom(16).hex()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def encode_new(
    *,
    job_id: str,
    job_type: str,
    payload: Any,
    priority: str,
    max_retries: int | None,
    scheduled_for: datetime | None,
    now: datetime,
) -> bytes:
    """Encode a new job as JSON.

    Raises:
        InvalidJob: a value is not valid; the message says what was expected.
    """
    _check(job_id, job_type, priority, max_retries)
    created_at = format_timestamp(now)
    body = _NewBody(
        msgspec.UNSET if scheduled_for is None else format_timestamp(scheduled_for),
        job_id,
        job_type,
        priority,
        "pending" if scheduled_for is None else "scheduled",
        created_at,
        created_at,
        0,
        msgspec.UNSET if max_retries is None else max_retries,
        payload,
    )
    try:
        return _encode(body, payload)
    except _ENCODE_ERRORS as error:
        # A text with lone surrogates.
        text = error.object if isinstance(error, UnicodeEncodeError) else None
        named = {job_id: "the id", job_type: "the job type"}
        part = named.get(str(text), f"the payload of {job_type}")
        raise InvalidJob(f"cannot encode {part} as JSON: {error}") from error


def decode(body: bytes) -> Job:
    """Decode a job's JSON.

    Raises:
        InvalidJob: it is not JSON, or not a job.
    """
    try:
        return _JOB.decode(body)
    except DECODE_ERRORS as error:
        raise InvalidJob(f"the stored job cannot be read: {error}") from error


def rewrite(body: bytes, scheduled_for: datetime | None = None, **changes: Any) -> bytes:
    """Change some fields of a job's JSON and keep the bytes of all others.

    `scheduled_for` comes first, then id, name and priority. `scheduled_for` and `error` are removed
    unless given: the stored ones are those of the previous run.
    """
    if scheduled_for is None and changes.keys() == _SPLICED:
        spliced = _splice(body, changes)
        if spliced is not None:
            return spliced
    fields: dict[str, Any] = _FIELDS.decode(body)
    for name in ("scheduled_for", "error"):
        fields.pop(name, None)
    head: dict[str, Any] = {}
    if scheduled_for is not None:
        head["scheduled_for"] = format_timestamp(scheduled_for)
    for name in ("id", "name", "priority"):
        if name in fields:
            head[name] = fields[name]
    return msgspec.json.encode(head | fields | changes)


def _splice(body: bytes, changes: dict[str, Any]) -> bytes | None:
    """Rewrite a short body that `encode_new` wrote, whose changing fields are at its start.

    Takes a third of the time. None if it has another form, or fields after these that must change.
    """
    if len(body) > _SPLICE_BYTES:
        return None
    form = _NEW_FORM.match(body)
    if form is None or _CHANGING.search(body, form.end()):
        return None
    status, at, attempts = changes["status"], changes["updated_at"], changes["attempts"]
    middle = f'"status":"{status}",{form[2].decode()}"updated_at":"{at}","attempts":{attempts}'
    return b"%b%b%b" % (form[1], middle.encode(), body[form.end() :])


def encode_result(value: Any) -> bytes:
    """Encode a handler's result as JSON.

    Raises:
        InvalidJob: it cannot be encoded.
    """
    try:
        return _encode(value, value)
    except _ENCODE_ERRORS as error:
        message = f"cannot encode the returned {type(value).__name__} as JSON: {error}"
        raise InvalidJob(message) from error


def _encode(value: Any, source: Any) -> bytes:
    """Encode a value as JSON; `source` is the part that the user supplied."""
    encoded = _ENCODER.encode(value)
    # The encoder writes null for NaN and infinity. Without a null there is nothing to search for.
    if source is not None and b"null" in encoded and not isinstance(source, msgspec.Raw):
        _refuse_non_finite(msgspec.to_builtins(source, enc_hook=_searchable), "")
    return encoded


def _encodable(value: Any) -> Any:
    """What the encoder can encode in place of a pydantic model."""
    dump = getattr(type(value), "model_dump", None)
    if dump is None:
        raise TypeError(f"Encoding objects of type {type(value).__name__} is unsupported")
    return dump(value, mode="json")


def _searchable(value: Any) -> Any:
    """What to search in place of a value that the encoder knows, or accepts by `_encodable`."""
    return None if isinstance(value, msgspec.Raw) else _encodable(value)


def _refuse_non_finite(value: Any, place: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"expected a finite number{place and f' at {place}'}, got {value}")
    if isinstance(value, dict):
        for key, inner in value.items():
            _refuse_non_finite(inner, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            _refuse_non_finite(inner, f"{place}[{index}]")


def _check(job_id: str, job_type: str, priority: str, max_retries: int | None) -> None:
    if not isinstance(job_id, str):
        raise InvalidJob(f"id: expected a string or a UUID, got {job_id!r}")
    if not 0 < len(job_id) <= MAX_ID_LENGTH:
        raise InvalidJob(f"id: expected 1 to {MAX_ID_LENGTH} characters, got {len(job_id)}")
    if not isinstance(job_type, str) or not _JOB_TYPE.fullmatch(job_type):
        raise InvalidJob(
            f"job type: expected 1 to 200 characters without comma or space, got {job_type!r}"
        )
    if priority not in PRIORITIES:
        raise InvalidJob(f"priority: expected one of {', '.join(PRIORITIES)}, got {priority!r}")
    if max_retries is not None and not (
        type(max_retries) is int and 0 <= max_retries <= MAX_RETRIES
    ):
        raise InvalidJob(f"max_retries: expected 0 to {MAX_RETRIES}, got {max_retries!r}")


_JOB_TYPE = re.compile(JOB_TYPE_PATTERN)
_JOB = msgspec.json.Decoder(Job)
_ENCODER = msgspec.json.Encoder(enc_hook=_encodable)
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])

# The fields that `_splice` changes, the start of a body that `encode_new` wrote up to these fields,
# and the names that must not follow.
_SPLICED = {"status", "updated_at", "attempts"}
_NEW_FORM = re.compile(
    rb'(\{"id":"[^"\\]*","name":"[^"\\]*","priority":"[a-z]+",)"status":"[a-z]+",'
    rb'("created_at":"[^"\\]*",)"updated_at":"[^"\\]*","attempts":\d+(?=[,}])'
)
_CHANGING = re.compile(rb'"(?:status|created_at|updated_at|attempts|error|scheduled_for)"|\\u')
_SPLICE_BYTES = 4_096
