"""Histograms of times whose buckets grow by a constant factor, so that all have the same precision.

As a list they have the counts of consecutive buckets, where -n stands for n empty ones. Halved
resolution, once per level, keeps a list short (lua/transitions/add_history.lua).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from math import log

#: The upper bound of the first bucket, in seconds, and the number of buckets; the last one is
#: unbounded, from 37 days on.
SMALLEST_S = 1e-4
BUCKETS = 128

#: A bucket's bounds differ by the square of this, so its middle is that close to all times in it.
PRECISION = 1.1

#: No middle is after that of a bucket which is all of them.
_LAST_MIDDLE = 2 * BUCKETS

_SCALE = 1 / log(PRECISION**2)


def bucket_of(seconds: float) -> int:
    """The bucket of a time, from 0.

    >>> [bucket_of(seconds) for seconds in (0.0, 0.0001, 0.00011, 0.001, 1.0, 1e9)]
    [0, 0, 1, 13, 49, 127]
    """
    if seconds <= SMALLEST_S:
        return 0
    return min(BUCKETS - 1, int(log(seconds / SMALLEST_S) * _SCALE) + 1)


def to_list(counts: Mapping[int, int]) -> list[int]:
    """A histogram, as counts by bucket, as a list.

    >>> to_list({5: 1, 3: 7})
    [-3, 7, -1, 1]
    """
    values: list[int] = []
    following = 0
    for bucket in sorted(counts):
        if bucket > following:
            values.append(following - bucket)
        values.append(counts[bucket])
        following = bucket + 1
    return values


class TimeCounts:
    """The sum of histograms of any level."""

    def __init__(self) -> None:
        # By twice the position of the middle of a bucket among those of level 0, so that buckets
        # of all levels have one.
        self._counts: defaultdict[int, int] = defaultdict(int)

    def add(self, histogram: Iterable[int], level: int) -> None:
        """Add a histogram in the form of a list."""
        step = 2 << level
        middle = (1 << level) - 1
        for count in histogram:
            if count < 0:
                middle -= count * step
            else:
                self._counts[middle] += count
                middle += step

    def update(self, other: TimeCounts) -> None:
        """Add another sum."""
        for middle, count in other._counts.items():
            self._counts[middle] += count

    def percentiles(self, percents: Iterable[int]) -> list[float] | None:
        """Return seconds; None if nothing was counted. Ascending percents only."""
        total = sum(self._counts.values())
        if not total:
            return None
        found: list[float] = []
        ascending = iter(sorted(self._counts.items()))
        reached, middle = 0, 0
        for percent in percents:
            while reached * 100 < total * percent:
                middle, count = next(ascending)
                reached += count
            found.append(SMALLEST_S * PRECISION ** (min(middle, _LAST_MIDDLE) - 1))
        return found
