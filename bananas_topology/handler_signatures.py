"""How a handler takes its payload and its context, read from its signature.

Whatever a handler looks like, it is either accepted here, when its worker starts, or refused with a
HandlerError: a signature must not make each of its jobs fail.
"""

from __future__ import annotations

import ast
import inspect
import logging
import re
import sys
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from inspect import Parameter
from types import FunctionType, SimpleNamespace
from typing import Any

from bananas_topology.errors import HandlerError
from bananas_topology.handlers import Handler, JobContext, JobOptions

_KEYWORD = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
_VARIABLE = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)

log = logging.getLogger(__name__)


def read_handler(
    options: JobOptions, function: Callable[..., Any], scope: Mapping[str, Any]
) -> Handler:
    """The handler that a function is. `scope` has names that its annotations may use.

    Raises:
        HandlerError: it cannot be called with a payload and a context alone, or its annotations
            cannot be evaluated.
    """
    name = qualified_name(function)
    innermost = inspect.unwrap(function)
    if inspect.isgeneratorfunction(innermost) or inspect.isasyncgenfunction(innermost):
        raise HandlerError(f"{name}: expected a function that returns, got a generator")
    annotations = _Annotations(name, innermost, scope)
    call = _read_call(name, _parameters(name, function), annotations)
    payload_type = annotations.payload_type(call.payload) if call.payload else None
    return Handler(
        options=options,
        name=name,
        function=_adapted(function, call),
        payload_type=payload_type,
        takes_context=call.context is not None,
        is_async=_is_async(function),
        may_be_async=any(map(_is_async, (function, innermost, *enclosed(function)))),
    )


def qualified_name(function: Callable[..., Any]) -> str:
    """The name of a function for messages."""
    return f"{function.__module__}.{getattr(function, '__qualname__', function)}"


def _is_async(function: Any) -> bool:
    """Whether a call only makes a coroutine. A wrapper may also run one: its result tells."""
    function = getattr(function, "__func__", function)
    if inspect.iscoroutinefunction(function):
        return True
    return inspect.iscoroutinefunction(inspect.getattr_static(function, "__call__", None))


@dataclass(frozen=True, slots=True)
class _Call:
    """How to call a handler: the parameters for payload and context, and how each is passed."""

    payload: Parameter | None
    context: Parameter | None
    positional: tuple[Parameter, ...]
    keywords: tuple[Parameter, ...]


def _parameters(name: str, function: Callable[..., Any]) -> list[Parameter]:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError) as error:
        raise HandlerError(f"{name}: cannot read its parameters: {error}") from error
    if parameters and all(parameter.kind in _VARIABLE for parameter in parameters):
        # A decorator without functools.wraps, which passes on what it gets to what it decorates.
        inner = [each for each in enclosed(function) if type(each) is FunctionType]
        if len(inner) == 1 and len(parameters) == len(_VARIABLE):
            return list(inspect.signature(inner[0]).parameters.values())
    return parameters


def enclosed(function: Callable[..., Any]) -> list[Any]:
    """The values that a function closes over, those that are set."""
    values = []
    for cell in getattr(function, "__closure__", None) or ():
        try:
            values.append(cell.cell_contents)
        except ValueError:
            continue
    return values


def _read_call(name: str, parameters: list[Parameter], annotations: _Annotations) -> _Call:
    contexts = [p for p in parameters if p.kind not in _VARIABLE and annotations.is_context(p)]
    others = [p for p in parameters if p not in contexts and p.kind not in _VARIABLE]
    required = [p for p in others if p.default is p.empty]
    rest = next((p for p in parameters if p.kind is p.VAR_POSITIONAL), None)
    if len(required) > 1 or len(contexts) > 1:
        raise _refusal(name, parameters)
    named = [p for p in others if p.name == "payload" or p.kind is not p.KEYWORD_ONLY]
    payload = next(iter(required or sorted(named, key=lambda p: p.name != "payload")), rest)
    context = next(iter(contexts), None)
    if payload is None and any(p.kind is p.VAR_KEYWORD for p in parameters):
        raise _refusal(name, parameters)
    positional: list[Parameter] = []
    keywords: list[Parameter] = []
    is_gap = False
    for parameter in parameters:
        if parameter not in (payload, context):
            is_gap |= parameter.kind not in (*_VARIABLE, Parameter.KEYWORD_ONLY)
        elif not is_gap and parameter.kind is not Parameter.KEYWORD_ONLY:
            positional.append(parameter)
        elif parameter.kind in _KEYWORD:
            keywords.append(parameter)
        else:
            raise _refusal(name, parameters)
    return _Call(payload, context, tuple(positional), tuple(keywords))


def _refusal(name: str, parameters: list[Parameter]) -> HandlerError:
    names = ", ".join(
        str(parameter).partition(":")[0].partition("=")[0] for parameter in parameters
    )
    hint = ""
    if parameters[0].name in ("self", "cls"):
        hint = "; a method needs @staticmethod above @job"
    return HandlerError(
        f"{name}: expected the parameters payload and, optionally, context: JobContext, "
        f"got {names}{hint}"
    )


def _adapted(function: Callable[..., Any], call: _Call) -> Callable[..., Any]:
    """The function, taking the payload first and then the context, those of them that it takes."""
    given = [each for each in (call.payload, call.context) if each is not None]
    if not call.keywords and list(call.positional) == given:
        return function
    positional = [given.index(each) for each in call.positional]
    keywords = {each.name: given.index(each) for each in call.keywords}

    def adapted(*values: Any) -> Any:
        named = {name: values[at] for name, at in keywords.items()}
        return function(*[values[at] for at in positional], **named)

    return adapted


class _Annotations:
    """Evaluates the annotations of a function's parameters, and only those that matter."""

    def __init__(self, name: str, function: Callable[..., Any], scope: Mapping[str, Any]) -> None:
        self._name = name
        self._module: str = getattr(function, "__module__", "")
        function = getattr(function, "func", function)
        self._globals: dict[str, Any] = getattr(function, "__globals__", {})
        self._scope = dict(scope)

    def is_context(self, parameter: Parameter) -> bool:
        """Whether a parameter is for the context: by its annotation, or by its name without one."""
        is_named = parameter.name == "context"
        if parameter.annotation is parameter.empty:
            return is_named
        try:
            annotation = self._evaluate(parameter)
        except Exception:
            # Evaluating may raise anything; of JobContext the name says enough.
            return bool(re.search(r"\bJobContext\b", str(parameter.annotation)))
        if annotation in (Any, object):
            return is_named
        return JobContext in (annotation, *typing.get_args(annotation))

    def payload_type(self, parameter: Parameter) -> Any:
        """The type to convert the payload to.

        Raises:
            HandlerError: the annotation cannot be evaluated.
        """
        if parameter.annotation is parameter.empty or parameter.kind in _VARIABLE:
            return Any
        try:
            return self._evaluate(parameter)
        except _OnlyForTypeChecking as error:
            log.warning(
                "payloads not converted: their type cannot be imported",
                extra={"handler": self._name, "reason": str(error)},
            )
            return Any
        except Exception as error:
            message = f"cannot evaluate the annotations of {self._name}: {error}"
            raise HandlerError(message) from error

    def _evaluate(self, parameter: Parameter) -> Any:
        holder = SimpleNamespace(__annotations__={parameter.name: parameter.annotation})
        while True:
            try:
                hints = typing.get_type_hints(
                    holder, self._globals, self._scope, include_extras=True
                )
            except NameError as error:
                name = error.name or ""
                if name in self._scope or not self._import_for_type_checking(name):
                    raise
            else:
                return hints[parameter.name]

    def _import_for_type_checking(self, name: str) -> bool:
        """Import a name that the module imports under ``if TYPE_CHECKING:`` only, if it does.

        Raises:
            _OnlyForTypeChecking: the import fails.
        """
        for statement in _type_checking_imports(self._module):
            if name in [each.asname or each.name.partition(".")[0] for each in statement.names]:
                namespace = {key: self._globals.get(key) for key in ("__name__", "__package__")}
                try:
                    exec(compile(ast.Module([statement], []), self._module, "exec"), namespace)
                except Exception as error:
                    raise _OnlyForTypeChecking(f"{type(error).__name__}: {error}") from error
                self._scope[name] = namespace[name]
                return True
        return False


class _OnlyForTypeChecking(Exception):
    """A name is imported for type checkers only, and cannot be imported now."""


def _type_checking_imports(module: str) -> Iterator[ast.Import | ast.ImportFrom]:
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (KeyError, OSError, TypeError, SyntaxError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            for statement in ast.walk(node):
                if isinstance(statement, ast.Import | ast.ImportFrom):
                    yield statement
