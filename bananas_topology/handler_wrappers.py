"""What decorators make of functions: wrappers, which say what they wrap or only refer to it.

A wrapper made with functools.wraps has ``__wrapped__``. Any other one holds the function: in its
closure, a default, an attribute of the object that it is or belongs to, or a container there.

Objects are told apart by their type alone: an attribute of a lazy object may raise anything.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from functools import partial
from types import FunctionType, MethodType
from typing import Any

#: How deep to search for a function, and in how many callables.
_MAX_DEPTH = 10
_MAX_SEARCHED = 1000


def callees(wrapper: Any) -> list[Any]:
    """The callables that a wrapper may call: what it says that it wraps, or all it refers to."""
    wrapped = _attribute(wrapper, "__wrapped__")
    if wrapped is not None:
        return [wrapped]
    return [each for each in _referred_to(wrapper) if _is_of_users(each)]


def leads_to(outer: Any, is_meant: Callable[[Any], bool]) -> bool:
    """Whether a callable is what is meant, or wraps it, in any number of wrappers."""
    searched: set[int] = set()
    level = [outer]
    for _ in range(_MAX_DEPTH):
        if any(is_meant(function_of(each)) for each in level):
            return True
        searched.update(map(id, level))
        if len(searched) > _MAX_SEARCHED:
            break
        level = [inner for each in level for inner in callees(each) if id(inner) not in searched]
    return False


def function_of(value: Any) -> Any:
    """The function of a method; anything else as it is."""
    return value.__func__ if type(value) in (MethodType, staticmethod) else value


def _is_of_users(value: Any) -> bool:
    """Whether it is a callable that is written in Python, or wraps one."""
    kind = type(value)
    if not callable(value) or issubclass(kind, type):
        return False
    if kind in (FunctionType, MethodType, partial):
        return True
    if inspect.getattr_static(value, "__wrapped__", None) is not None:
        return True
    return type(inspect.getattr_static(kind, "__call__", None)) is FunctionType


def _referred_to(wrapper: Any) -> Iterator[Any]:
    """The values that a callable refers to, and what is in containers among them."""
    for value in _held(wrapper):
        yield value
        if issubclass(type(value), list | tuple | set | frozenset):
            yield from value
        elif issubclass(type(value), dict):
            yield from value.values()


def _held(wrapper: Any) -> Iterator[Any]:
    kind = type(wrapper)
    if kind is FunctionType:
        yield from _closure(wrapper)
        yield from wrapper.__defaults__ or ()
        yield from (wrapper.__kwdefaults__ or {}).values()
    elif kind is partial:
        yield from (wrapper.func, *wrapper.args, *wrapper.keywords.values())
    elif kind is MethodType:
        yield from _held_by_method(wrapper.__func__, wrapper.__self__)
    else:
        yield from _held_by_method(inspect.getattr_static(kind, "__call__", None), wrapper)


def _held_by_method(function: Any, owner: Any) -> Iterator[Any]:
    yield from _attributes(owner)
    for value in _closure(function):
        yield MethodType(value, owner) if type(value) is FunctionType else value


def _closure(function: Any) -> Iterator[Any]:
    for cell in getattr(function, "__closure__", None) or ():
        try:
            yield cell.cell_contents
        except ValueError:
            continue  # not set yet


def _attributes(value: Any) -> Iterator[Any]:
    """What an object has in attributes of its own."""
    own: Any = _attribute(value, "__dict__", object.__getattribute__)
    yield from () if own is None else own.values()
    for cls in type(value).__mro__:
        slots = vars(cls).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            yield _attribute(value, name)


def _attribute(value: Any, name: str, get: Callable[[Any, str], Any] = getattr) -> Any:
    """An attribute; None if there is none, or the object is lazy and not ready."""
    try:
        return get(value, name)
    except Exception:
        return None
