"""What a handler's author meets: `@job`, `JobContext`, `Retry`, `Bury`; and the import of handlers.

`@job` only marks the function, which stays an ordinary function to call and to test. There is no
global registry: `load_handlers` collects the marked functions from the modules it is told.
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

from bananas_topology.contract.worker import JOB_TYPE_PATTERN, MAX_RETRIES
from bananas_topology.errors import HandlerError
from bananas_topology.system.clock import monotonic
from bananas_topology.units import parse_duration_ms

_MARK = "__bananas_job__"
Function = TypeVar("Function", bound=Callable[..., Any])

#: A duration as a handler's author writes it: ``"1h30m"``, seconds, or a timedelta.
Duration = str | int | float | timedelta


class Retry(Exception):
    """Raise it in a handler to have the job run again later; it counts as an attempt.

    `delay` None: the usual backoff.

    Raises:
        ValueError: `delay` is not a duration, or negative.
    """

    def __init__(self, reason: str = "", *, delay: Duration | None = None) -> None:
        super().__init__(reason)
        self.delay_ms = None if delay is None else duration_ms(delay)


class Bury(Exception):
    """Raise it in a handler to have the job never run again; the dead keep it, with the reason."""


@dataclass(frozen=True, slots=True)
class JobContext:
    """What a handler may ask about the run it is in. `attempt` counts from 1."""

    job_id: str
    job_type: str
    attempt: int
    max_retries: int
    worker_id: str
    #: On `clock.monotonic`, in seconds.
    deadline: float
    _is_cancelled: Callable[[], bool] = field(repr=False)

    def remaining(self) -> float:
        """Seconds until `JobTimeout` is raised in this handler; 0 when it is due."""
        return max(0.0, self.deadline - monotonic())

    @property
    def cancelled(self) -> bool:
        """Whether the job timed out or was given up: what it still does counts for nothing."""
        return self._is_cancelled()


@dataclass(frozen=True, slots=True)
class JobOptions:
    """What `@job` was told; None leaves it to the topology or the pool."""

    job_type: str
    timeout_ms: int | None
    max_retries: int | None


@dataclass(frozen=True, slots=True)
class Handler:
    """A function that runs jobs of one type.

    `payload_type` is its annotation, None where it takes no payload at all.
    """

    options: JobOptions
    function: Callable[..., Any]
    payload_type: Any
    takes_context: bool
    is_async: bool = False


def job(
    job_type: str, *, timeout: Duration | None = None, max_retries: int | None = None
) -> Callable[[Function], Function]:
    """Mark a function as the handler of `job_type`.

    The function takes the payload and, if it asks for one, a `JobContext`. The topology's
    ``jobs:`` wins over `timeout` and `max_retries` given here, and these win over the pool's.

    Raises:
        HandlerError: a name, timeout or number of retries that cannot be.
    """
    if callable(job_type):
        told = getattr(job_type, "__name__", "name")
        raise HandlerError(f'@job stands on {told} without a name: expected @job("{told}")')
    if not re.fullmatch(JOB_TYPE_PATTERN, job_type):
        raise HandlerError(f"@job({job_type!r}): expected 1 to 200 characters, no comma or space")
    if max_retries is not None and not 0 <= max_retries <= MAX_RETRIES:
        raise HandlerError(f"@job({job_type!r}): expected max_retries from 0 to {MAX_RETRIES}")
    try:
        timeout_ms = None if timeout is None else duration_ms(timeout)
    except ValueError as error:
        raise HandlerError(f"@job({job_type!r}): timeout is {timeout!r}: {error}") from error
    if timeout_ms == 0:
        raise HandlerError(f"@job({job_type!r}): expected a timeout above 0")
    options = JobOptions(job_type, timeout_ms, max_retries)

    def mark(function: Function) -> Function:
        setattr(function, _MARK, options)
        return function

    return mark


def duration_ms(value: Duration) -> int:
    """Whole milliseconds of a duration as people give it: text, seconds or a timedelta.

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
        HandlerError: a module cannot be imported, holds no handler, or two functions claim the
            same job type.
    """
    handlers: dict[str, Handler] = {}
    for name in modules:
        found = _handlers_of(name)
        if not found:
            raise HandlerError(f"module {name} has no function marked with @job")
        for handler in found:
            job_type = handler.options.job_type
            other = handlers.setdefault(job_type, handler)
            if other.function is not handler.function:
                raise HandlerError(
                    f'two handlers for job type "{job_type}": '
                    f"{_place(other.function)} and {_place(handler.function)}"
                )
    return handlers


def _handlers_of(module_name: str) -> list[Handler]:
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        # A module of the user's may fail in any way at all; whatever it is, it is theirs to mend.
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and f"{module_name}.".startswith(f"{missing}."):
            raise HandlerError(_not_found(missing)) from error
        told = f"{type(error).__name__}: {error}{_line_of(error)}"
        raise HandlerError(f"module {module_name} cannot be imported: {told}") from error
    return [
        _handler(value)
        for value in vars(module).values()
        if isinstance(getattr(value, _MARK, None), JobOptions)
    ]


def _not_found(name: str) -> str:
    """Say that a module is not there, and which one may have been meant."""
    import difflib
    import pkgutil

    where = sys.path[0] or "."
    told = f"no module named {name} (looked in {where} first)"
    if name.endswith(".py"):
        module = name.removesuffix(".py").replace("/", ".")
        return f"{told}; expected the module's name, without .py: {module}"
    beside = [module.name for module in pkgutil.iter_modules([where])]
    near = difflib.get_close_matches(name, beside, n=1)
    return told + (f"; did you mean {near[0]}?" if near else "")


def _line_of(error: BaseException) -> str:
    """The line of the user's that failed last; a SyntaxError says its own."""
    if isinstance(error, SyntaxError):
        return ""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [each for each in frames if not each.filename.startswith(("<frozen", __file__))]
    return f" ({theirs[-1].filename}, line {theirs[-1].lineno})" if theirs else ""


def _handler(function: Callable[..., Any]) -> Handler:
    options: JobOptions = getattr(function, _MARK)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise HandlerError(f"{_place(function)} yields: expected a function that returns")
    parameters = list(inspect.signature(function).parameters.values())
    try:
        hints = typing.get_type_hints(function)
    except Exception as error:
        # Annotations are evaluated here, and may name anything.
        raise HandlerError(f"annotations of {_place(function)}: {error}") from error
    context = [p for p in parameters if hints.get(p.name) is JobContext or p.name == "context"]
    others = [p for p in parameters if p not in context]
    if len(others) > 1 and any(p.default is p.empty for p in others[1:]):
        raise HandlerError(
            f"{_place(function)} takes {', '.join(p.name for p in parameters)}: "
            "expected a payload and, if wanted, a JobContext"
        )
    payload_type = hints.get(others[0].name, Any) if others else None
    is_async = inspect.iscoroutinefunction(function)
    return Handler(options, function, payload_type, bool(context), is_async)


def _place(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{getattr(function, '__qualname__', function)}"
