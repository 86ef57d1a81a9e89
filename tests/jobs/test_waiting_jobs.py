from __future__ import annotations

from collections.abc import Generator

import pytest
import redis

from bananas_topology.jobs import waiting_jobs as waiting_module
from bananas_topology.jobs.broker import Broker
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.waiting_jobs import Counts, WaitingJobs
from tests.jobs.support import Worker, count_round_trips, encoded


def _count(counting: Generator[None, None, Counts]) -> dict[tuple[str, str], int]:
    while True:
        try:
            next(counting)
        except StopIteration as end:
            found: Counts = end.value
            return {kind: number for kind, number in found.items() if number}


def test_ready_jobs_are_counted_wherever_they_are(client: redis.Redis, keys: Keys) -> None:
    broker = Broker(client, keys)
    broker.enqueue([encoded("a", "mail"), encoded("b", "rare"), encoded("c", "mail")])
    Worker(broker).claim(5)  # has no handler for either: parks them
    broker.enqueue([encoded("d", "mail", priority="high"), encoded("e", "mail")])
    broker.enqueue([encoded("f", 'odd"name'), encoded("g", "big", "x" * 5000)])

    assert _count(WaitingJobs(client, keys).ready()) == {
        ("high", "mail"): 1,
        ("normal", "mail"): 3,
        ("normal", "rare"): 1,
        ("normal", 'odd"name'): 1,
        ("normal", "big"): 1,
    }


def test_every_job_of_a_long_queue_is_counted_batch_by_batch(
    client: redis.Redis, keys: Keys
) -> None:
    number = 2 * waiting_module.BATCH + 3
    Broker(client, keys).enqueue([encoded(str(each), "mail") for each in range(number)])

    assert _count(WaitingJobs(client, keys).ready()) == {("normal", "mail"): number}


def test_jobs_of_other_clients_and_lost_ones_are_counted(client: redis.Redis, keys: Keys) -> None:
    client.set(keys.job("a"), '{ "name": "mail", "id": "a" }')
    client.lpush(keys.queue("low"), "a", "gone")

    assert _count(WaitingJobs(client, keys).ready()) == {("low", "mail"): 1, ("low", ""): 1}


def test_lost_jobs_are_counted_without_asking_for_each(
    client: redis.Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.lpush(keys.queue("low"), *range(50))
    sent = count_round_trips(monkeypatch)

    assert _count(WaitingJobs(client, keys).ready()) == {("low", ""): 50}
    assert len(sent) < 20


def test_delayed_jobs_are_counted_by_their_own_priority(client: redis.Redis, keys: Keys) -> None:
    jobs = [encoded("a", "mail", due="+60000", priority="low"), encoded("b", "mail", due="60000")]
    Broker(client, keys).enqueue(jobs)
    client.zadd(keys.scheduled, {"gone": 1})

    assert _count(WaitingJobs(client, keys).delayed()) == {
        ("low", "mail"): 1,
        ("normal", "mail"): 1,
        ("normal", ""): 1,
    }
