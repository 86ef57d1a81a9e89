"""The API for handlers (`@job`, `JobContext`, `Retry`, `Bury`) and the import of handler modules.

`@job` only marks a function, which remains an ordinary function to call and to test. There is no
global registry: `load_handlers` collects the marked functions of the given modules.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import traceback
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

from bananas_topology.contract.jobs import KEEP_FIELDS, Keep
from bananas_topology.contract.values import JOB_TYPE_PATTERN, MAX_RETRIES
from bananas_topology.errors import HandlerError
from bananas_topology.system.clock import monotonic
from bananas_topology.units import parse_duration_ms

_MARK = "__bananas_job__"
Function = TypeVar("Function", bound=Callable[..., Any])

#: A duration: text such as ``"1h30m"``, seconds, or a timedelta.
Duration = str | int | float | timedelta


class Retry(Exception):
    """Raised by a handler to run the job again later. The run counts as an attempt.

    `delay` None: the configured backoff.

    Raises:
        ValueError: `delay` is not a duration, or negative.
    """

    def __init__(self, reason: str = "", *, delay: Duration | None = None) -> None:
        super().__init__(reason)
        self.delay_ms = None if delay is None else duration_ms(delay)


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

    `payload_type` is the annotation of its payload, None if it takes no payload.
    """

    options: JobOptions
    function: Callable[..., Any]
    payload_type: Any
    takes_context: bool
    is_async: bool = False


def job(
    job_type: str,
    *,
    timeout: Duration | None = None,
    max_retries: int | None = None,
    keep: Mapping[str, Duration] | None = None,
) -> Callable[[Function], Function]:
    """Mark a function as the handler of `job_type`.

    The function takes the payload and, if it has a parameter for it, a `JobContext`. `keep` says
    how long to keep jobs once they are ``completed`` or ``dead``, and the ``results`` and
    ``errors`` of these; 0 keeps none. These arguments override the settings of the pool, and are
    overridden by ``jobs:`` in the topology.

    Raises:
        HandlerError: the name or an argument is not valid.
    """
    if callable(job_type):
        name = getattr(job_type, "__name__", "name")
        raise HandlerError(f'@job on {name} has no job type: write @job("{name}")')
    if not re.fullmatch(JOB_TYPE_PATTERN, job_type):
        raise HandlerError(f"@job({job_type!r}): expected 1 to 200 characters, no comma or space")
    if max_retries is not None and not 0 <= max_retries <= MAX_RETRIES:
        raise HandlerError(
            f"@job({job_type!r}): max_retries: expected 0 to {MAX_RETRIES}, got {max_retries}"
        )
    try:
        timeout_ms = None if timeout is None else duration_ms(timeout)
    except ValueError as error:
        raise HandlerError(f"@job({job_type!r}): timeout: {error}, got {timeout!r}") from error
    if timeout_ms == 0:
        raise HandlerError(f"@job({job_type!r}): timeout: expected more than 0, got {timeout!r}")
    options = JobOptions(job_type, timeout_ms, max_retries, _keep_of(job_type, keep or {}))

    def mark(function: Function) -> Function:
        setattr(function, _MARK, options)
        return function

    return mark


def _keep_of(job_type: str, keep: Mapping[str, Duration]) -> Keep:
    values: dict[str, int] = {}
    for name, value in keep.items():
        if name not in KEEP_FIELDS:
            expected = ", ".join(KEEP_FIELDS)
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
    if isinstance(value, str):
        return parse_duration_ms(value)
    seconds = value.total_seconds() if isinstance(value, timedelta) else float(value)
    return parse_duration_ms(f"{seconds:.6f}s")


def load_handlers(modules: tuple[str, ...]) -> Mapping[str, Handler]:
    """Import the modules and collect their marked functions by job type.

    Raises:
        HandlerError: a module cannot be imported or has no handler, or two functions handle the
            same job type.
    """
    handlers: dict[str, Handler] = {}
    for name in modules:
        found = _handlers_of(name)
        if not found:
            raise HandlerError(f"module {name} has no handlers: mark its functions with @job")
        for handler in found:
            job_type = handler.options.job_type
            other = handlers.setdefault(job_type, handler)
            if other.function is not handler.function:
                raise HandlerError(
                    f'job type "{job_type}" has two handlers: {_qualified_name(other.function)} '
                    f"and {_qualified_name(handler.function)}"
                )
    return handlers


def _handlers_of(module_name: str) -> list[Handler]:
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        # A user's module may raise anything on import; whatever it is, the user must fix it.
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and f"{module_name}.".startswith(f"{missing}."):
            raise HandlerError(_not_found(missing)) from error
        reason = f"{type(error).__name__}: {error}{_user_line(error)}"
        raise HandlerError(f"cannot import module {module_name}: {reason}") from error
    return [
        _handler(value)
        for value in vars(module).values()
        if isinstance(getattr(value, _MARK, None), JobOptions)
    ]


def _not_found(name: str) -> str:
    """The message for a missing module, with a suggestion."""
    import difflib
    import pkgutil

    directory = sys.path[0] or "."
    message = f"no module named {name} (looked in {directory} first)"
    if name.endswith(".py"):
        module = name.removesuffix(".py").replace("/", ".")
        return f"{message}: expected a module name without .py, such as {module}"
    siblings = [module.name for module in pkgutil.iter_modules([directory])]
    matches = difflib.get_close_matches(name, siblings, n=1)
    return message + (f" (did you mean {matches[0]}?)" if matches else "")


def _user_line(error: BaseException) -> str:
    """The innermost line of the user's code in a traceback; a SyntaxError names its own."""
    if isinstance(error, SyntaxError):
        return ""
    frames = traceback.extract_tb(error.__traceback__)
    users = [frame for frame in frames if not frame.filename.startswith(("<frozen", __file__))]
    return f" ({users[-1].filename}, line {users[-1].lineno})" if users else ""


def _handler(function: Callable[..., Any]) -> Handler:
    options: JobOptions = getattr(function, _MARK)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise HandlerError(
            f"{_qualified_name(function)}: expected a function that returns, got a generator"
        )
    parameters = list(inspect.signature(function).parameters.values())
    try:
        hints = typing.get_type_hints(function)
    except Exception as error:
        # Evaluating annotations may raise anything.
        name = _qualified_name(function)
        raise HandlerError(f"cannot evaluate the annotations of {name}: {error}") from error
    context = [p for p in parameters if hints.get(p.name) is JobContext or p.name == "context"]
    others = [p for p in parameters if p not in context]
    if len(others) > 1 and any(p.default is p.empty for p in others[1:]):
        raise HandlerError(
            f"{_qualified_name(function)}: expected the parameters payload and, optionally, "
            f"context: JobContext, got {', '.join(p.name for p in parameters)}"
        )
    payload_type = hints.get(others[0].name, Any) if others else None
    is_async = inspect.iscoroutinefunction(function)
    return Handler(options, function, payload_type, bool(context), is_async)


def _qualified_name(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{getattr(function, '__qualname__', function)}"
