from __future__ import annotations

import json
import re
import threading
import uuid
from datetime import datetime, timedelta
from pathlib import Path

import jsonschema
import pytest
import redis
from fastapi.testclient import TestClient

from bananas_topology.api.body import MAX_BODY_BYTES
from bananas_topology.contract.worker import WorkerConfig
from bananas_topology.jobs.broker import Broker
from bananas_topology.jobs.connection import connect
from bananas_topology.jobs.consumer import Consumer
from bananas_topology.jobs.exchange import ClaimRequest
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.settlements import AckJob
from tests.api.conftest import JSON, add_broken_route, assert_problem, serving
from tests.jobs.servers import HOST, running, wait_until


def _consumer(*job_types: str) -> Consumer:
    return Consumer.of(WorkerConfig(worker_id="w"), job_types)


def _finish_one(client: redis.Redis, keys: Keys, result: bytes) -> None:
    """Claim a job of type `add` and ack it."""
    broker, consumer = Broker(client, keys), _consumer("add")
    claimed = broker.exchange(consumer, [], ClaimRequest(1, f"{uuid.uuid4().hex}.1")).claimed()
    assert claimed is not None
    [claim] = claimed.claims
    assert claim.body is not None
    ack = AckJob(claim, claim.body, result, "2026-01-01T00:00:00.000000Z", 5)
    assert broker.exchange(consumer, [ack], None).settled().lost == ()


def test_enqueued_job_is_found_at_its_location(http: TestClient) -> None:
    response = http.post("/jobs", json={"name": "add", "payload": {"a": 1}, "priority": "high"})

    assert response.status_code == 202
    job = http.get(response.headers["location"]).json()
    assert job["id"] == response.json()["id"]
    assert (job["name"], job["status"], job["priority"]) == ("add", "pending", "high")
    assert job["payload"] == {"a": 1}


@pytest.mark.parametrize("job_id", [".", "..", "a\x00b", "a\r\nX-Header: b", "\x7f", "\x9b2J"])
def test_an_id_that_no_url_can_name_is_rejected(
    http: TestClient, client: redis.Redis, keys: Keys, job_id: str
) -> None:
    assert_problem(http.post("/jobs", json={"name": "add", "id": job_id}), 422, "id: expected")
    assert_problem(http.post("/jobs", json=[{"name": "add", "id": job_id}]), 422, "id: expected")

    assert client.llen(keys.queue("normal")) == 0


def test_list_of_jobs_is_enqueued_in_order(
    http: TestClient, client: redis.Redis, keys: Keys
) -> None:
    response = http.post("/jobs", json=[{"name": "add", "id": str(index)} for index in range(3)])

    assert response.json() == {"ids": ["0", "1", "2"]}
    assert client.lrange(keys.queue("normal"), 0, -1) == [b"2", b"1", b"0"]


def test_empty_list_enqueues_nothing(http: TestClient) -> None:
    assert http.post("/jobs", json=[]).json() == {"ids": []}


def test_repeated_request_with_an_id_enqueues_once(
    http: TestClient, client: redis.Redis, keys: Keys
) -> None:
    responses = [http.post("/jobs", json={"name": "add", "id": "once"}) for _ in range(2)]

    assert [response.json() for response in responses] == [{"id": "once"}] * 2
    assert client.llen(keys.queue("normal")) == 1


def test_payload_keeps_its_bytes(http: TestClient, client: redis.Redis, keys: Keys) -> None:
    payload = b'{"big": 123456789012345678901234567890, "empty": [],  "e": 1.50e3}'
    body = b'{"name": "add", "id": "it", "payload": ' + payload + b"}"

    http.post("/jobs", content=body, headers=JSON)

    stored = client.get(keys.job("it"))
    assert isinstance(stored, bytes)
    assert payload in stored


def test_job_whose_delay_has_passed_is_ready(http: TestClient) -> None:
    http.post("/jobs", json={"name": "add", "id": "now", "delay": "-5m"})

    assert http.get("/jobs/now").json()["status"] == "pending"


def test_delayed_job_is_scheduled(http: TestClient) -> None:
    http.post("/jobs", json={"name": "add", "id": "later", "delay": "5m"})

    job = http.get("/jobs/later").json()
    assert job["status"] == "scheduled"
    assert job["due_at"] is not None


@pytest.mark.parametrize(
    ("body", "status", "expected"),
    [
        (b"{", 400, "not valid JSON"),
        (b"", 400, "not valid JSON"),
        (b'{"name": "add", "payload": "\xff"}', 400, "not valid JSON"),
        (b"[" * 100_000, 422, "not a valid job"),
        (b"17", 422, "not a valid job"),
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
def test_invalid_job_is_rejected_with_the_reason(
    http: TestClient, body: bytes, status: int, expected: str
) -> None:
    assert_problem(http.post("/jobs", content=body, headers=JSON), status, expected)


def test_list_with_an_invalid_job_enqueues_nothing(
    http: TestClient, client: redis.Redis, keys: Keys
) -> None:
    jobs = [*[{"name": "add"}] * 1_000, {"name": "add", "delay": "soon"}]

    response = http.post("/jobs", json=jobs)

    assert_problem(response, 422, "expected a duration")
    assert client.llen(keys.queue("normal")) == 0


def test_oversized_request_is_rejected(http: TestClient) -> None:
    response = http.post("/jobs", content=b" " * (MAX_BODY_BYTES + 1), headers=JSON)

    assert_problem(response, 413, "split the jobs into several requests")


def test_unknown_job_is_a_problem(http: TestClient) -> None:
    assert_problem(http.get("/jobs/nobody"), 404, 'no job has the id "nobody"')


def test_unknown_path_or_method_is_a_problem(http: TestClient) -> None:
    assert_problem(http.get("/jbos"), 404, "see /docs")
    assert_problem(http.delete("/queues"), 405, "does not allow DELETE")


def test_wait_ends_when_the_job_finishes(http: TestClient, client: redis.Redis, keys: Keys) -> None:
    http.post("/jobs", json={"name": "add", "id": "it"})
    finisher = threading.Timer(0.2, _finish_one, (client, keys, b"[3]"))
    finisher.start()

    job = http.get("/jobs/it?wait=30s").json()

    finisher.join()
    assert (job["status"], job["result"], job["duration_ms"]) == ("completed", [3], 5)
    started, completed = (
        datetime.fromisoformat(job[name]) for name in ("started_at", "completed_at")
    )
    assert completed - started == timedelta(milliseconds=5)


def test_expired_wait_returns_the_job_as_it_is(http: TestClient) -> None:
    http.post("/jobs", json={"name": "add", "id": "it"})

    response = http.get("/jobs/it?wait=50ms")

    assert (response.status_code, response.json()["status"]) == (200, "pending")


def test_wait_must_be_a_duration(http: TestClient) -> None:
    assert_problem(http.get("/jobs/it?wait=long"), 422, 'got "long"')


def test_queues_show_ready_jobs(http: TestClient) -> None:
    http.post("/jobs", json=[{"name": "add", "priority": "low"}] * 2)

    found = http.get("/queues").json()

    assert found["backlog"]["ready"] == 2
    assert found["queues"]["low"]["ready"] == 2
    assert found["workers"] == []


def test_idle_system_is_healthy(http: TestClient) -> None:
    response = http.get("/health")

    assert (response.status_code, response.json()["status"]) == (200, "ok")


def test_ready_jobs_without_workers_are_unhealthy(http: TestClient) -> None:
    http.post("/jobs", json={"name": "add"})

    assert_problem(http.get("/health"), 503, "1 ready job but no workers running")


@pytest.mark.parametrize("path", ["/health", "/readyz", "/queues", "/jobs/it"])
def test_unreachable_redis_is_a_problem(disconnected_http: TestClient, path: str) -> None:
    response = disconnected_http.get(path)

    assert_problem(response, 503, "cannot reach Redis at 127.0.0.1:1")
    assert response.headers["retry-after"] == "1"


def test_denied_redis_permission_is_not_an_internal_error(
    client: redis.Redis, server_url: str, prefix: str
) -> None:
    user = f"nobody-{prefix}"
    client.acl_setuser(user, enabled=True, passwords=["+pw"], commands=["+ping"])
    try:
        url = server_url.replace("redis://", f"redis://{user}:pw@")
        with serving(url, prefix) as http:
            response = http.get("/jobs/it")
    finally:
        client.acl_deluser(user)

    assert response.status_code == 503, response.text
    assert response.headers["retry-after"] == "1"


def test_process_is_alive_without_redis(disconnected_http: TestClient) -> None:
    assert disconnected_http.get("/livez").status_code == 200
    assert disconnected_http.get("/metrics").status_code == 200


def test_metrics_count_requests_by_route_and_include_queues(http: TestClient) -> None:
    http.post("/jobs", json=[{"name": "add", "priority": "high"}] * 2)
    http.get("/jobs/nobody")

    text = http.get("/metrics").text

    assert 'bananas_queue_depth{priority="high"} 2.0' in text
    assert "bananas_jobs_enqueued_total 2.0" in text
    assert 'route="/jobs",status="202"} 1.0' in text
    assert 'route="/jobs/{job_id:path}",status="404"} 1.0' in text
    assert "nobody" not in text


def test_unknown_methods_share_one_series(http: TestClient) -> None:
    http.request("FROBNICATE", "/queues")

    text = http.get("/metrics").text

    assert 'method="other",route="/queues",status="405"} 1.0' in text
    assert "FROBNICATE" not in text


def test_unexpected_error_is_a_counted_problem(server_url: str, prefix: str) -> None:
    with serving(server_url, prefix) as http:
        assert_problem(http.get(add_broken_route(http)), 500, "see the api log")

        assert 'route="/broken",status="500"} 1.0' in http.get("/metrics").text


def test_openapi_describes_request_and_response_schemas(http: TestClient) -> None:
    document = http.get("/openapi.json").json()

    body = document["paths"]["/jobs"]["post"]["requestBody"]["content"]["application/json"]
    assert {"$ref": "#/components/schemas/NewJobBody"} in body["schema"]["oneOf"]
    schemas = document["components"]["schemas"]
    assert "delay" in schemas["NewJobBody"]["properties"]
    for name in re.findall(r"#/components/schemas/(\w+)", json.dumps(document)):
        assert name in schemas


def test_a_job_that_the_server_rejects_is_413_and_one_without_memory_503(
    prefix: str, tmp_path: Path
) -> None:
    with (
        running(tmp_path / "limited", "--proto-max-bulk-len", "1mb") as port,
        connect(f"redis://{HOST}:{port}") as client,
    ):
        wait_until(client.ping)
        with serving(f"redis://{HOST}:{port}", prefix) as http:
            large = {"name": "add", "id": "big", "payload": "x" * 2_000_000}

            response = http.post("/jobs", json=[{"name": "add", "id": "a"}, large])

            assert_problem(response, 413, "cannot enqueue add job big of 2,000,")
            assert http.get("/jobs/a").json()["status"] == "pending"
            client.config_set("maxmemory", 1)
            response = http.post("/jobs", json={"name": "add"})
            assert_problem(response, 503, "out of memory")
            assert http.get("/jobs/a").json()["status"] == "pending"


def test_openapi_names_every_answer(
    http: TestClient, private_http: TestClient, disconnected_http: TestClient
) -> None:
    http.post("/jobs", json={"name": "add", "id": "it"})
    answers = {
        ("/jobs", "post"): [
            http.post("/jobs", json={"name": "add"}),
            http.post("/jobs", json=[]),
            http.post("/jobs", content=b"{"),
            http.post("/jobs", content=b"x" * (MAX_BODY_BYTES + 1)),
            http.post("/jobs", content=b"{}", headers={"Content-Type": "text/plain"}),
            http.post("/jobs", json={}),
            private_http.post("/jobs", json={"name": "add"}),
            disconnected_http.post("/jobs", json={"name": "add"}),
        ],
        ("/jobs/{job_id}", "get"): [
            http.get("/jobs/it"),
            http.get("/jobs/nobody"),
            http.get("/jobs/it?wait=soon"),
            private_http.get("/jobs/it"),
            disconnected_http.get("/jobs/it"),
        ],
        ("/jobs", "get"): [
            http.get("/jobs"),
            http.get("/jobs?limit=0"),
            http.get("/jobs", headers={"Origin": "https://example.com"}),
            private_http.get("/jobs"),
            disconnected_http.get("/jobs"),
        ],
        ("/jobs/{job_id}", "delete"): [
            http.delete("/jobs/nobody"),
            private_http.delete("/jobs/it"),
            disconnected_http.delete("/jobs/it"),
        ],
        ("/jobs/{job_id}/retry", "post"): [
            http.post("/jobs/nobody/retry"),
            http.post("/jobs/it/retry"),
            http.post("/jobs/it/retry", headers={"Content-Type": "text/plain"}),
            private_http.post("/jobs/it/retry"),
            disconnected_http.post("/jobs/it/retry"),
        ],
        **{
            ("/dead" + path, "post"): [
                http.post("/dead" + path, json={"all": True}),
                http.post("/dead" + path, json={}),
                http.post("/dead" + path, content=b"{"),
                http.post("/dead" + path, content=b"x" * (MAX_BODY_BYTES + 1)),
                private_http.post("/dead" + path, json={"all": True}),
                disconnected_http.post("/dead" + path, json={"all": True}),
            ]
            for path in ("/retry", "/purge")
        },
        ("/dead", "get"): [
            http.get("/dead"), http.get("/dead?limit=0"), disconnected_http.get("/dead"),
        ],
        **{
            (path, "get"): [http.get(path), private_http.get(path), disconnected_http.get(path)]
            for path in ("/workers", "/pools", "/schedules", "/job-types", "/alerts")
        },
        ("/events", "get"): [private_http.get("/events")],
        ("/schedules/{name}/run", "post"): [
            http.post("/schedules/nobody/run"),
            http.post("/schedules/it/run", headers={"Content-Type": "text/plain"}),
            private_http.post("/schedules/it/run"),
            disconnected_http.post("/schedules/it/run"),
        ],
        ("/queues", "get"): [
            http.get("/queues"), private_http.get("/queues"), disconnected_http.get("/queues"),
        ],
        ("/history", "get"): [
            http.get("/history"), http.get("/history?period=week"), private_http.get("/history"),
            disconnected_http.get("/history"),
        ],
        ("/health", "get"): [http.get("/health"), disconnected_http.get("/health")],
        ("/readyz", "get"): [http.get("/readyz"), disconnected_http.get("/readyz")],
        ("/livez", "get"): [http.get("/livez")],
        ("/metrics", "get"): [http.get("/metrics")],
    }  # fmt: skip
    document = http.get("/openapi.json").json()
    assert {(path, method) for path, each in document["paths"].items() for method in each} == {
        *answers
    }

    for (path, method), responses in answers.items():
        for response in responses:
            described = document["paths"][path][method]["responses"][str(response.status_code)]
            media_type = response.headers["content-type"].partition(";")[0]
            schema = described["content"][media_type]["schema"]
            if media_type != "text/plain":
                jsonschema.validate(response.json(), document | schema)
            named = {name.lower() for name in described.get("headers", {})}
            assert named <= {*response.headers, "www-authenticate", "location"}


def test_openapi_names_no_other_type_of_a_body_than_the_one_sent(http: TestClient) -> None:
    document = http.get("/openapi.json").json()

    types = {
        path: list(each["get"]["responses"]["200"]["content"])
        for path, each in document["paths"].items()
        if "get" in each
    }

    assert types == {path: ["application/json"] for path in types} | {
        "/events": ["text/event-stream"],
        "/metrics": ["text/plain"],
    }
