from __future__ import annotations

import pytest

from bananas_topology.contract.exit_codes import RESTART_CODES
from bananas_topology.supervisor.restarts import (
    Exit,
    GiveUp,
    History,
    Restart,
    RestartPolicy,
    decide,
    record_exit,
)

POLICY = RestartPolicy()


def _history(
    *lives_s: float, code: int = 1, was_ready: bool = False
) -> tuple[History, list[Restart | GiveUp]]:
    """Simulate one exit per uptime, waiting as decided; return the history and the decisions."""
    now = 0.0
    history: History = ()
    decisions: list[Restart | GiveUp] = []
    for uptime_s in lives_s:
        now += uptime_s
        history = record_exit(history, Exit(now, uptime_s, code, was_ready, "died"), POLICY)
        decision = decide(history, POLICY, was_ever_ready=was_ready)
        decisions.append(decision)
        if isinstance(decision, Restart):
            now += decision.delay_s
    return history, decisions


def test_first_restart_is_immediate() -> None:
    _, decisions = _history(0.1)

    assert decisions == [Restart(0.0)]


def test_child_that_was_ready_is_restarted_permanently_with_a_capped_delay() -> None:
    _, decisions = _history(*[0.5] * 1000, was_ready=True)

    delays = [0.0, 1.0, 2.0, 4.0]
    assert decisions == [Restart(delay) for delay in [*delays, *[5.0] * 996]]


def test_child_that_never_becomes_ready_is_given_up() -> None:
    _, decisions = _history(*[20.0] * 6)

    assert decisions[:5] == [Restart(delay) for delay in (0.0, 1.0, 2.0, 4.0, 8.0)]
    assert decisions[5] == GiveUp("exited 6 times without becoming ready, last: died")


def test_child_that_was_ready_once_waits_longer_while_it_cannot_start() -> None:
    history: History = ()
    for second in range(10):
        history = record_exit(history, Exit(float(second), 0.5, 1), POLICY)

    assert decide(history, POLICY, was_ever_ready=True) == Restart(30.0)


def test_stable_uptime_clears_the_history() -> None:
    _, decisions = _history(0.5, 0.5, 0.5, 61.0)

    assert decisions[-1] == Restart(0.0)


@pytest.mark.parametrize("uptime_s", [0.1, 1000.0])
def test_invalid_settings_are_given_up_at_the_first_exit(uptime_s: float) -> None:
    _, [decision] = _history(uptime_s, code=2)

    assert isinstance(decision, GiveUp)


def test_handlers_broken_after_a_child_was_ready_are_tried_again_after_a_pause() -> None:
    _, [decision] = _history(0.5, code=2, was_ready=True)

    assert decision == Restart(1.0)


@pytest.mark.parametrize("code", [0, 1, 70, -9, -15, 131])
def test_every_other_unexpected_exit_is_followed_by_a_restart(code: int) -> None:
    _, decisions = _history(5.0, code=code)

    assert decisions == [Restart(0.0)]


def test_history_is_bounded() -> None:
    history, _ = _history(*[30.0] * 1000)

    assert len(history) < 100


@pytest.mark.parametrize("code", sorted(RESTART_CODES))
def test_requested_restarts_are_never_given_up(code: int) -> None:
    _, decisions = _history(*[5.0] * 50, code=code)

    assert decisions == [Restart(0.0)] * 50


@pytest.mark.parametrize("code", sorted(RESTART_CODES))
def test_repeated_requested_restarts_are_throttled(code: int) -> None:
    _, decisions = _history(*[0.1] * 50, code=code)

    assert decisions == [Restart(1.0)] * 50


def test_requested_restarts_do_not_count_as_crashes() -> None:
    history: History = ()
    for second, code in enumerate([1, 75, 76, 75, 76, 75, 76, 1]):
        history = record_exit(history, Exit(float(second), 1.0, code), POLICY)

    assert decide(history, POLICY, was_ever_ready=False) == Restart(1.0)
