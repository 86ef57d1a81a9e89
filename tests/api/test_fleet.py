"""Workers and pools, over HTTP."""

from __future__ import annotations

from typing import Any

import redis
from fastapi.testclient import TestClient

from bananas_topology.contract.api import Replicas
from bananas_topology.jobs.broker import Broker
from bananas_topology.jobs.keys import Keys
from tests.api.conftest import serving
from tests.jobs.support import Worker
from tests.waiting import wait_for
from tests.worker.support import Starter


def _register(broker: Broker, worker_id: str, pool: str, **more: Any) -> Worker:
    worker = Worker(broker, worker_id)
    info: dict[str, str | int | bytes] = {
        "pool": pool,
        "concurrency": 5,
        "priorities": "high,normal",
        "job_types": worker_id,
        **more,
    }
    broker.heartbeat(worker.consumer, worker.incarnation, info, boot=True)
    return worker


def test_workers_and_pools_are_those_that_live(
    http: TestClient, broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    _register(broker, "a-0", "a")
    _register(broker, "b-0", "b")
    worker = _register(broker, "b-1", "b")
    http.post("/jobs", json={"name": "add"})
    assert len(worker.claim()) == 1
    client.zadd(keys.workers, {"a-0": 1})

    assert [each["id"] for each in http.get("/workers").json()["workers"]] == ["b-0", "b-1"]
    assert http.get("/pools").json()["pools"] == [
        {
            "name": "b",
            "wanted": None,
            "workers": 2,
            "slots": 10,
            "running": 1,
            "utilization": 0.1,
            "stuck": 0,
            "priorities": ["high", "normal"],
            "job_types": ["b-0", "b-1"],
        }
    ]


def test_pools_of_the_topology_are_listed_with_the_workers_they_are_to_have(
    server_url: str, prefix: str, broker: Broker
) -> None:
    _register(broker, "a-0", "a", concurrency=0)
    _register(broker, "stray-0", "stray")
    wanted = {"a": Replicas(2, 2), "missing": Replicas(1, 20)}
    with serving(server_url, prefix, pools=wanted) as http:
        pools = {each["name"]: each for each in http.get("/pools").json()["pools"]}

    assert list(pools) == ["a", "missing", "stray"]
    assert [each["wanted"] for each in pools.values()] == [
        {"min": 2, "max": 2},
        {"min": 1, "max": 20},
        None,
    ]
    assert [each["workers"] for each in pools.values()] == [1, 0, 1]
    assert [each["utilization"] for each in pools.values()] == [None, None, 0.0]
    assert pools["missing"]["job_types"] == []


def test_a_worker_is_shown_with_its_memory_its_lease_and_the_jobs_that_it_runs(
    http: TestClient, start: Starter
) -> None:
    start(WORKER_JOBS='{"sleep": {"timeout": "90s"}}', JOB_TIMEOUT="45s", WORKER_CONCURRENCY="3")
    http.post("/jobs", json=[{"name": "sleep", "payload": 60, "id": f"it-{n}"} for n in range(2)])
    http.post("/jobs", json={"name": "async_sleep", "payload": 60, "id": "other"})

    def workers() -> list[Any]:
        return list(http.get("/workers").json()["workers"])

    wait_for(lambda: len(workers()[0]["jobs"]) == 3)

    [worker] = workers()
    jobs = {job["id"]: job for job in worker["jobs"]}
    assert 10 * 2**20 < worker["memory_bytes"] < 2**30
    assert worker["started_at"] < jobs["it-0"]["started_at"] < worker["lease_expires_at"]
    assert [job["started_at"] for job in worker["jobs"]] == sorted(
        job["started_at"] for job in worker["jobs"]
    )
    assert (jobs["it-0"]["name"], jobs["it-0"]["priority"]) == ("sleep", "normal")
    timeouts = {"it-0": 90_000, "it-1": 90_000, "other": 45_000}
    assert {job_id: job["timeout_ms"] for job_id, job in jobs.items()} == timeouts
    page = http.get("/jobs?state=processing").json()
    assert {job["id"]: job["timeout_ms"] for job in page["jobs"]} == timeouts
    assert http.get("/jobs/it-0").json()["timeout_ms"] == 90_000
    http.post("/jobs", json={"name": "sleep", "id": "waiting", "delay": "1h"})
    assert http.get("/jobs/waiting").json()["timeout_ms"] is None
    [waiting] = http.get("/jobs?state=scheduled").json()["jobs"]
    assert waiting["timeout_ms"] is None


def test_workers_that_report_nothing_are_listed(http: TestClient, broker: Broker) -> None:
    Worker(broker, "old").boot()
    http.post("/jobs", json={"name": "add", "id": "it"})
    assert Worker(broker, "old").claim() == []
    worker = _register(broker, "old", "a")
    assert worker.claim() == ["it"]

    [shown] = http.get("/workers").json()["workers"]

    assert shown["memory_bytes"] is None
    [job] = shown["jobs"]
    assert (job["id"], job["timeout_ms"]) == ("it", None)
