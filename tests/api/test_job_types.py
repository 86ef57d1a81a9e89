"""The job types that real workers publish, over HTTP."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
import redis
from fastapi.testclient import TestClient

from bananas_topology.jobs.keys import Keys
from tests.waiting import wait_for
from tests.worker.support import Starter


def _job_types(http: TestClient) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in http.get("/job-types").json()["types"]}


def _stored(client: redis.Redis, keys: Keys) -> list[bytes]:
    return list(client.scan_iter(keys.schemas("*"), count=1_000))


def test_live_workers_publish_their_job_types_with_payload_schemas(
    http: TestClient, start: Starter, client: redis.Redis, keys: Keys
) -> None:
    assert _job_types(http) == {}
    start(WORKER_POOL="mail", WORKER_JOB_TYPES="mail", WORKER_MODE="job-specialized")
    first = start(WORKER_POOL="a")
    start(WORKER_POOL="a")
    start(WORKER_POOL="scheduler", WORKER_MODE="scheduler-only")

    found = _job_types(http)

    assert found["mail"]["pools"] == ["a", "mail"]
    assert found["echo"] == {"name": "echo", "pools": ["a"], "schema": None}
    jsonschema.validate({"to": "a@example.com"}, found["mail"]["schema"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"copies": 2}, found["mail"]["schema"])
    # Workers with the same handlers share what they publish.
    assert len(_stored(client, keys)) == 2
    assert list(found) == sorted(found)
    first.end()
    assert _job_types(http)["echo"]["pools"] == ["a"]
    start.started[2].end()
    assert list(_job_types(http)) == ["mail"]


def test_schemas_that_the_server_has_lost_are_published_again(
    http: TestClient, start: Starter, client: redis.Redis, keys: Keys
) -> None:
    start(WORKER_LEASE="1s")
    [key] = _stored(client, keys)
    assert 0 < client.pttl(key) <= 100_000

    client.delete(key)

    wait_for(lambda: _stored(client, keys) == [key])
    wait_for(lambda: client.pttl(key) > 50_000)  # extended by the next heartbeat
    # Only of live workers: the lease of a second is over when the worker is held up.
    wait_for(lambda: "mail" in (found := _job_types(http)) and found["mail"]["schema"])
