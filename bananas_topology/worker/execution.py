"""One run through its handler: from a claim to an Outcome. Knows neither Redis nor threads.

What becomes of the outcome (ack, retry, bury) is decided in settlement.py.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from bananas_topology.errors import ContractViolation, InvalidJob, InvalidPayload, JobTimeout
from bananas_topology.handlers import Bury, Retry
from bananas_topology.jobs.job import Failure, decode, encode_result
from bananas_topology.worker.run import Run, Task

#: Characters of a traceback that are kept: its end, where the fault is.
TRACEBACK_TAIL = 4_000

#: Characters of an error message that are kept.
MESSAGE_LIMIT = 2_000

#: The largest result that is stored, in bytes: beyond it, it belongs into a store for files.
RESULT_LIMIT = 64 * 2**20


class Completed(msgspec.Struct, frozen=True):
    """The handler returned; `result` is JSON."""

    result: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """The handler raised: the job may run again, after `delay_ms` or the usual backoff."""

    failure: Failure
    delay_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Hopeless:
    """The job would fail each time it ran: it is not tried again."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class SetAside:
    """What was claimed is no job, or none of ours: its bytes are kept as they are."""

    reason: str


@dataclass(frozen=True, slots=True)
class Abandoned:
    """The job did not run, or its run was given up: it goes back untouched."""


Outcome = Completed | Failed | Hopeless | SetAside | Abandoned


def prepare(run: Run, tasks: Mapping[str, Task]) -> Task | SetAside:
    """Read the job and find its task; an outcome if there is nothing to run."""
    body = run.claim.body
    if body is None:
        return SetAside("nothing is stored under this id")
    try:
        job = decode(body)
    except InvalidJob as error:
        return SetAside(str(error))
    run.job = job
    task = run.task = tasks.get(job.name)
    if task is None:
        return SetAside(f'the stored job says two names, one of them "{job.name}"')
    return task


def execute(run: Run) -> Outcome:
    """Run one prepared job to its outcome, which holds whatever it raised."""
    try:
        returned = call(run)
    except BaseException as error:
        # Whatever a handler raises is its job's affair, SystemExit and KeyboardInterrupt included:
        # it must not take the thread along, nor the jobs beside it.
        return failed(error)
    return completed(returned)


def call(run: Run) -> Any:
    """Call the handler; returns what it returns, and raises whatever it raises."""
    job, task = run.job, run.task
    if job is None or task is None:
        raise ContractViolation("a run that was not prepared cannot be executed")
    handler = task.handler
    if handler.payload_type is None:
        return handler.function(run.context()) if handler.takes_context else handler.function()
    payload = task.decode_payload(job.payload)
    if handler.takes_context:
        return handler.function(payload, run.context())
    return handler.function(payload)


def completed(returned: Any) -> Completed | Hopeless:
    """The outcome of a handler that returned."""
    try:
        result = encode_result(returned)
    except InvalidJob as error:
        return Hopeless(Failure("InvalidResult", clean(str(error))))
    if len(result) > RESULT_LIMIT:
        told = f"the result has {len(result)} bytes; expected at most {RESULT_LIMIT}"
        return Hopeless(Failure("InvalidResult", told))
    return Completed(result)


def failed(error: BaseException) -> Failed | Hopeless:
    """The outcome of a handler that raised."""
    if isinstance(error, InvalidPayload):
        return Hopeless(Failure("InvalidPayload", clean(str(error))))
    if isinstance(error, Bury):
        return Hopeless(_failure(error))
    delay_ms = error.delay_ms if isinstance(error, Retry) else None
    return Failed(_failure(error), delay_ms)


def timed_out(run: Run) -> Failed:
    """The outcome of a job whose time is up, whatever its thread still does."""
    timeout_ms = run.task.timeout_ms if run.task is not None else 0
    told = f"the job ran longer than its timeout of {timeout_ms} ms"
    return Failed(Failure(JobTimeout.__name__, told))


def clean(text: str) -> str:
    """Text that can be stored: what is no character (a lone surrogate) is written as its number."""
    return text.encode("utf-8", "backslashreplace").decode()


def _failure(error: BaseException) -> Failure:
    kind = type(error).__name__
    try:
        message = str(error)
        lines = traceback.format_exception(error)
    except Exception as other:
        # An exception is code of the handler's author, who may have got its __str__ wrong.
        message, lines = f"(its message cannot be shown: {type(other).__name__})", []
    told = clean(message[:MESSAGE_LIMIT] or kind)
    return Failure(kind, told, clean("".join(lines)[-TRACEBACK_TAIL:]))
