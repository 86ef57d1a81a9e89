"""Finding jobs, cancelling and retrying them, over HTTP."""

from __future__ import annotations

from urllib.parse import quote

import pytest
import redis
from fastapi.testclient import TestClient

from bananas_topology.jobs.broker import Broker
from bananas_topology.jobs.keys import Keys
from tests.api.conftest import assert_problem
from tests.jobs.support import Worker, store_dead


def test_jobs_are_listed_a_page_at_a_time(http: TestClient) -> None:
    http.post("/jobs", json=[{"name": "add", "id": str(number)} for number in range(5)])
    http.post("/jobs", json={"name": "sub", "id": "later", "delay": "1h", "payload": "needle"})

    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = http.get("/jobs", params={"state": "pending", "limit": "2"} | cursor).json()
        assert len(page["jobs"]) <= 2
        seen += [job["id"] for job in page["jobs"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}

    assert seen == ["4", "3", "2", "1", "0"]
    query = {"text": "NEEDLE", "type": "sub", "state": "scheduled"}
    [job] = http.get("/jobs", params=query).json()["jobs"]
    assert (job["id"], job["status"], job["priority"]) == ("later", "scheduled", "normal")
    assert job["due_at"] > job["created_at"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("state=asleep", "'pending', 'scheduled'"),
        ("limit=0", "greater than or equal to 1"),
        ("limit=1000000", "less than or equal to 200"),
        ("limit=x", "valid integer"),
        ("cursor=ff", "cursor: expected one of an earlier page"),
    ],
)
def test_an_invalid_query_is_a_problem(http: TestClient, query: str, expected: str) -> None:
    assert_problem(http.get(f"/jobs?{query}"), 422, expected)


@pytest.mark.parametrize("job_id", ["it", "a/b", "a b", "é?%"])
def test_a_job_is_cancelled_before_it_starts(
    http: TestClient, client: redis.Redis, keys: Keys, job_id: str
) -> None:
    http.post("/jobs", json={"name": "add", "id": job_id})
    http.post("/jobs", json={"name": "add", "id": "other"})
    path = f"/jobs/{quote(job_id, safe='')}"

    response = http.delete(path)

    assert (response.status_code, response.content) == (204, b"")
    assert_problem(http.get(path), 404, "no job has the id")
    assert_problem(http.delete(path), 404, "no job has the id")
    [claim] = Worker(Broker(client, keys)).exchange(count=1).claims
    assert claim.job_id == "other"
    assert_problem(http.delete("/jobs/other"), 409, '"other" is processing')
    assert http.get("/jobs/other").json()["status"] == "processing"


def test_a_dead_job_is_retried_once(http: TestClient, client: redis.Redis, keys: Keys) -> None:
    store_dead(client, keys, "a/b")
    assert_problem(http.delete("/jobs/a%2Fb"), 409, "is failed")

    response = http.post("/jobs/a%2Fb/retry")

    assert (response.status_code, response.json()) == (202, {"id": "a/b"})
    job = http.get("/jobs/a%2Fb").json()
    assert (job["status"], job["attempts"], job["error"]) == ("pending", 0, None)
    assert_problem(http.post("/jobs/a%2Fb/retry"), 409, "is pending: only dead jobs")
    assert client.lrange(keys.queue("normal"), 0, -1) == [b"a/b"]


def test_what_cannot_be_retried_is_a_problem(
    http: TestClient, client: redis.Redis, keys: Keys
) -> None:
    store_dead(client, keys, "broken", body="not JSON")

    assert_problem(http.post("/jobs/broken/retry"), 409, "cannot be read")
    assert_problem(http.post("/jobs/nobody/retry"), 404, "no job has the id")
    assert client.lrange(keys.dead, 0, -1) == [b"broken"]
