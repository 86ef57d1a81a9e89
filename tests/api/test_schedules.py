"""Schedules that real workers run, as the API shows them and runs them by hand."""

from __future__ import annotations

import json
import signal
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from fastapi.testclient import TestClient

from bananas_topology.contract.jobs import Schedule
from bananas_topology.jobs import schedules as schedules_module
from bananas_topology.jobs.broker import Broker
from bananas_topology.jobs.keys import Keys
from bananas_topology.worker.scheduler import CachedClock, Scheduler
from tests.api.conftest import JSON, READ_TOKEN, assert_problem
from tests.waiting import wait_for
from tests.worker.support import Starter

#: An occurrence far away: nothing fires while a test runs.
YEARLY = "0 0 1 1 *"

PAYLOAD = {"kind": "sales", "big": 2**70, "none": []}


def _listed(http: TestClient) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = http.get("/schedules").json()["schedules"]
    return listed


def _names(http: TestClient) -> list[str]:
    return [each["name"] for each in _listed(http)]


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _schedule(client: redis.Redis, keys: Keys, now: datetime, **schedules: Schedule) -> None:
    """Have a scheduler look at its schedules once."""
    Scheduler(Broker(client, keys), schedules, CachedClock(lambda: now)).run()


def test_a_schedule_is_listed_with_what_it_enqueues_and_when(
    http: TestClient, start: Starter
) -> None:
    definition = {"cron": "* * * * * *", "job": "echo", "timezone": "Europe/Rome"}
    worker = start(
        ENABLE_SCHEDULER="true",
        SCHEDULER_INTERVAL="100ms",
        WORKER_SCHEDULES=json.dumps({"often": {**definition, "priority": "high", "payload": [1]}}),
    )
    wait_for(lambda: any(each["last_at"] for each in _listed(http)))

    answer = http.get("/schedules").json()
    [schedule] = answer["schedules"]

    next_at, last_at = _at(schedule.pop("next_at")), _at(schedule.pop("last_at"))
    assert schedule == {"name": "often", "priority": "high", "payload": [1], **definition}
    assert next_at - last_at >= timedelta(seconds=1)
    assert abs(last_at - datetime.now(UTC)) < timedelta(seconds=30)
    assert answer["schedulers"] == 1
    worker.end(signal.SIGTERM)
    assert http.get("/schedules").json()["schedulers"] == 0
    assert _names(http) == ["often"]


def test_without_schedulers_there_are_no_schedules(http: TestClient, start: Starter) -> None:
    start()

    assert http.get("/schedules").json() == {"schedules": [], "schedulers": 0}


def test_a_schedule_runs_by_hand_as_if_it_had_fired(
    http: TestClient, start: Starter, client: redis.Redis, keys: Keys
) -> None:
    nightly = {"cron": YEARLY, "job": "echo", "priority": "low", "payload": PAYLOAD}
    start(ENABLE_SCHEDULER="true", WORKER_SCHEDULES=json.dumps({"nightly": nightly}))
    wait_for(lambda: _names(http) == ["nightly"])
    before = _listed(http)

    response = http.post("/schedules/nightly/run", headers=JSON)

    assert response.status_code == 202
    job = http.get(f"/jobs/{response.json()['id']}", params={"wait": "20s"}).json()
    assert (job["status"], job["name"], job["priority"]) == ("completed", "echo", "low")
    assert job["payload"] == PAYLOAD
    assert job["id"].startswith("nightly:run-")
    assert _listed(http) == before


def test_an_unknown_schedule_does_not_run(http: TestClient) -> None:
    assert_problem(http.post("/schedules/no/such/run"), 404, 'no schedule has the name "no/such"')


def test_the_read_token_runs_no_schedule(
    private_http: TestClient, client: redis.Redis, keys: Keys
) -> None:
    headers = {"Authorization": f"Bearer {READ_TOKEN}"}
    _schedule(client, keys, datetime.now(UTC), nightly=Schedule(cron=YEARLY, job="echo"))

    response = private_http.post("/schedules/nightly/run", headers=headers)

    assert private_http.get("/schedules", headers=headers).json()["schedules"]
    assert_problem(response, 403, "API_READ_TOKEN does not allow POST")
    assert client.llen(keys.queue("normal")) == 0


def test_the_definition_that_counts_is_listed(
    http: TestClient, client: redis.Redis, keys: Keys
) -> None:
    now = datetime.now(UTC)
    _schedule(client, keys, now, s=Schedule(cron=YEARLY, job="old"))
    _schedule(client, keys, now, s=Schedule(cron=YEARLY, job="new", payload=1))
    _schedule(client, keys, now, s=Schedule(cron=YEARLY, job="old"))

    [listed] = _listed(http)

    assert (listed["job"], listed["payload"]) == ("new", 1)


def test_a_schedule_that_was_removed_is_no_longer_listed(
    http: TestClient, client: redis.Redis, keys: Keys
) -> None:
    schedule, now = Schedule(cron=YEARLY, job="echo"), datetime.now(UTC)
    later = now + timedelta(milliseconds=schedules_module.UNSEEN_MS + 1)
    _schedule(client, keys, now, kept=schedule, removed=schedule)
    assert _names(http) == ["kept", "removed"]

    _schedule(client, keys, later, kept=schedule)

    assert _names(http) == ["kept"]
    assert http.post("/schedules/removed/run").status_code == 404


def test_a_schedule_that_was_removed_is_forgotten_and_may_come_back(
    http: TestClient, client: redis.Redis, keys: Keys
) -> None:
    schedule, now = Schedule(cron=YEARLY, job="echo"), datetime.now(UTC)
    _schedule(client, keys, now, kept=schedule, removed=schedule)

    _schedule(client, keys, now + timedelta(days=8), kept=schedule)
    assert client.hkeys(keys.schedule_definitions) == [b"kept"]
    assert client.zrange(keys.schedule_seen, 0, -1) == [b"kept"]
    _schedule(client, keys, now + timedelta(days=8), removed=schedule)

    assert _names(http) == ["kept", "removed"]


@pytest.mark.parametrize("stored", [b"not JSON", b"{}", b"\xff"])
def test_a_definition_that_cannot_be_read_hides_only_itself(
    http: TestClient, client: redis.Redis, keys: Keys, stored: bytes
) -> None:
    schedule = Schedule(cron=YEARLY, job="echo")
    _schedule(client, keys, datetime.now(UTC), a=schedule, b=schedule)
    client.hset(keys.schedule_definitions, "a", stored)

    assert _names(http) == ["b"]


def test_a_definition_is_stored_once(client: redis.Redis, keys: Keys) -> None:
    broker, now = Broker(client, keys), datetime.now(UTC)
    scheduler = Scheduler(broker, {"s": Schedule(YEARLY, "echo")}, CachedClock(lambda: now))
    scheduler.run()

    [seen] = broker.see_schedules({"s": scheduler._own["s"]}, now, is_stopping=False).values()

    assert seen.is_defined
