from __future__ import annotations

from bananas_topology.worker.claiming import MAX_HELD, MAX_WAIT_S, PrefetchLimit


def _after(concurrency: int, *, seconds: float, waited_s: float, batches: int = 30) -> int:
    limit = PrefetchLimit(concurrency)
    for _ in range(batches):
        limit.update(10, 10 * seconds, waited_s)
    return limit.prefetch


def test_nothing_is_prefetched_before_anything_is_known() -> None:
    assert PrefetchLimit(10).prefetch == 0


def test_short_jobs_are_prefetched_up_to_the_limit() -> None:
    assert _after(10, seconds=10e-6, waited_s=0.001) == MAX_HELD - 10


def test_higher_concurrency_prefetches_fewer_jobs() -> None:
    assert _after(50, seconds=10e-6, waited_s=0.001) == MAX_HELD - 50
    assert _after(MAX_HELD + 1, seconds=10e-6, waited_s=0.001) == 0


def test_long_jobs_are_not_prefetched() -> None:
    assert _after(50, seconds=0.1, waited_s=0.0) == 0


def test_jobs_of_a_few_milliseconds_are_prefetched_for_one_maximum_wait() -> None:
    assert 8 <= _after(10, seconds=0.005, waited_s=0.001) <= 10


def test_jobs_that_wait_too_long_reduce_the_limit() -> None:
    # Ten slots, but the handlers hold the interpreter's lock and so run one after another.
    limit = PrefetchLimit(10)
    for _ in range(50):
        ahead = limit.prefetch
        limit.update(10, 10 * 0.0005, waited_s=ahead * 0.0005)

    assert limit.prefetch * 0.0005 <= 2 * MAX_WAIT_S


def test_one_slow_batch_counts_at_once_and_is_forgotten_slowly() -> None:
    limit = PrefetchLimit(10)
    for _ in range(30):
        limit.update(10, 10 * 10e-6, 0.001)

    limit.reduce(1.0)
    assert limit.prefetch == 0
    limit.update(10, 10 * 10e-6, 0.001)
    assert limit.prefetch == 0
    for _ in range(50):
        limit.update(10, 10 * 10e-6, 0.001)
    assert limit.prefetch == MAX_HELD - 10
