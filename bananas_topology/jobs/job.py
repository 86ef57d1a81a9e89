"""Jobs as values, and their JSON: what is written, what is read, what is kept untouched.

A payload is never decoded on its way: it stays the bytes that its producer wrote. When a body is
rewritten, unknown fields keep their bytes as well. See the wire format in the README.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from bananas_topology.contract.worker import JOB_TYPE_PATTERN, MAX_RETRIES, PRIORITIES
from bananas_topology.errors import InvalidJob, InvalidPayload
from bananas_topology.jobs.crashes import Crash
from bananas_topology.system.clock import format_timestamp

#: Seconds that the body of a completed job is kept.
KEEP_COMPLETED_S = 86_400

#: Seconds that the body of a dead job, and the failure of any, is kept.
KEEP_DEAD_S = 604_800

#: An id becomes part of key names; longer ones are nobody's intention.
MAX_ID_LENGTH = 512

#: What reading JSON may raise; the last in deeply nested payloads.
DECODE_ERRORS = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class Job(msgspec.Struct, frozen=True):
    """What a worker needs of a job's JSON. `payload` is raw; `max_retries` None if not said."""

    id: str
    name: str
    payload: msgspec.Raw = msgspec.Raw(b"null")
    attempts: int = 0
    max_retries: int | None = None


class Claim(msgspec.Struct, frozen=True):
    """A job that is ours until the lease ends. `fence` proves it; `body` None: there was none.

    `crashes` is given where the job runs alone because of them (see crashes.py).
    """

    job_id: str
    body: bytes | None
    fence: bytes
    crashes: tuple[Crash, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a job failed: the exception's type and message, and the end of its traceback.

    `at` is when, for jobs whose own JSON cannot say it.
    """

    type: str
    message: str
    traceback: str = ""
    at: str = ""


class EncodedJob(msgspec.Struct, frozen=True):
    """A job as `enqueue` sends it. `due`: "" now, "+<ms>" from now, or Unix seconds as text."""

    job_id: str
    body: bytes
    priority: str
    job_type: str
    due: str


class _NewBody(msgspec.Struct):
    """A new job's JSON. Id, name and priority come first (behind `scheduled_for`, if any): the
    scripts read them there without parsing the payload.
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
    """A random UUID, version 4, as text; made four times as fast as uuid4 makes it."""
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
    """Write a new job's JSON.

    Raises:
        InvalidJob: a value that cannot be, with what was expected.
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
        return msgspec.json.encode(body)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidJob(f"the payload of {job_type} is not a JSON value: {error}") from error


def decode(body: bytes) -> Job:
    """Read a job's JSON.

    Raises:
        InvalidJob: it is no JSON, or not a job.
    """
    try:
        return _JOB.decode(body)
    except DECODE_ERRORS as error:
        raise InvalidJob(f"the stored job cannot be read: {error}") from error


def rewrite(body: bytes, scheduled_for: datetime | None = None, **changes: Any) -> bytes:
    """Change some fields of a job's JSON and keep the bytes of all others.

    `scheduled_for` goes first; id, name and priority follow it. It and `error` are dropped where
    they are not given anew: they are of the run before.
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
    """Rewrite a short body of our own form a third as fast: what changes is at its beginning.

    None where it is not of that form, or has further fields that would have to change.
    """
    if len(body) > _SPLICE_BYTES:
        return None
    form = _OWN_FORM.match(body)
    if form is None or _CHANGING.search(body, form.end()):
        return None
    status, at, attempts = changes["status"], changes["updated_at"], changes["attempts"]
    middle = f'"status":"{status}",{form[2].decode()}"updated_at":"{at}","attempts":{attempts}'
    return b"%b%b%b" % (form[1], middle.encode(), body[form.end() :])


def encode_result(value: Any) -> bytes:
    """Write a handler's result as JSON.

    Raises:
        InvalidJob: it is not a JSON value.
    """
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        message = f"the handler returned a {type(value).__name__}, not a JSON value: {error}"
        raise InvalidJob(message) from error


class PayloadDecoder:
    """Reads payloads as a handler's annotation asks: dataclass, TypedDict, Struct, any value."""

    def __init__(self, payload_type: Any) -> None:
        self._decoder = msgspec.json.Decoder(payload_type)

    def __call__(self, payload: msgspec.Raw) -> Any:
        """Decode one payload.

        Raises:
            InvalidPayload: it does not fit the annotation.
        """
        try:
            return self._decoder.decode(payload)
        except DECODE_ERRORS as error:
            raise InvalidPayload(f"the payload does not fit the handler: {error}") from error


def _check(job_id: str, job_type: str, priority: str, max_retries: int | None) -> None:
    if not 0 < len(job_id) <= MAX_ID_LENGTH:
        raise InvalidJob(f"the id has {len(job_id)} characters; expected 1 to {MAX_ID_LENGTH}")
    if not isinstance(job_type, str) or not _JOB_TYPE.fullmatch(job_type):
        raise InvalidJob(f"the job type is {job_type!r}; expected 1 to 200 letters, no white space")
    if priority not in PRIORITIES:
        raise InvalidJob(f"the priority is {priority!r}; expected one of {', '.join(PRIORITIES)}")
    if max_retries is not None and not 0 <= max_retries <= MAX_RETRIES:
        raise InvalidJob(f"max_retries is {max_retries}; expected 0 to {MAX_RETRIES}")


_JOB_TYPE = re.compile(JOB_TYPE_PATTERN)
_JOB = msgspec.json.Decoder(Job)
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])

# The fields that `_splice` changes, a body of the form that `encode_new` writes up to them, and the
# names that must not come after them.
_SPLICED = {"status", "updated_at", "attempts"}
_OWN_FORM = re.compile(
    rb'(\{"id":"[^"\\]*","name":"[^"\\]*","priority":"[a-z]+",)"status":"[a-z]+",'
    rb'("created_at":"[^"\\]*",)"updated_at":"[^"\\]*","attempts":\d+(?=[,}])'
)
_CHANGING = re.compile(rb'"(?:status|created_at|updated_at|attempts|error|scheduled_for)"|\\u')
_SPLICE_BYTES = 4_096
