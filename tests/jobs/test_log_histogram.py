from __future__ import annotations

import random

import pytest

from bananas_topology.jobs.log_histogram import (
    BUCKETS,
    PRECISION,
    SMALLEST_S,
    TimeCounts,
    bucket_of,
    to_list,
)


def _sum(times: list[float], level: int = 0) -> TimeCounts:
    """The sum of a histogram of these times at a level."""
    counts: dict[int, int] = {}
    for time in times:
        bucket = bucket_of(time) >> level
        counts[bucket] = counts.get(bucket, 0) + 1
    found = TimeCounts()
    found.add(to_list(counts), level)
    return found


@pytest.mark.parametrize("seconds", [SMALLEST_S, 0.00033, 0.001, 0.0271, 1.0, 47.11, 3600.0, 2.5e6])
def test_a_time_is_known_to_within_ten_percent(seconds: float) -> None:
    [middle] = _sum([seconds]).percentiles([50]) or []

    assert seconds / PRECISION <= middle * 1.000001
    assert middle <= seconds * PRECISION * 1.000001


def test_times_beyond_the_bounds_are_in_the_first_and_last_bucket() -> None:
    assert bucket_of(0.0) == bucket_of(1e-9) == 0
    assert bucket_of(1e12) == BUCKETS - 1


def test_a_coarser_histogram_is_as_precise_as_its_buckets() -> None:
    times = [SMALLEST_S * 1.07**n for n in range(1, 300)]

    for level in range(1, 6):
        for time in times:
            [middle] = _sum([time], level).percentiles([50]) or []
            bound = PRECISION ** (2**level) * 1.000001
            assert time / bound <= middle <= time * bound


def test_percentiles_are_those_of_the_times() -> None:
    chance = random.Random(1)
    times = sorted(chance.lognormvariate(-3, 1.5) for _ in range(10_000))

    found = _sum(times).percentiles([50, 95, 99]) or []

    for percent, seconds in zip([50, 95, 99], found, strict=True):
        exact = times[len(times) * percent // 100 - 1]
        assert exact / PRECISION <= seconds * 1.000001
        assert seconds <= exact * PRECISION * 1.000001


def test_histograms_of_different_levels_add_up() -> None:
    found = _sum([0.01] * 90)
    found.update(_sum([10.0] * 10, level=2))

    p50, p95 = found.percentiles([50, 95]) or []

    assert p50 == pytest.approx(0.01, rel=0.1)
    assert p95 == pytest.approx(10.0, rel=0.5)


def test_nothing_has_no_percentiles() -> None:
    assert TimeCounts().percentiles([50]) is None
