"""How a handler takes its payload and its context, read from its signature.

Whatever a handler looks like, it is either accepted here, when its worker starts, or refused with a
HandlerError: a signature must not make each of its jobs fail.
"""

from __future__ import annotations

import inspect
import logging
import re
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from inspect import Parameter, Signature
from types import FunctionType, MethodType, SimpleNamespace
from typing import Any

from bananas_topology.errors import HandlerError
from bananas_topology.handler_wrappers import callees, function_of, leads_to
from bananas_topology.handlers import Handler, JobContext, Registration
from bananas_topology.type_checking_names import OnlyForTypeChecking, define_name

_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_KEYWORD = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
_VARIABLE = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
_OF_METHODS = ("self", "cls")

#: How many wrappers a function may have, one around the other.
_MAX_WRAPPERS = 10

#: Makes the parameters of a handler of those of a function that it calls.
Fit = Callable[[list[Parameter]], list[Parameter]]

log = logging.getLogger(__name__)


def read_handler(registration: Registration, function: Callable[..., Any]) -> Handler:
    """The handler that a function is: the registered one, or that in further decorators.

    Raises:
        HandlerError: it cannot be called with a payload and a context alone, or its annotations
            cannot be evaluated.
    """
    name = qualified_name(function)
    if "<locals>" in name:  # one of many that a function makes
        name = f'{name} for "{registration.options.job_type}"'
    innermost = inspect.unwrap(function)
    if inspect.isgeneratorfunction(innermost) or inspect.isasyncgenfunction(innermost):
        raise HandlerError(f"{name}: expected a function that returns, got a generator")
    reader = _Reader(name, registration, function)
    found = reader.read(function)
    call = reader.call(found)
    payload_type = reader.annotations(found).payload_type(call.payload) if call.payload else None
    return Handler(
        options=registration.options,
        name=name,
        function=_adapted(function, call),
        payload_type=payload_type,
        takes_context=call.context is not None,
        is_async=_is_async(function),
        may_be_async=leads_to(function, _is_async),
    )


def qualified_name(function: Callable[..., Any]) -> str:
    """The name of a function for messages; of an object, that of its class."""
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


def member(module: Mapping[str, Any], name: str) -> Any:
    """What a qualified name stands for in a module; None if nothing."""
    first, *rest = name.split(".")
    value = module.get(first)
    for attribute in rest:
        value = getattr(value, attribute, None)
    return value


def _is_async(function: Any) -> bool:
    """Whether a call only makes a coroutine. A wrapper may also run one: its result tells."""
    function = function_of(function)
    method = inspect.getattr_static(function, "__call__", None)
    try:
        return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(method)
    except Exception:
        return False  # a lazy object that is not ready


@dataclass(frozen=True, slots=True)
class _Call:
    """How to call a handler: the parameters for payload and context, and how each is passed."""

    payload: Parameter | None
    context: Parameter | None
    positional: tuple[Parameter, ...]
    keywords: tuple[Parameter, ...]

    @property
    def form(self) -> tuple[object, ...]:
        """What distinguishes it from other calls. Names only matter where they are passed."""
        order = [each is self.payload for each in self.positional]
        names = [(each.name, each is self.payload) for each in self.keywords]
        return (order, names, self.payload and self.payload.annotation)


@dataclass(frozen=True, slots=True)
class _Found:
    """Parameters, and the function that declares them."""

    parameters: list[Parameter]
    function: Any

    @property
    def has_own(self) -> bool:
        """Whether there are others than ``*args`` and ``**kwargs``."""
        return any(each.kind not in _VARIABLE for each in self.parameters)

    @property
    def has_rest(self) -> bool:
        """Whether there is ``*args`` or ``**kwargs``."""
        return any(each.kind in _VARIABLE for each in self.parameters)


class _Reader:
    """Reads the parameters of a handler, also through decorators that pass its arguments on.

    A wrapper with ``*args`` or ``**kwargs`` does not say itself which arguments it takes.
    """

    def __init__(self, name: str, registration: Registration, handler: Callable[..., Any]) -> None:
        self._name = name
        self._registration = registration
        self._handler = handler
        self._wrappers: list[Any] = []

    def read(self, function: Any, fit: Fit = list) -> _Found:
        """Find the parameters of a callable; `fit` makes those of the handler of them.

        Raises:
            HandlerError: they cannot be read, or what a wrapper calls cannot be a handler.
        """
        if type(function) is partial:
            return self.read(function.func, lambda each: fit(_unbound(each, function)))
        if type(function) is staticmethod:
            return self.read(function.__func__, fit)
        own = _own_parameters(function)
        if own is not None and not own.has_rest:
            return _Found(fit(own.parameters), own.function)
        self._wrappers.append(function_of(function))
        try:
            return self._passed_on(function, own, fit)
        finally:
            self._wrappers.pop()

    def call(self, found: _Found) -> _Call:
        """Decide how to call a function.

        Raises:
            HandlerError: it takes more than a payload and a context.
        """
        return _read_call(self._name, found.parameters, self.annotations(found))

    def annotations(self, found: _Found) -> _Annotations:
        """The annotations of a function's parameters."""
        return _Annotations(self._name, found.function, self._registration.scope)

    def _passed_on(self, wrapper: Any, own: _Found | None, fit: Fit) -> _Found:
        """The parameters of what a wrapper calls; its own if it calls nothing that is known."""
        called = [] if len(self._wrappers) > _MAX_WRAPPERS else callees(wrapper)
        called = [each for each in called if not self._is_inside(each)]
        meant = [each for each in called if leads_to(each, self._is_meant)]
        found: list[tuple[_Found, _Call]] = []
        refusals: list[HandlerError] = []
        for each in meant or called:
            try:
                inner = self.read(each, lambda read: fit(_let_through(self._name, own, read)))
                found.append((inner, self.call(inner)))
            except HandlerError as error:
                refusals.append(error)
        found = [each for each in found if each[1].payload is not None] or found
        if any(call.form != found[0][1].form for _, call in found):
            raise HandlerError(
                f"{self._name}: cannot tell which function its decorator calls: "
                "write the decorator with functools.wraps"
            )
        if found:
            return found[0][0]
        if own is None or (refusals and not own.has_own):
            raise next(iter(refusals), HandlerError(f"{self._name}: cannot read its parameters"))
        return _Found(fit(own.parameters), own.function)

    def _is_inside(self, function: Any) -> bool:
        """Whether it is one of the wrappers that are being read, which may refer to itself."""
        return any(function_of(function) is each for each in self._wrappers)

    def _is_meant(self, function: Any) -> bool:
        """Whether a function is the one that was decorated."""
        if function is self._registration.function:
            return True
        if type(function) is not FunctionType:
            return False
        return member(self._registration.module, function.__qualname__) is self._handler


def _own_parameters(function: Any) -> _Found | None:
    """The parameters that a callable declares itself, if that can be told."""
    try:
        is_wrapper = type(function) is not MethodType and hasattr(function, "__wrapped__")
        signature = inspect.signature(function, follow_wrapped=not is_wrapper)
    except Exception:
        return None  # written in C, or a lazy object that is not ready
    return _Found(list(signature.parameters.values()), function)


def _let_through(name: str, own: _Found | None, inner: list[Parameter]) -> list[Parameter]:
    """The parameters of what a wrapper calls, as the wrapper's `own` ones can pass them on.

    Raises:
        HandlerError: they cannot pass one on.
    """
    if own is None:
        return inner
    kinds = [each.kind for each in own.parameters]
    places = sum(kind in _POSITIONAL for kind in kinds)
    passed = []
    for place, each in enumerate(inner):
        is_placed = place < places or Parameter.VAR_POSITIONAL in kinds
        by_place = each.kind in _POSITIONAL and is_placed
        by_name = each.kind in _KEYWORD and Parameter.VAR_KEYWORD in kinds
        if each.kind in _VARIABLE or (by_place and by_name):
            passed.append(each)
        elif by_place or by_name:
            kind = Parameter.POSITIONAL_ONLY if by_place else Parameter.KEYWORD_ONLY
            passed.append(each.replace(kind=kind))
        elif each.default is each.empty:
            raise HandlerError(
                f'{name}: its decorator does not pass on "{each.name}": write its wrapper with '
                "*args and **kwargs"
            )
    return passed


def _unbound(parameters: list[Parameter], bound: partial[Any]) -> list[Parameter]:
    """The parameters of a function that a partial leaves."""

    def function() -> None: ...

    # What `inspect.signature` reads first; functions are not typed to have it.
    function.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    rest = partial(function, *bound.args, **bound.keywords)
    return list(inspect.signature(rest).parameters.values())


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
    if payload is not None and payload.name in _OF_METHODS:
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
    if parameters[0].name in _OF_METHODS:
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
        declaring = _declaring(function)
        self._module: str = getattr(declaring, "__module__", "")
        self._globals: dict[str, Any] = getattr(declaring, "__globals__", {})
        self._scope = scope

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
        return JobContext in _alternatives(annotation)

    def payload_type(self, parameter: Parameter) -> Any:
        """The type to convert the payload to.

        Raises:
            HandlerError: the annotation cannot be evaluated.
        """
        if parameter.annotation is parameter.empty or parameter.kind in _VARIABLE:
            return Any
        try:
            return self._evaluate(parameter)
        except OnlyForTypeChecking as error:
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
                    holder, self._globals, dict(self._scope), include_extras=True
                )
            except NameError as error:
                if not define_name(self._module, error.name):
                    raise
            else:
                return hints[parameter.name]


def _declaring(function: Any) -> Any:
    """The function whose module has the names in the annotations of a callable."""
    function = inspect.unwrap(function)
    if hasattr(function, "__globals__"):
        return function
    return inspect.getattr_static(type(function), "__call__", None)


def _alternatives(annotation: Any) -> Iterator[Any]:
    """An annotation, and those in it that a value may have."""
    yield annotation
    for each in typing.get_args(annotation):
        yield from _alternatives(each)
