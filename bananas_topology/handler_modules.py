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
from bananas_topology.handler_signatures import member, qualified_name, read_handler
from bananas_topology.handler_wrappers import leads_to
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
                f"module {name} has no handlers: {_where_handlers_are(name, before)}"
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
        job_type: read_handler(registration, function)
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
        candidates = [member(registration.module, name)]
    return next((each for each in candidates if _is_or_wraps(each, function)), function)


def _is_wrapper(value: Any) -> bool:
    return type(value) is FunctionType and hasattr(value, "__wrapped__")


def _is_or_wraps(value: Any, function: Callable[..., Any]) -> bool:
    return leads_to(value, lambda each: each is function)


def _where_handlers_are(name: str, before: int) -> str:
    """What to do about a module without handlers, such as a package whose modules have them."""
    others = sorted({str(each.module.get("__name__")) for each in registrations[before:]})
    if others:
        names = ", ".join(others)
        return f"it imports those of {names}: name these instead, or import their functions by name"
    return f"mark its functions with @job{_shadowing(name)}"


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
    """A hint if the user has a module with the name of one of Python's or of a library."""
    path = shadowing_file(name)
    kind = (
        "a standard library"
        if name.partition(".")[0] in sys.stdlib_module_names
        else "an installed"
    )
    return f" ({path} has the name of {kind} module: rename it)" if path else ""


def _user_line(error: BaseException) -> str:
    """The innermost line of the user's code in a traceback; a SyntaxError names its own."""
    if isinstance(error, SyntaxError):
        return ""
    ours = ("<frozen", str(Path(__file__).parent))
    frames = traceback.extract_tb(error.__traceback__)
    users = [frame for frame in frames if not frame.filename.startswith(ours)]
    return f" ({users[-1].filename}, line {users[-1].lineno})" if users else ""
