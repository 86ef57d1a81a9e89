"""Runs one job's handler: from a claim to an outcome. Independent of Redis and of threads.

How the outcome is settled (ack, retry, bury) is decided in settlement.py.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from contextvars import Context
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any

import msgspec

from bananas_topology.errors import ContractViolation, InvalidJob, InvalidPayload, JobTimeout
from bananas_topology.handlers import Bury, Retry
from bananas_topology.jobs.job import Failure, decode, encode_result
from bananas_topology.worker import forks
from bananas_topology.worker.logs import CURRENT_RUN
from bananas_topology.worker.run import BoundHandler, Run

#: Characters kept of a traceback: its end, where the error is.
TRACEBACK_TAIL = 4_000

#: Characters kept of an error message.
MESSAGE_LIMIT = 2_000

#: The largest result that is stored, in bytes; anything larger belongs in object storage.
RESULT_LIMIT = 64 * 2**20


class Completed(msgspec.Struct, frozen=True):
    """The handler returned; `result` is JSON."""

    result: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """The handler raised: the job is retried after `delay_ms`, or after the usual backoff."""

    failure: Failure
    delay_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Permanent:
    """The job would fail on every attempt, so it is not retried."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The claimed value is not a valid job of the claimed type: its stored bytes are kept."""

    reason: str


@dataclass(frozen=True, slots=True)
class Released:
    """The job did not run, or its run was interrupted: it returns to its queue unchanged."""


Outcome = Completed | Failed | Permanent | Unreadable | Released


def prepare(run: Run, handlers: Mapping[str, BoundHandler]) -> BoundHandler | Unreadable:
    """Decode the job and look up its handler; an outcome if there is nothing to run."""
    body = run.claim.body
    if body is None:
        return Unreadable("no job is stored under this id")
    try:
        job = decode(body)
    except InvalidJob as error:
        return Unreadable(str(error))
    run.job = job
    bound = run.bound = handlers.get(job.name)
    if bound is None:
        return Unreadable(f'claimed as another type, but the stored job is named "{job.name}"')
    return bound


def execute(run: Run) -> Outcome | None:
    """Run a prepared job; whatever its handler raises becomes the outcome.

    The handler gets a context of its own: variables that it sets, and the decimal context, are
    not seen by the thread's next job. None if it is a wrapper that returned a coroutine, which is
    left in `run.awaitable`, to be awaited in the same context.
    """
    variables = Context()
    try:
        returned = variables.run(call, run)
    except BaseException as error:
        # SystemExit and KeyboardInterrupt included: no handler may end its thread, nor affect
        # other jobs.
        if forks.is_child:
            forks.leave(error)
        return failed(error)
    if forks.is_child:
        forks.leave()
    if hasattr(type(returned), "__await__"):
        run.awaitable, run.variables = returned, variables
        return None
    return completed(returned)


def call(run: Run) -> Any:
    """Call the handler of a prepared run; returns and raises what the handler does."""
    CURRENT_RUN.set(run)
    if run.awaitable is not None:
        return run.awaitable
    job, bound = run.job, run.bound
    if job is None or bound is None:
        raise ContractViolation("cannot execute a run that was not prepared")
    handler = bound.handler
    if handler.payload_type is None:
        return handler.function(run.context()) if handler.takes_context else handler.function()
    payload = bound.decode_payload(job.payload)
    if handler.takes_context:
        return handler.function(payload, run.context())
    return handler.function(payload)


def completed(returned: Any) -> Completed | Permanent:
    """The outcome of a handler that returned."""
    try:
        result = encode_result(returned)
    except InvalidJob as error:
        return Permanent(Failure("InvalidResult", clean(str(error))))
    if len(result) > RESULT_LIMIT:
        message = f"expected a result of at most {RESULT_LIMIT} bytes, got {len(result)}"
        return Permanent(Failure("InvalidResult", message))
    return Completed(result)


def failed(error: BaseException) -> Failed | Permanent:
    """The outcome of a handler that raised."""
    if isinstance(error, InvalidPayload):
        return Permanent(Failure("InvalidPayload", clean(str(error))))
    if isinstance(error, Bury):
        return Permanent(_failure(error))
    delay_ms = error.delay_ms if isinstance(error, Retry) else None
    return Failed(_failure(error), delay_ms)


def timed_out(run: Run) -> Failed:
    """The outcome of a job past its timeout, whatever its handler returns or raises after it."""
    timeout_ms = run.bound.timeout_ms if run.bound is not None else 0
    message = f"the job exceeded its timeout of {timeout_ms} ms"
    return Failed(Failure(JobTimeout.__name__, message))


def traced(verdict: Outcome, ended: Outcome | None) -> Outcome:
    """The outcome of an interrupted run, with the traceback of what its handler raised then."""
    if isinstance(verdict, Failed) and isinstance(ended, Failed):
        return replace(verdict, failure=replace(verdict.failure, traceback=ended.failure.traceback))
    return verdict


def unfinished(verdict: Outcome, frame: FrameType | None) -> Outcome:
    """The outcome of an interrupted run whose handler has not ended; `frame` is where it is."""
    if not isinstance(verdict, Failed):
        return verdict
    message = f"{verdict.failure.message}, and its handler did not end then"
    stack = "" if frame is None else "".join(traceback.format_stack(frame))
    failure = Failure(verdict.failure.type, message, clean(stack[-TRACEBACK_TAIL:]))
    return Failed(failure)


def clean(text: str) -> str:
    """Text that can be stored as UTF-8: lone surrogates are escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def _failure(error: BaseException) -> Failure:
    kind = type(error).__name__
    try:
        # The message of other exceptions than Exception, such as SystemExit, means nothing by
        # itself.
        message = str(error) if isinstance(error, Exception) else repr(error)
        lines = traceback.format_exception(error)
    except Exception as other:
        # The exception class is user code, and its __str__ may raise.
        message, lines = f"(message unavailable: __str__ raised {type(other).__name__})", []
    message = clean(message[:MESSAGE_LIMIT] or kind)
    return Failure(kind, message, clean("".join(lines)[-TRACEBACK_TAIL:]))
