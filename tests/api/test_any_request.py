"""Requests of any kind, made from the API's own OpenAPI document, valid ones and invalid ones."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from bananas_topology.api import app
from bananas_topology.client import Client, NewJob
from bananas_topology.jobs.keys import Keys
from tests.api.conftest import OPENAPI, STREAMS

OPERATIONS = [
    (method, path)
    for path, operations in OPENAPI["paths"].items()
    for method in operations
    if path not in STREAMS
]

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
]


@pytest.fixture
def _jobs(producer: Client, client: redis.Redis, keys: Keys) -> None:
    """Jobs in several states, under ids that are often tried.

    None is ready: without a worker, /health would rightly answer with 503.
    """
    producer.enqueue_many(NewJob("add", id=job_id, delay="1h") for job_id in ("0", "00", "000"))
    for job_id in ("1", "2", "a"):
        client.lpush(keys.dead, job_id)
        dead = {"id": job_id, "name": "add", "attempts": 4, "status": "failed"}
        client.set(keys.job(job_id), json.dumps(dead) if job_id != "1" else b"\xff")


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
@pytest.mark.usefixtures("_jobs")
def test_every_answer_is_one_that_is_documented(
    port: int, monkeypatch: pytest.MonkeyPatch, method: str, path: str
) -> None:
    monkeypatch.setattr(app, "MAX_WAIT_MS", 100)
    operation = schemathesis.openapi.from_dict(OPENAPI)[path][method]
    session = requests.Session()
    cases = operation.as_strategy()
    if operation.query or operation.body:
        cases |= operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)

    @settings(
        max_examples=40,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )
    @given(case=cases)
    def check(case: schemathesis.Case[Any]) -> None:
        response = case.call(base_url=f"http://127.0.0.1:{port}", session=session, timeout=30)
        case.validate_response(response, checks=CHECKS)

    with session:
        check()
