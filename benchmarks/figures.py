"""Statistics. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

#: The shares of the jobs at which a rate begins and ends: neither the start of the worker nor its
#: last few jobs count.
WARM = 0.05
COOL = 0.98


@dataclass(frozen=True)
class Sample:
    """The state at one moment: `processes` have run a job, `done` jobs have run."""

    at: float
    done: int
    processes: int


def median(values: Sequence[float]) -> float:
    """The middle value, or the mean of the two in the middle.

    >>> median([3, 1, 2]), median([4, 1, 2, 3])
    (2, 2.5)

    Raises:
        ValueError: there is no value.
    """
    if not values:
        raise ValueError("cannot take the median of no values")
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that `percent` of the values do not exceed.

    >>> percentile([1, 2, 3, 4], 50), percentile([1, 2, 3, 4], 99)
    (2, 4)

    Raises:
        ValueError: there is no value.
    """
    if not values:
        raise ValueError("cannot take a percentile of no values")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def rate(samples: Sequence[Sample], jobs: int, processes: int) -> float:
    """Jobs per second while all `processes` were at work; 0 if nothing has run.

    Between the first sample at which every process had run a job and `WARM` of the jobs were done,
    and the last one before `COOL` of them were. Both ends are samples, so the sampling interval
    does not matter.

    >>> rate([Sample(0, 0, 0), Sample(1, 10, 1), Sample(2, 50, 1), Sample(3, 90, 1)], 100, 1)
    40.0
    """
    warm = [each for each in samples if each.processes >= processes and each.done >= WARM * jobs]
    window = [each for each in warm if each.done <= COOL * jobs]
    if len(window) < 2:
        # It finished between two samples, or never got that far: use all samples.
        window = [each for each in samples if each.done > 0]
    if len(window) < 2:
        return 0.0
    first, last = window[0], window[-1]
    seconds = last.at - first.at
    return (last.done - first.done) / seconds if seconds > 0 else 0.0
