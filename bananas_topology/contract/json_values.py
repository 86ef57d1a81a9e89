"""Which values of YAML have no representation in JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any


def paths_of_no_json(
    value: Any, path: tuple[str | int, ...] = ()
) -> Iterator[tuple[str | int, ...]]:
    """Yield the paths, below `path`, of numbers that JSON cannot represent.

    JSON has no infinity and no NaN, and its readers no integers of more than 64 bits.

    >>> list(paths_of_no_json({"a": [1, float("inf")], "b": 2**64}))
    [('a', 1), ('b',)]
    """
    is_infinite = isinstance(value, float) and not math.isfinite(value)
    if is_infinite or (isinstance(value, int) and not -(2**63) <= value < 2**64):
        yield path
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from paths_of_no_json(inner, (*path, name))
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from paths_of_no_json(inner, (*path, at))
