from __future__ import annotations

import json

import pytest
import redis

from bananas_topology.jobs.activity import ActivityReader
from bananas_topology.jobs.broker import Broker
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.stored import HEAD_BYTES
from tests.jobs.support import Worker, count_round_trips, encoded


def test_running_jobs_are_listed_with_their_worker_and_type(
    client: redis.Redis, keys: Keys
) -> None:
    broker = Broker(client, keys)
    broker.enqueue([encoded("a", priority="high"), encoded("b", due="+3600000")])
    Worker(broker).claim()

    activity = ActivityReader(client, keys).read()

    [job] = activity.jobs
    assert (job.job_id, job.job_type, job.priority, job.worker_id) == ("a", "add", "high", "w-0")
    assert job.claimed_at is not None
    assert 0 <= (activity.at - job.claimed_at).total_seconds() < 20
    assert (activity.running, activity.scheduled, activity.dead) == (1, 1, 0)


def test_types_are_read_of_large_jobs_and_of_those_of_other_producers(
    client: redis.Redis, keys: Keys
) -> None:
    broker = Broker(client, keys)
    large = {"x": "y" * HEAD_BYTES}
    broker.enqueue([encoded("large", payload=large)])
    bodies = {
        "small": {"payload": {"name": "Ada"}, "id": "small", "name": "add"},
        "late": {"payload": {"name": "Ada", **large}, "id": "late", "name": "add"},
    }
    for job_id, body in bodies.items():
        client.set(keys.job(job_id), json.dumps(body))
        client.lpush(keys.queue("low"), job_id)
    Worker(broker).claim(10)

    activity = ActivityReader(client, keys).read()

    types = {job.job_id: job.job_type for job in activity.jobs}
    assert types == {"large": "add", "small": "add", "late": ""}


def test_a_job_whose_value_was_replaced_by_a_stranger_hides_no_other(
    client: redis.Redis, keys: Keys
) -> None:
    broker = Broker(client, keys)
    broker.enqueue([encoded("a"), encoded("b")])
    Worker(broker).claim(10)
    client.delete(keys.job("a"))
    client.lpush(keys.job("a"), "x")

    activity = ActivityReader(client, keys).read()

    assert {job.job_id: job.job_type for job in activity.jobs} == {"a": "", "b": "add"}


def test_claims_beyond_the_limit_are_counted_and_each_worker_has_a_share(
    client: redis.Redis, keys: Keys
) -> None:
    broker = Broker(client, keys)
    broker.enqueue([encoded(str(number)) for number in range(40)])
    for worker_id in ("w-0", "w-1"):
        Worker(broker, worker_id).claim(20)

    activity = ActivityReader(client, keys, limit=10).read()

    assert activity.running == 40
    assert [job.worker_id for job in activity.jobs] == ["w-0"] * 5 + ["w-1"] * 5
    assert len({job.job_id for job in activity.jobs}) == 10


def test_the_reading_costs_as_many_round_trips_with_many_jobs_as_with_one(
    client: redis.Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = Broker(client, keys)
    sent = count_round_trips(monkeypatch)

    def round_trips(jobs: int, worker_id: str) -> int:
        broker.enqueue([encoded(f"{worker_id}-{number}") for number in range(jobs)])
        Worker(broker, worker_id).claim(jobs)
        client.ping()  # so that there is a connection
        sent.clear()
        assert len(ActivityReader(client, keys).read().jobs) >= jobs
        return len(sent)

    assert round_trips(1, "w-0") == round_trips(100, "w-1") == 4
