"""What the API says is wrong, and what it does not mind."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
import redis
from fastapi.testclient import TestClient

from bananas_topology.api import alerts
from bananas_topology.client import Client, NewJob
from bananas_topology.contract.api import Replicas
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.schedules import ScheduleReader
from bananas_topology.system.clock import format_timestamp, monotonic, wall_now, wall_seconds
from tests.api.conftest import assert_problem, serving
from tests.doctor.seeding import Seed, meanwhile
from tests.jobs.support import count_round_trips
from tests.waiting import wait_for
from tests.worker.support import Starter

Codes = Callable[[], dict[str, str]]


@contextmanager
def _codes(url: str, prefix: str, pools: Mapping[str, Replicas]) -> Iterator[Codes]:
    """A function that reads the alerts: severity by code."""
    with serving(url, prefix, pools=pools) as http:

        def codes() -> dict[str, str]:
            found = http.get("/alerts").json()["alerts"]
            assert all(each["message"] and each["remedy"] for each in found)
            return {each["code"]: each["severity"] for each in found}

        yield codes


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judge again soon, and compare after a second."""
    monkeypatch.setattr(alerts, "KEEP_S", 0.3)
    monkeypatch.setattr(alerts, "MIN_OBSERVED_S", 1.0)


@pytest.fixture
def seed(client: redis.Redis, keys: Keys) -> Seed:
    return Seed(client, keys)


@pytest.fixture
def codes(server_url: str, prefix: str) -> Iterator[Codes]:
    with _codes(server_url, prefix, {}) as codes:
        yield codes


def test_a_healthy_system_has_no_alerts_while_it_works(
    server_url: str, prefix: str, start: Starter, producer: Client
) -> None:
    start(WORKER_POOL="worker", ENABLE_SCHEDULER="true")
    pools = {"worker": Replicas(1, 1), "idle": Replicas(0, 5)}
    until = monotonic() + 2.5
    seen: list[dict[str, str]] = []
    with _codes(server_url, prefix, pools) as codes:
        while monotonic() < until or len(seen) < 4:
            ids = producer.enqueue_many(NewJob("echo", number) for number in range(500))
            producer.enqueue("echo", 1, delay="100ms")
            seen.append(codes())
            producer.wait(ids[-1], "20s")

    assert not [each for each in seen if each]


def test_a_pool_without_its_workers_is_an_alert_even_if_none_live(
    server_url: str, prefix: str, seed: Seed
) -> None:
    pools = {"a": Replicas(2, 2), "b": Replicas(1, 20)}
    with _codes(server_url, prefix, pools) as codes:
        assert codes() == {}  # they may be starting
        wait_for(lambda: codes() == {"DR401": "failure"})
        seed.worker("a")
        seed.worker("b")
        wait_for(lambda: codes() == {"DR401": "warning"})
        seed.worker("a")
        wait_for(lambda: codes() == {})


def test_waiting_jobs_without_workers_that_take_them_are_alerts(codes: Codes, seed: Seed) -> None:
    seed.worker(priorities="high")
    seed.push(seed.keys.queue("low"))
    seed.client.sadd(seed.keys.parked("high"), "unknown")
    seed.push(seed.keys.parked_queue("high", "unknown"), 3)

    assert codes() == {"DR502": "failure", "DR503": "failure"}


def test_a_queue_that_keeps_growing_is_an_alert(codes: Codes, seed: Seed) -> None:
    seed.worker(running=10)
    seed.push(seed.keys.queue("high"), 500)
    assert codes() == {}
    with meanwhile(lambda: seed.push(seed.keys.queue("high"), 10)):
        wait_for(lambda: codes().get("DR405") == "warning")


def test_a_deep_queue_that_does_not_grow_is_none(codes: Codes, seed: Seed) -> None:
    seed.worker(running=10)
    seed.push(seed.keys.queue("high"), 5_000)
    until = monotonic() + 1.5
    wait_for(lambda: codes() or monotonic() > until)

    assert codes() == {}


def test_schedules_without_a_scheduler_are_an_alert(
    codes: Codes, start: Starter, client: redis.Redis, keys: Keys
) -> None:
    reader = ScheduleReader(client, keys)
    schedule = '{"nightly": {"cron": "0 2 * * *", "job": "echo"}}'
    scheduler = start(WORKER_SCHEDULES=schedule, ENABLE_SCHEDULER="true")
    wait_for(lambda: reader.read().schedules)
    assert codes() == {}
    start(ENABLE_SCHEDULER="false")
    assert scheduler.end() == 0

    wait_for(lambda: codes() == {"DR409": "failure"})


def test_symptoms_are_judged_as_by_the_doctor(codes: Codes, seed: Seed) -> None:
    seed.worker(stuck=2, finished=1_000, failed=20, running=10)
    seed.dead("ValueError")
    seed.client.zadd(seed.keys.scheduled, {"late": wall_seconds() - 120})
    created_at = format_timestamp(wall_now() - timedelta(hours=2))
    body: dict[str, Any] = {"id": "old", "name": "add", "status": "pending"}
    seed.client.set(seed.keys.job("old"), json.dumps(body | {"created_at": created_at}))
    seed.client.lpush(seed.keys.queue("high"), "old")

    assert codes() == {
        "DR406": "failure",
        "DR407": "warning",
        "DR408": "warning",
        "DR409": "failure",
        "DR415": "warning",
    }


def test_failures_come_first_with_words_and_a_remedy(http: TestClient, seed: Seed) -> None:
    seed.worker(stuck=2)
    seed.client.sadd(seed.keys.parked("high"), "unknown")
    seed.push(seed.keys.parked_queue("high", "unknown"), 3)

    first, second = http.get("/alerts").json()["alerts"]

    assert first == {
        "code": "DR503",
        "severity": "failure",
        "message": "Job types without handlers: no handler: high: unknown (3)",
        "remedy": "add the handler's module to `handlers`, or the job type to a pool's job_types",
    }
    assert (second["code"], second["severity"]) == ("DR415", "warning")


def test_a_reading_is_kept_for_all_who_ask(
    http: TestClient, monkeypatch: pytest.MonkeyPatch, seed: Seed
) -> None:
    monkeypatch.setattr(alerts, "KEEP_S", 600.0)
    assert http.get("/alerts").json() == {"alerts": []}
    seed.worker(stuck=1)
    sent = count_round_trips(monkeypatch)

    assert http.get("/alerts").json() == {"alerts": []}
    assert sent == []


def test_a_reading_costs_the_same_whatever_is_stored(
    http: TestClient, monkeypatch: pytest.MonkeyPatch, seed: Seed
) -> None:
    def cost() -> int:
        with monkeypatch.context() as patch:
            sent = count_round_trips(patch)
            assert http.get("/alerts").status_code == 200
        return len(sent)

    monkeypatch.setattr(alerts, "KEEP_S", 0.0)
    seed.worker()
    seed.push(seed.keys.queue("high"))
    seed.dead("ValueError")
    small = cost()
    for _ in range(50):
        seed.worker(running=3)
        seed.dead("ValueError")
    seed.push(seed.keys.queue("high"), 10_000)

    assert 0 < cost() <= small <= 20


def test_without_redis_there_is_a_problem_until_it_is_back(
    disconnected_http: TestClient,
) -> None:
    for _ in range(2):
        assert_problem(disconnected_http.get("/alerts"), 503, "cannot reach Redis")
