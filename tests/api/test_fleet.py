"""Workers and pools, over HTTP."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest
import redis
from fastapi.testclient import TestClient

from bananas_topology.api.app import make_app
from bananas_topology.api.service import Service
from bananas_topology.api.token import NO_TOKEN
from bananas_topology.contract.api import Replicas
from bananas_topology.jobs.broker import Broker
from bananas_topology.jobs.keys import Keys
from tests.api.conftest import assert_problem
from tests.jobs.support import Worker


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


@pytest.fixture
def broker(client: redis.Redis, keys: Keys) -> Broker:
    return Broker(client, keys)


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
    with closing(Service.connect(server_url, prefix, wanted)) as service:
        http = TestClient(make_app(service, NO_TOKEN), "http://localhost:8080")
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


def test_workers_and_pools_need_redis(disconnected_http: TestClient) -> None:
    for path in ("/workers", "/pools"):
        assert_problem(disconnected_http.get(path), 503, "cannot reach Redis")
