"""The order in which Python looks for modules.

`python -m` looks in the working directory first, which has a user's modules. One called like a
module of the standard library (``email.py``) or of a library of ours (``redis.py``) would be
imported in its place by these themselves and by whatever uses it, which then fails far from the
cause.

Imports only what `python -m` itself has imported before any code of ours runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_STANDARD_LIBRARY = os.path.dirname(os.__file__)

# Where this package is; with `pip install --target`, its libraries are beside it.
_OWN = os.path.abspath(f"{__file__}/../../..")


@contextmanager
def installed_first() -> Iterator[None]:
    """Import from the standard library first, then from installed packages, then as usual."""
    before = sys.path[:]
    sys.path.sort(key=lambda entry: (not is_standard(entry), not _has_packages(entry)))
    try:
        yield
    finally:
        sys.path[:] = before


def is_standard(directory: str) -> bool:
    """Whether an entry of `sys.path` belongs to the standard library, not to what is installed."""
    inside = f"{directory}{os.sep}".startswith(f"{_STANDARD_LIBRARY}{os.sep}")
    return inside and not _has_packages(directory)


def shadowing_file(name: str) -> str:
    """The user's file called like a module that is used in its place; empty if there is none."""
    top = name.partition(".")[0]
    used = getattr(sys.modules.get(top), "__file__", None) or ""
    if top not in sys.stdlib_module_names and not _has_packages(used):
        return ""
    for directory in sys.path:
        if is_standard(directory) or _has_packages(directory):
            continue
        for path in (f"{top}.py", os.path.join(top, "__init__.py")):
            if os.path.isfile(found := os.path.join(directory, path)):
                return found
    return ""


def _has_packages(path: str) -> bool:
    """Whether a path is one of installed packages."""
    return "-packages" in path or path == _OWN
