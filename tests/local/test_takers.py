"""Which jobs lose their workers by a change."""

from __future__ import annotations

import pytest
import redis

from bananas_topology.jobs.broker import Broker
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.waiting_jobs import WaitingJobs
from bananas_topology.local.takers import Taker, Takers, count_stranded, describe_stranded
from tests.jobs.support import encoded

ALL = frozenset(("high", "normal", "low"))
EVERYTHING = Taker(ALL, None)


def _only(*types: str, priorities: frozenset[str] = ALL) -> Taker:
    return Taker(priorities, frozenset(types))


def _takers(*takers: Taker, scheduler: bool = True) -> Takers:
    return Takers(takers, scheduler)


@pytest.mark.parametrize(
    ("before", "after", "is_covered"),
    [
        (_takers(EVERYTHING), _takers(EVERYTHING), True),
        (_takers(EVERYTHING), _takers(), False),
        (_takers(), _takers(), True),
        (_takers(_only("a")), _takers(EVERYTHING), True),
        (_takers(EVERYTHING), _takers(_only("a")), False),
        (_takers(_only("a", "b")), _takers(_only("a"), _only("b")), True),
        (_takers(_only("a", "b")), _takers(_only("a")), False),
        (_takers(EVERYTHING), _takers(Taker(frozenset(("high", "normal")), None)), False),
        (
            _takers(EVERYTHING),
            _takers(*(Taker(frozenset((each,)), None) for each in sorted(ALL))),
            True,
        ),
        (_takers(EVERYTHING), _takers(EVERYTHING, scheduler=False), False),
        (_takers(EVERYTHING, scheduler=False), _takers(EVERYTHING), True),
    ],
)
def test_workers_cover_others_if_they_accept_every_job_of_theirs(
    before: Takers, after: Takers, is_covered: bool
) -> None:
    assert after.covers(before) is is_covered
    assert Takers.from_json(after.to_json()) == after


def _stranded(
    client: redis.Redis, keys: Keys, before: Takers, after: Takers
) -> dict[tuple[str, str], int]:
    counting = count_stranded(WaitingJobs(client, keys), before, after)
    while True:
        try:
            next(counting)
        except StopIteration as end:
            return dict(end.value)


def test_only_jobs_that_had_a_worker_are_stranded(client: redis.Redis, keys: Keys) -> None:
    jobs = [encoded("1", "a"), encoded("2", "b"), encoded("3", "b", priority="low")]
    Broker(client, keys).enqueue([*jobs, encoded("4", "c"), encoded("5", "b", due="+60000")])
    before = _takers(_only("a", "b"))

    assert _stranded(client, keys, before, _takers(EVERYTHING)) == {}
    assert _stranded(client, keys, before, _takers(_only("a"))) == {
        ("normal", "b"): 2,
        ("low", "b"): 1,
    }
    high_only = _takers(_only("a", "b", priorities=frozenset(("high", "normal"))))
    assert _stranded(client, keys, before, high_only) == {("low", "b"): 1}


def test_delayed_jobs_are_stranded_without_a_scheduler(client: redis.Redis, keys: Keys) -> None:
    Broker(client, keys).enqueue([encoded("1", "a"), encoded("2", "a", due="+60000")])

    without = _takers(EVERYTHING, scheduler=False)

    assert _stranded(client, keys, _takers(EVERYTHING), without) == {("normal", "a"): 1}
    assert _stranded(client, keys, without, without) == {}


def test_stranded_jobs_are_described_with_the_largest_number_first() -> None:
    assert describe_stranded({("low", f"t{number}"): number for number in range(1, 8)}) == (
        "28 waiting jobs would have no worker: 7 t7 (low), 6 t6 (low), 5 t5 (low), 4 t4 (low), "
        "3 t3 (low), 2 more kinds"
    )
