from __future__ import annotations

import json
import re
import threading
import uuid
from datetime import datetime, timedelta
from typing import Any, cast

import pytest
import redis
from fastapi import FastAPI
from fastapi.testclient import TestClient

from bananas_topology.api.app import MAX_BODY_BYTES
from bananas_topology.contract.worker import WorkerConfig
from bananas_topology.jobs.broker import Broker, Consumer
from bananas_topology.jobs.exchange import Ack, ClaimRequest
from bananas_topology.jobs.keys import Keys
from tests.api.conftest import serving


def _consumer(*job_types: str) -> Consumer:
    return Consumer.of(WorkerConfig(worker_id="w"), job_types)


def _finish_one(client: redis.Redis, keys: Keys, result: bytes) -> None:
    """Claim a job of type `add` and ack it."""
    broker, consumer = Broker(client, keys), _consumer("add")
    claimed = broker.exchange(consumer, [], ClaimRequest(1, uuid.uuid4().hex)).claimed()
    assert claimed is not None
    [claim] = claimed.claims
    assert claim.body is not None
    ack = Ack(claim, claim.body, result, "2026-01-01T00:00:00.000000Z", 5)
    assert broker.exchange(consumer, [ack], None).lost() == ()


def _assert_problem(response: Any, status: int, words: str) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == status
    assert words in problem["detail"]
    assert "Traceback" not in response.text


def test_a_job_is_enqueued_and_found_where_the_answer_says(http: TestClient) -> None:
    answer = http.post("/jobs", json={"name": "add", "payload": {"a": 1}, "priority": "high"})

    assert answer.status_code == 202
    job = http.get(answer.headers["location"]).json()
    assert job["id"] == answer.json()["id"]
    assert (job["name"], job["status"], job["priority"]) == ("add", "pending", "high")
    assert job["payload"] == {"a": 1}


def test_a_list_of_jobs_is_enqueued_in_order(
    http: TestClient, client: redis.Redis, keys: Keys
) -> None:
    answer = http.post("/jobs", json=[{"name": "add", "id": str(index)} for index in range(3)])

    assert answer.json() == {"ids": ["0", "1", "2"]}
    assert client.lrange(keys.queue("normal"), 0, -1) == [b"2", b"1", b"0"]


def test_an_empty_list_is_enqueued_as_nothing(http: TestClient) -> None:
    assert http.post("/jobs", json=[]).json() == {"ids": []}


def test_a_request_repeated_with_the_same_id_enqueues_once(
    http: TestClient, client: redis.Redis, keys: Keys
) -> None:
    answers = [http.post("/jobs", json={"name": "add", "id": "once"}) for _ in range(2)]

    assert [answer.json() for answer in answers] == [{"id": "once"}] * 2
    assert client.llen(keys.queue("normal")) == 1


def test_a_payload_keeps_its_bytes(http: TestClient, client: redis.Redis, keys: Keys) -> None:
    payload = b'{"big": 123456789012345678901234567890, "empty": [],  "e": 1.50e3}'

    http.post("/jobs", content=b'{"name": "add", "id": "it", "payload": ' + payload + b"}")

    stored = client.get(keys.job("it"))
    assert isinstance(stored, bytes)
    assert payload in stored


def test_a_job_with_a_delay_is_scheduled(http: TestClient) -> None:
    http.post("/jobs", json={"name": "add", "id": "later", "delay": "5m"})

    job = http.get("/jobs/later").json()
    assert job["status"] == "scheduled"
    assert job["due_at"] is not None


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{", 400, "not JSON"),
        (b"", 400, "not JSON"),
        (b'{"name": "add", "payload": "\xff"}', 400, "not JSON"),
        (b"[" * 100_000, 422, "not a job"),
        (b"17", 422, "not a job"),
        (b"{}", 422, "required field `name`"),
        (b'{"name": "add", "prioritty": "high"}', 422, "unknown field `prioritty`"),
        (b'{"name": "add", "priority": "urgent"}', 422, "(high|normal|low)"),
        (b'{"name": "two words"}', 422, "$.name"),
        (b'{"name": "add", "at": "2026-01-01T00:00:00"}', 422, "timezone"),
        (b'{"name": "add", "delay": "soon"}', 422, "expected a duration"),
        (b'{"name": "add", "delay": "1s", "at": "2026-01-01T00:00:00Z"}', 422, "both"),
        (b'{"name": "add", "max_retries": -1}', 422, "$.max_retries"),
    ],
)
def test_what_is_no_job_is_refused_with_the_reason(
    http: TestClient, body: bytes, status: int, words: str
) -> None:
    _assert_problem(http.post("/jobs", content=body), status, words)


def test_of_a_list_with_a_wrong_job_nothing_is_enqueued(
    http: TestClient, client: redis.Redis, keys: Keys
) -> None:
    answer = http.post("/jobs", json=[{"name": "add"}, {"name": "add", "delay": "soon"}])

    _assert_problem(answer, 422, "expected a duration")
    assert client.llen(keys.queue("normal")) == 0


def test_a_request_that_is_too_large_is_refused(http: TestClient) -> None:
    answer = http.post("/jobs", content=b" " * (MAX_BODY_BYTES + 1))

    _assert_problem(answer, 413, "send the jobs in several")


def test_a_job_that_is_not_there_is_a_problem(http: TestClient) -> None:
    _assert_problem(http.get("/jobs/nobody"), 404, 'no job has the id "nobody"')


def test_a_path_that_is_not_there_is_a_problem(http: TestClient) -> None:
    _assert_problem(http.get("/jbos"), 404, "see /docs")
    _assert_problem(http.delete("/queues"), 405, "does not take DELETE")


def test_waiting_ends_when_the_job_is_done(
    http: TestClient, client: redis.Redis, keys: Keys
) -> None:
    http.post("/jobs", json={"name": "add", "id": "it"})
    finisher = threading.Timer(0.2, _finish_one, (client, keys, b"[3]"))
    finisher.start()

    job = http.get("/jobs/it?wait=30s").json()

    finisher.join()
    assert (job["status"], job["result"], job["duration_ms"]) == ("completed", [3], 5)
    begun, done = (datetime.fromisoformat(job[name]) for name in ("started_at", "completed_at"))
    assert done - begun == timedelta(milliseconds=5)


def test_a_wait_that_is_over_shows_the_job_as_it_is(http: TestClient) -> None:
    http.post("/jobs", json={"name": "add", "id": "it"})

    answer = http.get("/jobs/it?wait=50ms")

    assert (answer.status_code, answer.json()["status"]) == (200, "pending")


def test_a_wait_that_is_no_duration_is_refused(http: TestClient) -> None:
    _assert_problem(http.get("/jobs/it?wait=long"), 422, 'wait is "long"')


def test_the_queues_show_what_is_ready(http: TestClient) -> None:
    http.post("/jobs", json=[{"name": "add", "priority": "low"}] * 2)

    found = http.get("/queues").json()

    assert found["backlog"]["ready"] == 2
    assert found["queues"]["low"]["ready"] == 2
    assert found["workers"] == []


def test_it_is_healthy_with_nothing_to_do(http: TestClient) -> None:
    answer = http.get("/health")

    assert (answer.status_code, answer.json()["status"]) == (200, "ok")


def test_it_is_not_healthy_when_nobody_works_though_there_is_work(http: TestClient) -> None:
    http.post("/jobs", json={"name": "add"})

    _assert_problem(http.get("/health"), 503, "1 jobs are ready, and no worker is alive")


@pytest.mark.parametrize("path", ["/health", "/readyz", "/queues", "/jobs/it"])
def test_without_redis_the_answer_says_so(lost_http: TestClient, path: str) -> None:
    answer = lost_http.get(path)

    _assert_problem(answer, 503, "cannot reach Redis at 127.0.0.1:1")
    assert answer.headers["retry-after"] == "1"


def test_a_redis_that_refuses_us_is_no_defect_of_ours(
    client: redis.Redis, server_url: str, prefix: str
) -> None:
    user = f"nobody-{prefix}"
    client.acl_setuser(user, enabled=True, passwords=["+pw"], commands=["+ping"])
    try:
        url = server_url.replace("redis://", f"redis://{user}:pw@")
        with serving(url, prefix) as http:
            answer = http.get("/jobs/it")
    finally:
        client.acl_deluser(user)

    assert answer.status_code == 503, answer.text
    assert answer.headers["retry-after"] == "1"


def test_without_redis_it_is_alive_all_the_same(lost_http: TestClient) -> None:
    assert lost_http.get("/livez").status_code == 200
    assert lost_http.get("/metrics").status_code == 200


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "x"}])
def test_without_the_token_nothing_is_told_and_nothing_taken(
    guarded_http: TestClient, header: dict[str, str]
) -> None:
    for answer in (
        guarded_http.post("/jobs", json={"name": "add"}, headers=header),
        guarded_http.get("/jobs/it", headers=header),
        guarded_http.get("/queues", headers=header),
    ):
        _assert_problem(answer, 401, "Authorization: Bearer")
        assert answer.headers["www-authenticate"] == "Bearer"


def test_with_the_token_everything_is_as_without_one(guarded_http: TestClient) -> None:
    header = {"Authorization": "Bearer correct horse battery"}

    assert guarded_http.post("/jobs", json={"name": "add"}, headers=header).status_code == 202


def test_probes_and_documentation_need_no_token(guarded_http: TestClient) -> None:
    for path in ("/livez", "/readyz", "/health", "/metrics", "/docs", "/openapi.json"):
        assert guarded_http.get(path).status_code == 200, path


def test_the_metrics_count_requests_by_route_and_show_the_queues(http: TestClient) -> None:
    http.post("/jobs", json=[{"name": "add", "priority": "high"}] * 2)
    http.get("/jobs/nobody")

    text = http.get("/metrics").text

    assert 'bananas_queue_depth{priority="high"} 2.0' in text
    assert "bananas_jobs_enqueued_total 2.0" in text
    assert 'route="/jobs",status="202"} 1.0' in text
    assert 'route="/jobs/{job_id:path}",status="404"} 1.0' in text
    assert "nobody" not in text


def test_a_method_that_a_caller_makes_up_gets_no_series_of_its_own(http: TestClient) -> None:
    http.request("FROBNICATE", "/queues")

    text = http.get("/metrics").text

    assert 'method="other",route="/queues",status="405"} 1.0' in text
    assert "FROBNICATE" not in text


def test_a_defect_is_a_problem_that_is_counted(server_url: str, prefix: str) -> None:
    with serving(server_url, prefix) as http:
        api = cast(FastAPI, http.app)

        @api.get("/defect")
        def meet_a_defect() -> None:
            raise ZeroDivisionError("of ours")

        _assert_problem(http.get("/defect"), 500, "its log says more")

        assert 'route="/defect",status="500"} 1.0' in http.get("/metrics").text


def test_openapi_describes_request_and_response_schemas(http: TestClient) -> None:
    document = http.get("/openapi.json").json()

    body = document["paths"]["/jobs"]["post"]["requestBody"]["content"]["application/json"]
    assert {"$ref": "#/components/schemas/NewJobBody"} in body["schema"]["oneOf"]
    schemas = document["components"]["schemas"]
    assert "delay" in schemas["NewJobBody"]["properties"]
    for name in re.findall(r"#/components/schemas/(\w+)", json.dumps(document)):
        assert name in schemas
