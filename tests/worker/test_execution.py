from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from bananas_topology.contract.worker import JobLimits, WorkerConfig
from bananas_topology.handlers import load_handlers
from bananas_topology.jobs.exchange import Ack, Bury, Release, Retry, Settlement
from bananas_topology.jobs.job import Claim
from bananas_topology.system.clock import monotonic, parse_timestamp
from bananas_topology.worker.execution import (
    RESULT_LIMIT,
    Abandoned,
    Completed,
    Failed,
    Hopeless,
    Outcome,
    SetAside,
    completed,
    execute,
    prepare,
)
from bananas_topology.worker.logs import fields_of
from bananas_topology.worker.run import Run, Task, resolve_tasks
from bananas_topology.worker.settlement import Settler, log_settlement
from tests.worker import sample_jobs


def _tasks(**changes: Any) -> dict[str, Task]:
    config = WorkerConfig(worker_id="w", **changes)
    return resolve_tasks(load_handlers((sample_jobs.__name__,)), config)


def _run(job_type: str, payload: Any = None, **fields: Any) -> Run:
    body = {"id": "1", "name": job_type, "payload": payload, **fields}
    return Run(Claim("1", json.dumps(body).encode(), b"t.1|normal|0"), monotonic())


def _outcome(run: Run, tasks: dict[str, Task] | None = None) -> Outcome:
    task = prepare(run, tasks or _tasks())
    return task if isinstance(task, SetAside) else execute(run)


def _settle(run: Run, tasks: dict[str, Task] | None = None) -> Settlement:
    return Settler(lambda: 0.0).settle(run, _outcome(run, tasks))


@pytest.mark.parametrize(
    ("job_type", "payload", "kind", "told"),
    [
        ("mail", {"copies": 2}, "InvalidPayload", "missing required field `to`"),
        ("mail", "x", "InvalidPayload", "Expected `object`"),
        ("no_json", None, "InvalidResult", "returned a object, not a JSON value"),
        ("give_up", None, "Bury", "no use"),
    ],
)
def test_what_would_fail_each_time_is_hopeless(
    job_type: str, payload: Any, kind: str, told: str
) -> None:
    outcome = _outcome(_run(job_type, payload))

    assert isinstance(outcome, Hopeless)
    assert outcome.failure.type == kind
    assert told in outcome.failure.message


def test_a_failure_keeps_the_end_of_the_traceback_and_can_be_stored() -> None:
    outcome = _outcome(_run("surrogates"))

    assert isinstance(outcome, Failed)
    assert outcome.failure.type == "ValueError"
    assert len(outcome.failure.message) <= 2_000 * 6
    assert "\\ud800" in outcome.failure.message
    outcome.failure.traceback.encode("utf-8")


def test_a_result_beyond_all_bounds_is_refused() -> None:
    outcome = completed("x" * RESULT_LIMIT)

    assert isinstance(outcome, Hopeless)
    assert f"expected at most {RESULT_LIMIT}" in outcome.failure.message


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (None, "nothing is stored"),
        (b"\xff", "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
        (b'{"id":"1"}', "cannot be read"),
        (b'{"id":"1","name":"unheard"}', 'one of them "unheard"'),
    ],
)
def test_what_is_no_job_of_ours_is_set_aside(body: bytes | None, reason: str) -> None:
    run = Run(Claim("1", body, b"t.1|normal|0"), monotonic())

    settlement = _settle(run)

    assert isinstance(settlement, Bury)
    assert settlement.body == b""
    assert reason in settlement.error


def test_what_cannot_be_rewritten_is_set_aside_once_it_has_run() -> None:
    body = b'{"id":"1","name":"echo","payload":1,"\xff":2}'
    run = Run(Claim("1", body, b"t.1|normal|0"), monotonic())

    settlement = _settle(run)

    assert isinstance(settlement, Bury)
    assert (settlement.body, settlement.error[:33]) == (b"", "the stored job cannot be rewritte")


def test_success_is_acked_with_the_body_rewritten() -> None:
    settlement = _settle(_run("echo", {"a": []}, extra=3, error="old"))

    assert isinstance(settlement, Ack)
    assert settlement.result == b'{"a":[]}'
    body = json.loads(settlement.body)
    assert (body["status"], body["attempts"], body["extra"]) == ("completed", 1, 3)
    assert "error" not in body
    assert parse_timestamp(body["updated_at"]) <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("fields", "config", "expected"),
    [
        ({}, {"max_retries": 0}, Bury),
        ({}, {"max_retries": 1}, Retry),
        ({"attempts": 1}, {"max_retries": 1}, Bury),
        ({"attempts": 5, "max_retries": 6}, {"max_retries": 1}, Retry),
        ({"max_retries": 0}, {"max_retries": 9}, Bury),
        ({}, {"max_retries": 9, "jobs": {"sleep": JobLimits(max_retries=0)}}, Bury),
    ],
)
def test_the_jobs_own_word_on_retries_comes_first_then_the_topologys(
    fields: dict[str, Any], config: dict[str, Any], expected: type
) -> None:
    run = _run("sleep", 10.0, **fields)
    tasks = _tasks(**config)
    prepare(run, tasks)

    settlement = Settler(lambda: 0.0).settle(run, Failed(_failure()))

    assert isinstance(settlement, expected)


def _failure() -> Any:
    outcome = _outcome(_run("fail", "why"))
    assert isinstance(outcome, Failed)
    return outcome.failure


@pytest.mark.parametrize(
    ("attempts", "limits", "delay_ms"),
    [
        (0, JobLimits(), 2_000),
        (2, JobLimits(), 8_000),
        (40, JobLimits(), 3_600_000),
        (0, JobLimits(backoff_base_ms=100), 200),
        (5, JobLimits(backoff_base_ms=100, backoff_cap_ms=500), 500),
    ],
)
def test_backoff_doubles_up_to_its_cap(attempts: int, limits: JobLimits, delay_ms: int) -> None:
    run = _run("sleep", 1.0, attempts=attempts, max_retries=100)
    prepare(run, _tasks(jobs={"sleep": limits}))

    settlement = Settler(lambda: 0.0).settle(run, Failed(_failure()))

    assert isinstance(settlement, Retry)
    assert settlement.delay_ms == delay_ms
    body = json.loads(settlement.body)
    assert (body["status"], body["error"], body["attempts"]) == ("pending", "why", attempts + 1)
    assert next(iter(body)) == "scheduled_for"


def test_a_retrys_own_delay_wins() -> None:
    settlement = _settle(_run("ask_again"))

    assert isinstance(settlement, Retry)
    assert settlement.delay_ms == 10


def test_what_is_given_up_goes_back_untouched() -> None:
    run = _run("echo")

    assert Settler(lambda: 0.0).settle(run, Abandoned()) == Release(run.claim)


def test_falsy_results_are_results() -> None:
    values: list[Any] = [None, 0, False, "", [], {}]
    for value in values:
        assert _outcome(_run("echo", value)) == Completed(json.dumps(value).encode())


@pytest.mark.parametrize(
    ("max_retries", "event"), [(3, "job failed, runs again"), (0, "job buried")]
)
def test_the_log_says_of_what_kind_a_failure_was(
    caplog: pytest.LogCaptureFixture, max_retries: int, event: str
) -> None:
    run = _run("fail", "is wrong", max_retries=max_retries)
    settlement = _settle(run, _tasks())

    with caplog.at_level("WARNING"):
        log_settlement(run, settlement)

    [record] = caplog.records
    assert record.getMessage() == event
    assert fields_of(record)["error"] == "ValueError: is wrong"
