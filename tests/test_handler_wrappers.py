"""Handlers in decorators of others, which rarely use functools.wraps."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bananas_topology import JobContext
from bananas_topology.errors import HandlerError
from bananas_topology.handler_modules import load_handlers
from bananas_topology.handlers import Handler

DECORATORS = """
import functools

def plain(function):
    def wrapper(*args, **kwargs):
        return ["plain", function(*args, **kwargs)]
    return wrapper

def twice(function):
    return plain(plain(function))

def positional(function):
    def wrapper(*args):
        return ["positional", function(*args)]
    return wrapper

def with_payload(function):
    def wrapper(event, *args, **kwargs):
        return ["with_payload", function(event, *args, **kwargs)]
    return wrapper

def on_error(callback):
    def decorator(function):
        def wrapper(*args, **kwargs):
            try:
                return ["on_error", function(*args, **kwargs)]
            except ZeroDivisionError as error:
                callback(error)
        return wrapper
    return decorator

def by_default(function):
    def wrapper(*args, _function=function, **kwargs):
        return ["by_default", _function(*args, **kwargs)]
    return wrapper

def in_a_dict(function):
    functions = {"run": function}
    def wrapper(*args, **kwargs):
        return ["in_a_dict", functions["run"](*args, **kwargs)]
    return wrapper

def recursive(function):
    def wrapper(*args, **kwargs):
        return ["recursive", function(*args, **kwargs)] if wrapper else None
    return wrapper

class Timed:
    def __init__(self, function):
        self.function = function
    def __call__(self, *args, **kwargs):
        return ["Timed", self.function(*args, **kwargs)]

class Slotted:
    __slots__ = ("function",)
    def __init__(self, function):
        self.function = function
    def __call__(self, *args, **kwargs):
        return ["Slotted", self.function(*args, **kwargs)]

class Registry:
    def register(self, function):
        self.function = function
        return self.run
    def run(self, *args, **kwargs):
        return ["Registry", self.function(*args, **kwargs)]

class Lazy:
    def __call__(self): ...
    def __getattribute__(self, name):
        raise RuntimeError("Working outside of application context.")

def with_lazy(function, app=Lazy()):
    def wrapper(*args, **kwargs):
        return ["with_lazy", function(*args, **kwargs), app][:2]
    return wrapper

def injecting(function):
    @functools.wraps(function)
    def wrapper(payload):
        return ["injecting", function("session", payload)]
    return wrapper

def injecting_first(function):
    def wrapper(payload, **kwargs):
        return ["injecting_first", function("session", payload, **kwargs)]
    return wrapper

class AsyncTimed:
    def __init__(self, function):
        self.function = function
    async def __call__(self, *args, **kwargs):
        return await self.function(*args, **kwargs)
"""

#: In a module of its own: annotations as text mean nothing in that of the decorator.
HEAD = """
from __future__ import annotations

from dataclasses import dataclass

from made_decorators import *
from bananas_topology import JobContext, job


@dataclass
class Mail:
    to: int


def told(error): ...
"""

PASSING_ON = (
    "plain",
    "twice",
    "with_payload",
    "on_error(told)",
    "on_error(lambda: 1)",
    "by_default",
    "in_a_dict",
    "recursive",
    "Timed",
    "Slotted",
    "Registry().register",
    "with_lazy",
)


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "made_decorators.py").write_text(DECORATORS)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("made_")]:
        del sys.modules[name]


def _load(folder: Path, body: str) -> Handler:
    (folder / "made_jobs.py").write_text(HEAD + body)
    return load_handlers(("made_jobs",))["a"]


def _call(handler: Handler, payload: Any) -> Any:
    context = JobContext("7", "a", 1, 3, "w", 0.0, lambda: False)
    given = [] if handler.payload_type is None else [payload]
    return handler.function(*given, *([context] if handler.takes_context else []))


def _innermost(result: Any) -> Any:
    while isinstance(result, list):
        result = result[-1]
    return result


@pytest.mark.parametrize("order", ["@job('a')\n@{}\n", "@{}\n@job('a')\n"], ids=["below", "above"])
@pytest.mark.parametrize("decorator", PASSING_ON)
@pytest.mark.parametrize(
    "definition",
    [
        "def a(mail: Mail, context: JobContext): return type(context).__name__, mail",
        "def a(context, mail: Mail): return type(context).__name__, mail",
    ],
)
def test_a_decorator_without_wraps_passes_on_payload_and_context(
    modules: Path, order: str, decorator: str, definition: str
) -> None:
    handler = _load(modules, order.format(decorator) + definition)

    result = _call(handler, 5)

    assert _innermost(result) == ("JobContext", 5)
    assert result[0] == {"twice": "plain"}.get(name := decorator.split("(")[0], name).split(".")[0]
    assert handler.payload_type.__name__ == "Mail"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("@job('a')\n@plain\ndef a(*, payload, context): return payload", 5),
        ("@job('a')\n@plain\ndef a(): return 'none'", "none"),
        ("@job('a')\n@positional\ndef a(context, payload): return payload", 5),
        ("@job('a')\n@injecting\ndef a(session, payload): return session, payload", ("session", 5)),
        (
            "@job('a')\n@injecting_first\ndef a(session, payload): return session, payload",
            ("session", 5),
        ),
        (
            "class Jobs:\n  @plain\n  def a(self, payload, context): return payload\n"
            "job('a')(Jobs().a)",
            5,
        ),
        (
            "class Jobs:\n  @plain\n  def __call__(self, payload, context): return payload\n"
            "job('a')(Jobs())",
            5,
        ),
        (
            "class Jobs:\n  def __call__(self, m: Mail, c: JobContext): return m\njob('a')(Jobs())",
            5,
        ),
        ("import functools\njob('a')(functools.partial(plain(lambda n, payload: payload), 1))", 5),
    ],
)
def test_a_wrapper_is_called_as_what_it_wraps_is_written(
    modules: Path, body: str, expected: Any
) -> None:
    assert _innermost(_call(_load(modules, body), 5)) == expected


@pytest.mark.parametrize("order", ["@job('a')\n@{}\n", "@{}\n@job('a')\n"], ids=["below", "above"])
@pytest.mark.parametrize("decorator", ["plain", "Timed", "AsyncTimed", "Registry().register"])
def test_an_async_function_is_noticed_in_any_decorator(
    modules: Path, order: str, decorator: str
) -> None:
    handler = _load(modules, order.format(decorator) + "async def a(payload): return payload")

    assert handler.may_be_async
    assert handler.is_async == (decorator == "AsyncTimed")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "@job('a')\n@positional\ndef a(*, payload): ...",
            'made_decorators.positional.<locals>.wrapper for "a": its decorator does not pass on '
            '"payload": write its wrapper with *args and **kwargs',
        ),
        (
            "def make():\n  def other(x): ...\n  @job('a')\n  @on_error(other)\n"
            "  def a(payload, context): ...\nmake()",
            "cannot tell which function its decorator calls: write the decorator with",
        ),
        ("@job('a')\n@Timed\ndef a(x, y): ...", "made_decorators.Timed: expected the parameters"),
        ("class Jobs:\n  @job('a')\n  def a(self): ...", "got self; a method needs @staticmethod"),
        ("class Jobs:\n  @job('a')\n  def a(self, context): ...", "got self, context; a method"),
    ],
)
def test_a_wrapper_that_no_job_could_run_in_is_refused(
    modules: Path, body: str, message: str
) -> None:
    with pytest.raises(HandlerError) as caught:
        _load(modules, body)

    assert message in str(caught.value)
