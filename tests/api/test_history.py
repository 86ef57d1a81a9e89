"""The history, as charts read it. What is counted: tests/worker/test_history.py."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
import redis
from fastapi.testclient import TestClient

from bananas_topology.jobs.broker import Broker
from bananas_topology.jobs.history import HistoryFlush, TypeCounts
from bananas_topology.jobs.keys import Keys
from tests.api.conftest import assert_problem
from tests.jobs.support import Worker

#: One run of 0.1 s and one of a second, in the form of log_histogram.py.
RUNS = [-37, 1, -11, 1]


@pytest.fixture
def counted(client: redis.Redis, keys: Keys) -> None:
    """What two pools have done: `add` and `sub` in one, `add` in the other."""
    broker = Broker(client, keys)
    for pool, types in {"high": ("add", "sub"), "low": ("add",)}.items():
        counts = [TypeCounts(job_type, 1, 1, 1, RUNS, []) for job_type in types]
        worker = Worker(broker, pool)
        flush = HistoryFlush.of(pool, pool, counts)
        broker.heartbeat(worker.consumer, pool, {}, boot=True, flush=flush)


def _totals(found: Any) -> list[tuple[Any, int]]:
    return [(each["name"], each["completed"]) for each in found]


@pytest.mark.usefixtures("counted")
@pytest.mark.parametrize(("period", "step_s", "steps"), [("hour", 60, 60), ("day", 900, 96)])
def test_a_period_is_shown_by_step_and_by_type_and_pool(
    http: TestClient, period: str, step_s: int, steps: int
) -> None:
    history = http.get("/history", params={"period": period}).json()

    schema = {"$ref": "#/components/schemas/HistoryJson"} | http.get("/openapi.json").json()
    jsonschema.validate(history, schema)
    assert (history["period"], history["step_s"]) == (period, step_s)
    assert len(history["points"]) == steps
    assert history["from"] == history["points"][0]["at"]
    assert history["points"][-1]["at"] <= history["until"]
    assert [sum(point[field] for point in history["points"]) for field in ("failed", "dead")] == [
        3,
        3,
    ]
    assert _totals(history["types"]) == [("add", 2), ("sub", 1)]
    assert _totals(history["pools"]) == [("high", 2), ("low", 1)]
    run_ms = history["types"][0]["run_ms"]
    assert run_ms["p50"] == pytest.approx(100, rel=0.1)
    assert run_ms["p95"] == run_ms["p99"] == pytest.approx(1000, rel=0.1)
    assert history["types"][0]["wait_ms"] is None


@pytest.mark.usefixtures("counted")
def test_points_are_narrowed_to_a_type_and_a_pool(http: TestClient) -> None:
    def completed(**narrowed: str) -> int:
        history = http.get("/history", params=narrowed).json()
        assert _totals(history["types"]) == [("add", 2), ("sub", 1)]
        return sum(point["completed"] for point in history["points"])

    assert completed(type="add") == 2
    assert completed(pool="high") == 2
    assert completed(type="add", pool="high") == 1
    assert completed(type="sub", pool="low") == completed(type="other") == 0


def test_without_jobs_every_step_is_empty(http: TestClient) -> None:
    history = http.get("/history").json()

    assert history["period"] == "hour"
    assert {(point["completed"], point["run_ms"]) for point in history["points"]} == {(0, None)}
    assert history["types"] == history["pools"] == []


@pytest.mark.parametrize(("reuse_s", "completed"), [(3600.0, 0), (-1.0, 1)])
def test_an_answer_is_given_again_for_a_moment(
    http: TestClient,
    client: redis.Redis,
    keys: Keys,
    monkeypatch: pytest.MonkeyPatch,
    reuse_s: float,
    completed: int,
) -> None:
    monkeypatch.setattr("bananas_topology.api.history.REUSE_S", reuse_s)
    assert http.get("/history").json()["types"] == []
    worker = Worker(broker := Broker(client, keys))
    flush = HistoryFlush.of("token", "default", [TypeCounts("add", 1, 0, 0, RUNS, [])])
    broker.heartbeat(worker.consumer, "i", {}, boot=True, flush=flush)

    again = http.get("/history").json()["types"]

    assert sum(each["completed"] for each in again) == completed
    assert _totals(http.get("/history?type=add").json()["types"]) == [("add", 1)]


def test_an_unknown_period_is_refused(http: TestClient) -> None:
    assert_problem(http.get("/history?period=week"), 422, "'hour' or 'day'")
