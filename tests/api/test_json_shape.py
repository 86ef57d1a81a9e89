"""The command line and the HTTP API print the same JSON for the same state."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import redis
from fastapi.testclient import TestClient

from bananas_topology.jobs.inspect import Inspector
from bananas_topology.jobs.keys import Keys
from tests.cli.shell import Shell, running_worker
from tests.waiting import wait_for


@pytest.fixture
def shell(tmp_path: Path, server_url: str, prefix: str) -> Shell:
    return Shell(tmp_path, {**os.environ, "REDIS_URL": server_url, "REDIS_KEY_PREFIX": prefix})


def _printed(shell: Shell, *arguments: str) -> Any:
    return json.loads(shell(*arguments, "--format", "json").stdout)


def _assert_described(http: TestClient, value: Any, schema: str) -> None:
    document = http.get("/openapi.json").json()
    assert set(value) == set(document["components"]["schemas"][schema]["properties"])
    jsonschema.validate(value, {"$ref": f"#/components/schemas/{schema}"} | document)


def _lasting(queues: Any) -> Any:
    """Without the values that each heartbeat changes."""
    changing = {"memory_bytes": 0, "lease_expires_at": ""}
    for worker in queues["workers"]:
        assert worker.keys() > changing.keys()
    return queues | {"workers": [worker | changing for worker in queues["workers"]]}


def test_a_job_has_one_shape_in_every_state(
    http: TestClient, shell: Shell, client: redis.Redis, keys: Keys
) -> None:
    inspector = Inspector(client, keys)
    http.post("/jobs", json={"name": "double", "id": "delayed", "delay": "1h"})
    http.post("/jobs", json={"name": "double", "id": "done", "payload": 21, "priority": "high"})
    http.post("/jobs", json={"name": "fail", "id": "dead"})
    with running_worker(shell, inspector):
        wait_for(lambda: (inspector.backlog().completed, inspector.backlog().dead) == (1, 1))
    http.post("/jobs", json={"name": "double", "id": "ready", "max_retries": 2})

    for job_id in ("delayed", "done", "dead", "ready"):
        job = http.get(f"/jobs/{job_id}").json()

        assert job == _printed(shell, "job", job_id)
        assert job["id"] == job_id
        _assert_described(http, job, "JobJson")


def test_queues_and_workers_have_one_shape(
    http: TestClient, shell: Shell, client: redis.Redis, keys: Keys
) -> None:
    inspector = Inspector(client, keys)
    with running_worker(shell, inspector):
        http.post("/jobs", json={"name": "unknown", "priority": "high"})
        wait_for(lambda: inspector.depths()[0].parked)

        queues, printed = http.get("/queues").json(), _printed(shell, "queues")

        assert _lasting(queues) == _lasting(printed)
    assert queues["queues"]["high"]["unhandled"] == ["unknown"]
    high = queues["queues"]["high"]
    assert high["oldest_by_type"] == {"unknown": high["oldest"]}
    assert [each["concurrency"] for each in queues["workers"]] == [10]
    _assert_described(http, queues, "QueuesJson")
