from __future__ import annotations

import pytest

from bananas_topology.supervisor.restarts import (
    Exit,
    GiveUp,
    History,
    Restart,
    RestartPolicy,
    decide,
    remember,
)

POLICY = RestartPolicy()


def _history(*lives_s: float, code: int = 1) -> tuple[History, list[Restart | GiveUp]]:
    """Live so long, end, wait as decided, live again: the decisions, one for each end."""
    now = 0.0
    history: History = ()
    decisions: list[Restart | GiveUp] = []
    for lived_s in lives_s:
        now += lived_s
        history = remember(history, Exit(now, lived_s, code), POLICY)
        decision = decide(history, POLICY)
        decisions.append(decision)
        if isinstance(decision, Restart):
            now += decision.delay_s
    return history, decisions


def test_the_first_restart_is_at_once() -> None:
    _, decisions = _history(0.1)

    assert decisions == [Restart(0.0)]


def test_delays_double_up_to_the_cap() -> None:
    _, decisions = _history(*[20.0] * 9)

    assert decisions == [
        Restart(delay) for delay in (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0)
    ]


def test_a_crash_loop_is_given_up() -> None:
    _, decisions = _history(*[0.5] * 6)

    assert decisions[:5] == [Restart(delay) for delay in (0.0, 1.0, 2.0, 4.0, 8.0)]
    assert decisions[5] == GiveUp("it ended 6 times within 60 s, last with exit code 1")


def test_ends_spread_over_more_than_the_window_are_no_crash_loop() -> None:
    _, decisions = _history(*[10.0] * 50)

    assert all(isinstance(decision, Restart) for decision in decisions)


def test_a_long_life_makes_earlier_ends_forgotten() -> None:
    _, decisions = _history(0.5, 0.5, 0.5, 61.0)

    assert decisions[-1] == Restart(0.0)


@pytest.mark.parametrize("lived_s", [0.1, 1000.0])
def test_wrong_settings_are_given_up_at_the_first_end(lived_s: float) -> None:
    _, [decision] = _history(lived_s, code=2)

    assert isinstance(decision, GiveUp)


@pytest.mark.parametrize("code", [0, 1, 70, -9, -15, 131])
def test_every_other_end_that_nobody_asked_for_is_followed_by_a_start(code: int) -> None:
    _, decisions = _history(5.0, code=code)

    assert decisions == [Restart(0.0)]


def test_a_history_does_not_grow_for_ever() -> None:
    history, _ = _history(*[30.0] * 1000)

    assert len(history) < 100


def test_a_worker_that_asks_for_a_fresh_start_is_never_given_up() -> None:
    _, decisions = _history(*[5.0] * 50, code=75)

    assert decisions == [Restart(0.0)] * 50


def test_a_worker_that_asks_for_a_fresh_start_again_and_again_does_not_spin() -> None:
    _, decisions = _history(*[0.1] * 50, code=75)

    assert decisions == [Restart(1.0)] * 50


def test_fresh_starts_do_not_count_among_crashes() -> None:
    history: History = ()
    for second, code in enumerate([1, 75, 75, 75, 75, 75, 75, 1]):
        history = remember(history, Exit(float(second), 1.0, code), POLICY)

    assert decide(history, POLICY) == Restart(1.0)
