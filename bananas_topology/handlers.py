"""The API for handlers: `@job`, `JobContext`, `Retry`, `Bury`.

`@job` only registers a function, which remains an ordinary function to call and to test. Which of
the registered functions a worker runs is decided in handler_modules.py.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import FrameType
from typing import Any, TypeVar

from bananas_topology.contract.jobs import KEEP_FIELDS, Keep
from bananas_topology.contract.values import JOB_TYPE_PATTERN, MAX_RETRIES
from bananas_topology.errors import HandlerError
from bananas_topology.system.clock import monotonic
from bananas_topology.units import parse_duration_ms

Function = TypeVar("Function", bound=Callable[..., Any])

#: A duration: text such as ``"1h30m"``, seconds, or a timedelta.
Duration = str | int | float | timedelta


class Retry(Exception):
    """Raised by a handler to run the job again later. The run counts as an attempt.

    `delay` None: the configured backoff. A negative delay runs it at once.

    Raises:
        ValueError: `delay` is not a duration.
    """

    def __init__(self, reason: str = "", *, delay: Duration | None = None) -> None:
        super().__init__(reason)
        try:
            self.delay_ms = None if delay is None else delay_to_ms(delay)
        except ValueError as error:
            raise ValueError(f"delay: {error}, got {delay!r}") from error


class Bury(Exception):
    """Raised by a handler to move the job to the dead list at once, with the reason."""


@dataclass(frozen=True, slots=True)
class JobContext:
    """The current run of a job, for its handler. `attempt` counts from 1."""

    job_id: str
    job_type: str
    attempt: int
    max_retries: int
    worker_id: str
    #: When the job times out, in seconds of `clock.monotonic`.
    deadline: float
    _is_cancelled: Callable[[], bool] = field(repr=False)

    def remaining(self) -> float:
        """Seconds until the job times out, at least 0."""
        return max(0.0, self.deadline - monotonic())

    @property
    def cancelled(self) -> bool:
        """Whether the job timed out or was released: what the handler returns is discarded."""
        return self._is_cancelled()


@dataclass(frozen=True, slots=True)
class JobOptions:
    """The arguments of `@job`; None defers to the topology or the pool."""

    job_type: str
    timeout_ms: int | None
    max_retries: int | None
    keep: Keep


@dataclass(frozen=True, slots=True)
class Handler:
    """A function that runs jobs of one type.

    `function` takes the payload, unless `payload_type` (its annotation) is None, and then a
    `JobContext` if `takes_context`. `name` is for messages. `may_be_async`: it is async, or seems
    to wrap a function that is, so that what it returns may have to be awaited.
    """

    options: JobOptions
    name: str
    function: Callable[..., Any]
    payload_type: Any
    takes_context: bool
    is_async: bool = False
    may_be_async: bool = False


@dataclass(frozen=True, slots=True)
class Registration:
    """A function that was decorated with `@job`.

    `module` is the namespace of the module whose import decorated it, even by a function of another
    module. `scope` has the local names where it was decorated, for its annotations.
    """

    options: JobOptions
    function: Callable[..., Any]
    module: Mapping[str, Any]
    scope: Mapping[str, Any]


#: Every registration of this process, in order.
registrations: list[Registration] = []


def job(
    job_type: str,
    *,
    timeout: Duration | None = None,
    max_retries: int | None = None,
    keep: Mapping[str, Duration] | None = None,
) -> Callable[[Function], Function]:
    """Register a function as the handler of `job_type`.

    The function takes the payload and, if it has a parameter for it, a `JobContext`. `keep` says
    how long to keep jobs once they are ``completed`` or ``dead``, and the ``results`` and
    ``errors`` of these; 0 keeps none. These arguments override the settings of the pool, and are
    overridden by ``jobs:`` in the topology.

    Raises:
        HandlerError: the name or an argument is not valid, or what is decorated is no function.
    """
    if callable(job_type):
        name = getattr(job_type, "__name__", "name")
        raise HandlerError(f'@job on {name} has no job type: write @job("{name}")')
    if not isinstance(job_type, str) or not re.fullmatch(JOB_TYPE_PATTERN, job_type):
        raise HandlerError(f"@job({job_type!r}): expected 1 to 200 characters, no comma or space")
    job_type = str.__str__(job_type)  # of an enum that is a str, the value
    if max_retries is not None and not _is_count(max_retries):
        raise HandlerError(
            f"@job({job_type!r}): max_retries: expected 0 to {MAX_RETRIES}, got {max_retries!r}"
        )
    timeout_ms = _timeout_ms(job_type, timeout)
    options = JobOptions(job_type, timeout_ms, max_retries, _keep_of(job_type, keep or {}))

    def register(function: Function) -> Function:
        if isinstance(function, type | classmethod) or not callable(function):
            kind = "a class" if isinstance(function, type) else f"a {type(function).__name__}"
            hint = ": write @classmethod above @job" if isinstance(function, classmethod) else ""
            raise HandlerError(f"@job({job_type!r}): expected a function, got {kind}{hint}")
        frame = sys._getframe(1)
        scope = {} if frame.f_locals is frame.f_globals else dict(frame.f_locals)
        module = _imported_module(frame) or frame.f_globals
        registrations.append(Registration(options, function, module, scope))
        return function

    return register


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= MAX_RETRIES


def _timeout_ms(job_type: str, timeout: Duration | None) -> int | None:
    try:
        timeout_ms = None if timeout is None else duration_ms(timeout)
    except ValueError as error:
        raise HandlerError(f"@job({job_type!r}): timeout: {error}, got {timeout!r}") from error
    if timeout_ms == 0:
        raise HandlerError(f"@job({job_type!r}): timeout: expected more than 0, got {timeout!r}")
    return timeout_ms


def _imported_module(frame: FrameType | None) -> Mapping[str, Any]:
    """The namespace of the module that is being imported: the innermost one being executed."""
    while frame is not None:
        if frame.f_code.co_name == "<module>":
            return frame.f_globals
        frame = frame.f_back
    return {}


def _keep_of(job_type: str, keep: Mapping[str, Duration]) -> Keep:
    values: dict[str, int] = {}
    expected = ", ".join(KEEP_FIELDS)
    if not isinstance(keep, Mapping):
        raise HandlerError(f"@job({job_type!r}): keep: expected a dict of {expected}, got {keep!r}")
    for name, value in keep.items():
        if name not in KEEP_FIELDS:
            raise HandlerError(f"@job({job_type!r}): keep: expected {expected}, got {name!r}")
        try:
            values[KEEP_FIELDS[name]] = duration_ms(value)
        except (ValueError, TypeError) as error:
            raise HandlerError(
                f"@job({job_type!r}): keep: {name}: {error}, got {value!r}"
            ) from error
    return Keep(**values)


def duration_ms(value: Duration) -> int:
    """Convert a duration to whole milliseconds.

    >>> duration_ms("1m"), duration_ms(1.5), duration_ms(timedelta(hours=1))
    (60000, 1500, 3600000)

    Raises:
        ValueError: it is negative, not finite, or not a duration.
    """
    return parse_duration_ms(_duration_text(value))


def delay_to_ms(value: Duration) -> int:
    """Convert a delay to whole milliseconds. A negative one is over already: 0.

    >>> delay_to_ms("1m"), delay_to_ms(-1.5), delay_to_ms("-5m")
    (60000, 0, 0)

    Raises:
        ValueError: it is not finite, or not a duration.
    """
    text = _duration_text(value)
    delay_ms = parse_duration_ms(text.removeprefix("-"))
    return 0 if text.startswith("-") else delay_ms


def _duration_text(value: Duration) -> str:
    if isinstance(value, str):
        return value
    try:
        seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    except (TypeError, ValueError, OverflowError):
        return ""  # not a duration, which the parser reports
    return f"{seconds:.6f}s"
