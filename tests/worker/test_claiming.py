from __future__ import annotations

from bananas_topology.worker.claiming import LIMIT, WINDOW_S, Pace


def _after(concurrency: int, *, seconds: float, waited_s: float, batches: int = 30) -> int:
    pace = Pace(concurrency)
    for _ in range(batches):
        pace.note(10, 10 * seconds, waited_s)
    return pace.ahead


def test_nothing_is_held_ahead_before_anything_is_known() -> None:
    assert Pace(10).ahead == 0


def test_short_jobs_are_held_ahead_up_to_the_limit() -> None:
    assert _after(10, seconds=10e-6, waited_s=0.001) == LIMIT - 10


def test_the_more_run_the_fewer_are_held_ahead() -> None:
    assert _after(50, seconds=10e-6, waited_s=0.001) == LIMIT - 50
    assert _after(LIMIT + 1, seconds=10e-6, waited_s=0.001) == 0


def test_long_jobs_are_not_held_ahead() -> None:
    assert _after(50, seconds=0.1, waited_s=0.0) == 0


def test_jobs_of_some_milliseconds_are_held_by_what_slots_run_in_the_window() -> None:
    assert 8 <= _after(10, seconds=0.005, waited_s=0.001) <= 10


def test_what_really_waits_too_long_is_held_less() -> None:
    # Ten slots, but the handlers hold the interpreter's lock: they run one after the other.
    pace = Pace(10)
    for _ in range(50):
        ahead = pace.ahead
        pace.note(10, 10 * 0.0005, waited_s=ahead * 0.0005)

    assert pace.ahead * 0.0005 <= 2 * WINDOW_S


def test_one_slow_batch_is_believed_at_once_and_forgotten_slowly() -> None:
    pace = Pace(10)
    for _ in range(30):
        pace.note(10, 10 * 10e-6, 0.001)

    pace.slow(1.0)
    assert pace.ahead == 0
    pace.note(10, 10 * 10e-6, 0.001)
    assert pace.ahead == 0
    for _ in range(50):
        pace.note(10, 10 * 10e-6, 0.001)
    assert pace.ahead == LIMIT - 10
