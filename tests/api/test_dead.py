"""Dead jobs, workers and pools over HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis
from fastapi.testclient import TestClient

from bananas_topology.jobs.dead import PAGE_EXAMINED
from bananas_topology.jobs.keys import Keys
from tests.api.conftest import JSON, assert_problem


@pytest.fixture
def dead(client: redis.Redis, keys: Keys) -> list[str]:
    """250 dead jobs, by id, oldest first. Those with an odd number are of type `sub`."""
    ids = [f"{number:03}" for number in range(250)]
    for number, job_id in enumerate(ids):
        name = "sub" if number % 2 else "add"
        body = {"id": job_id, "name": name, "priority": "high", "attempts": 4, "status": "failed"}
        failure = {"type": "ValueError", "message": f"no {number}", "at": "2026-01-01T00:00:00Z"}
        client.set(keys.job(job_id), json.dumps(body))
        client.set(keys.failure(job_id), json.dumps(failure))
        client.lpush(keys.dead, job_id)
    return ids


def _pages(http: TestClient, **query: Any) -> list[str]:
    found: list[str] = []
    while True:
        page = http.get("/dead", params=query).json()
        assert len(page["jobs"]) <= query["limit"]
        found += [job["id"] for job in page["jobs"]]
        if page["next"] is None:
            return found
        query["cursor"] = page["next"]


@pytest.mark.parametrize("limit", [1, 60, 125, 200])
def test_dead_jobs_are_listed_newest_first_once_each(
    http: TestClient, dead: list[str], limit: int
) -> None:
    assert _pages(http, limit=limit) == dead[::-1]
    assert _pages(http, limit=limit, type="sub") == dead[::-1][::2]
    matching = [job_id for job_id in dead[::-1] if f"no {int(job_id)}".startswith("no 17")]
    assert _pages(http, limit=limit, error="NO 17") == matching
    assert _pages(http, limit=limit, older_than="100000h") == []


def test_burying_between_pages_repeats_and_omits_nothing(
    http: TestClient, dead: list[str], client: redis.Redis, keys: Keys
) -> None:
    first = http.get("/dead?limit=100").json()
    client.lpush(keys.dead, "newer")

    rest = _pages(http, limit=100, cursor=first["next"])

    assert [job["id"] for job in first["jobs"]] + rest == dead[::-1]
    assert first["total"] == 250
    assert first["jobs"][0]["error"] == "ValueError: no 249"


def test_a_page_of_dead_jobs_examines_a_bounded_number(
    http: TestClient, client: redis.Redis, keys: Keys
) -> None:
    client.lpush(keys.dead, *(str(number) for number in range(PAGE_EXAMINED + 1)))

    page = http.get("/dead?type=sub").json()

    assert (page["jobs"], page["next"]) == ([], 1)


@pytest.mark.parametrize("action", ["retry", "purge"])
def test_the_dry_run_counts_what_is_changed(
    http: TestClient, dead: list[str], client: redis.Redis, keys: Keys, action: str
) -> None:
    selection = {"type": "sub", "error": "no 1"}
    path = f"/dead/{action}"

    counted = http.post(path, json=selection | {"dry_run": True}).json()
    assert client.llen(keys.dead) == 250
    changed = http.post(path, json=selection).json()

    assert counted["dry_run"] is True
    assert changed == counted | {"dry_run": False}
    assert client.llen(keys.dead) == 250 - counted["count"]
    assert client.llen(keys.queue("high")) == (counted["count"] if action == "retry" else 0)
    assert client.exists(keys.job("011")) == (action == "retry")
    assert http.post(path, json=selection).json()["count"] == 0


def test_all_and_ids_select_dead_jobs(
    http: TestClient, dead: list[str], client: redis.Redis, keys: Keys
) -> None:
    client.set(keys.job("000"), "not JSON")
    selection = {"ids": ["000", "001", "nobody"], "dry_run": True}

    retriable = http.post("/dead/retry", json=selection).json()
    assert (retriable["count"], retriable["unreadable"]) == (1, ["000"])
    assert http.post("/dead/purge", json=selection).json()["count"] == 2
    response = http.post("/dead/retry", json={"ids": ["000", "001", "nobody"]}).json()
    assert response["count"] == 1
    assert "000" in response["unreadable"]
    assert http.post("/dead/purge", json={"all": True}).json()["count"] == 249
    assert client.lrange(keys.dead, 0, -1) == []


@pytest.mark.parametrize(
    ("body", "status", "expected"),
    [
        (b"", 400, "not valid JSON"),
        (b"{}", 422, "or all: true"),
        (b'{"dry_run": true}', 422, "or all: true"),
        (b'{"all": true, "type": "add"}', 422, "or all: true"),
        (b'{"ids": []}', 422, "$.ids"),
        (b'{"typ": "add"}', 422, "unknown field `typ`"),
        (b'{"older_than": "soon"}', 422, "older_than: expected a duration"),
        (b'{"all": "yes"}', 422, "$.all"),
    ],
)
def test_an_invalid_selection_changes_nothing(
    http: TestClient,
    dead: list[str],
    client: redis.Redis,
    keys: Keys,
    body: bytes,
    status: int,
    expected: str,
) -> None:
    for path in ("/dead/retry", "/dead/purge"):
        assert_problem(http.post(path, content=body, headers=JSON), status, expected)
    assert client.llen(keys.dead) == 250
    assert_problem(http.get("/dead?older_than=soon"), 422, "older_than: expected a duration")


def test_an_id_that_is_not_text_breaks_no_page(
    http: TestClient, client: redis.Redis, keys: Keys
) -> None:
    client.lpush(keys.dead, b"\xff")

    assert [job["id"] for job in http.get("/dead").json()["jobs"]] == ["\ufffd"]
    assert http.post("/dead/retry", json={"all": True}).json()["unreadable"] == ["\ufffd"]
