"""How verdicts put amounts and lists into words. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from bananas_topology.units import format_duration

#: Names listed in one verdict.
_SHOWN = 5


def size(size_bytes: float) -> str:
    """An amount of memory or disk, approximately.

    >>> size(1_000), size(80_772 * 2**20)
    ('0.0 MiB', '78.9 GiB')
    """
    if size_bytes < 2**30:
        return f"{size_bytes / 2**20:,.1f} MiB"
    return f"{size_bytes / 2**30:,.1f} GiB"


def seconds(amount: float) -> str:
    """A time in whole seconds.

    >>> seconds(90.4)
    '1m30s'
    """
    return format_duration(max(0, round(amount)) * 1000)


def listing(names: Sequence[str]) -> str:
    """Names, the first few of them if there are many.

    >>> listing(["a", "b"]), listing(list("abcdefg"))
    ('a, b', 'a, b, c, d, e and 2 more')
    """
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
