"""One claim through its handler: from bytes to an Outcome. Knows neither Redis nor threads.

What becomes of the outcome (ack, retry, bury) is decided in settlement.py.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bananas_topology.contract import JobLimits, WorkerConfig
from bananas_topology.errors import InvalidJob, InvalidPayload, JobTimeout
from bananas_topology.handlers import Bury, Handler, JobContext, Retry
from bananas_topology.jobs.job import Failure, Job, PayloadDecoder, encode_result

#: Characters of a traceback that are kept: its end, where the fault is.
TRACEBACK_TAIL = 4_000

#: Characters of an error message that are kept.
MESSAGE_LIMIT = 2_000


@dataclass(frozen=True, slots=True)
class Completed:
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
class Abandoned:
    """The job did not run, or its run was given up: it goes back untouched."""


Outcome = Completed | Failed | Hopeless | Abandoned


@dataclass(frozen=True, slots=True)
class Task:
    """A handler with all that running its jobs takes, resolved once at boot.

    `max_retries` is for jobs that do not say it themselves.
    """

    handler: Handler
    decode_payload: PayloadDecoder
    timeout_ms: int
    max_retries: int


def resolve_tasks(handlers: Mapping[str, Handler], config: WorkerConfig) -> dict[str, Task]:
    """Join handlers with settings: the topology's word on a job type wins over `@job`'s.

    With job types given, only those are taken.
    """
    taken = config.job_types or tuple(handlers)
    tasks: dict[str, Task] = {}
    for job_type in taken:
        handler = handlers.get(job_type)
        if handler is None:
            continue
        limits = config.jobs.get(job_type, JobLimits())
        tasks[job_type] = Task(
            handler=handler,
            decode_payload=PayloadDecoder(handler.payload_type),
            timeout_ms=_first(limits.timeout_ms, handler.options.timeout_ms, config.job_timeout_ms),
            max_retries=_first(limits.max_retries, handler.options.max_retries, config.max_retries),
        )
    return tasks


def execute(job: Job, task: Task, make_context: Callable[[], JobContext]) -> Outcome:
    """Run one job to its outcome, which holds whatever it raised."""
    handler = task.handler
    try:
        arguments: list[Any] = []
        if handler.payload_type is not None:
            arguments.append(task.decode_payload(job.payload))
        if handler.takes_context:
            arguments.append(make_context())
        returned = handler.function(*arguments)
    except InvalidPayload as error:
        return Hopeless(Failure("InvalidPayload", str(error)))
    except Retry as retry:
        return Failed(_failure(retry), retry.delay_ms)
    except Bury as bury:
        return Hopeless(_failure(bury))
    except JobTimeout as timeout:
        return Failed(_failure(timeout))
    except BaseException as error:
        # Whatever a handler raises is its job's affair, SystemExit and KeyboardInterrupt included:
        # it must not take the thread along, nor the jobs beside it.
        return Failed(_failure(error))
    try:
        return Completed(encode_result(returned))
    except InvalidJob as error:
        return Hopeless(Failure("InvalidResult", str(error)))


def timed_out(timeout_ms: int) -> Failed:
    """The outcome of a job whose time is up, whatever its thread still does."""
    return Failed(Failure("JobTimeout", f"the job ran longer than its timeout of {timeout_ms} ms"))


def _failure(error: BaseException) -> Failure:
    lines = traceback.format_exception(error)
    message = str(error) or type(error).__name__
    return Failure(type(error).__name__, message[:MESSAGE_LIMIT], "".join(lines)[-TRACEBACK_TAIL:])


def _first(*values: int | None) -> int:
    return next(value for value in values if value is not None)
