"""Imports handler modules and collects the handlers that belong to them."""

from __future__ import annotations

import importlib
import logging
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FunctionType
from typing import Any

from bananas_topology.errors import HandlerError
from bananas_topology.handler_signatures import enclosed, qualified_name, read_handler
from bananas_topology.handlers import Handler, Registration, registrations
from bananas_topology.system.import_path import shadowing_file

log = logging.getLogger(__name__)


def load_handlers(modules: tuple[str, ...]) -> Mapping[str, Handler]:
    """Import the modules and collect their handlers by job type.

    Those of a module are the functions that were decorated with `@job` while it was imported, and
    those that it has imported by name.

    Raises:
        HandlerError: a module cannot be imported or has no handler, a handler is not valid, or two
            functions handle the same job type.
    """
    functions: dict[str, tuple[Registration, Callable[..., Any]]] = {}
    before = len(registrations)
    for name in modules:
        found = _registered_in(_import(name))
        if not found:
            raise HandlerError(
                f"module {name} has no handlers: mark its functions with @job{_shadowing(name)}"
            )
        for registration, function in found:
            job_type = registration.options.job_type
            other = functions.setdefault(job_type, (registration, function))[0]
            if other.function is not registration.function:
                raise HandlerError(
                    f'job type "{job_type}" has two handlers: {qualified_name(other.function)} '
                    f"and {qualified_name(registration.function)}"
                )
    used = {id(registration) for registration, _ in functions.values()}
    if ignored := [each for each in registrations[before:] if id(each) not in used]:
        names = sorted({qualified_name(each.function) for each in ignored})
        log.info("handlers of other modules ignored", extra={"handlers": ",".join(names)})
    return {
        job_type: read_handler(registration.options, function, registration.scope)
        for job_type, (registration, function) in functions.items()
    }


def _import(name: str) -> Mapping[str, Any]:
    try:
        return vars(importlib.import_module(name))
    except BaseException as error:
        # A user's module may raise anything on import; whatever it is, the user must fix it.
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and f"{name}.".startswith(f"{missing}."):
            raise HandlerError(_not_found(missing)) from error
        source = error.name if isinstance(error, ImportError) else None
        reason = f"{type(error).__name__}: {error}{_user_line(error)}{_shadowing(source or name)}"
        raise HandlerError(f"cannot import module {name}: {reason}") from error


def _registered_in(module: Mapping[str, Any]) -> list[tuple[Registration, Callable[..., Any]]]:
    """The registrations that belong to a module, each with the function to run."""
    # Compared by identity: a lazy object in the module must not be touched.
    members = {id(value) for value in module.values()}
    found = []
    for registration in registrations:
        function = _outermost(registration)
        if registration.module is module or id(function) in members:
            found.append((registration, function))
    return found


def _outermost(registration: Registration) -> Callable[..., Any]:
    """The function with the decorators that stand above `@job`, where they can be recognized."""
    function = registration.function
    name: str = getattr(function, "__qualname__", "")
    if "<locals>" in name:
        candidates = [value for value in registration.module.values() if _is_wrapper(value)]
    else:
        candidates = [_member(registration.module, name)]
    return next((each for each in candidates if _wraps(each, function)), function)


def _is_wrapper(value: Any) -> bool:
    return type(value) is FunctionType and hasattr(value, "__wrapped__")


def _member(module: Mapping[str, Any], name: str) -> Any:
    first, *rest = name.split(".")
    value = module.get(first)
    for attribute in rest:
        value = getattr(value, attribute, None)
    return value


def _wraps(outer: Any, inner: Callable[..., Any], depth: int = 10) -> bool:
    """Whether `outer` is `inner` in decorators, with or without functools.wraps."""
    if outer is inner:
        return True
    if depth == 0 or not callable(outer) or isinstance(outer, type):
        return False
    if type(outer) is FunctionType and not hasattr(outer, "__wrapped__"):
        return any(_wraps(each, inner, depth - 1) for each in enclosed(outer))
    parts = [getattr(outer, name, None) for name in ("__wrapped__", "__func__", "func")]
    return any(_wraps(part, inner, depth - 1) for part in parts if part is not None)


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


def _shadowing(name: str) -> str:
    """A hint if the user has a module with the name of a standard library module."""
    path = shadowing_file(name)
    return f" ({path} has the name of a standard library module: rename it)" if path else ""


def _user_line(error: BaseException) -> str:
    """The innermost line of the user's code in a traceback; a SyntaxError names its own."""
    if isinstance(error, SyntaxError):
        return ""
    ours = ("<frozen", str(Path(__file__).parent))
    frames = traceback.extract_tb(error.__traceback__)
    users = [frame for frame in frames if not frame.filename.startswith(ours)]
    return f" ({users[-1].filename}, line {users[-1].lineno})" if users else ""
