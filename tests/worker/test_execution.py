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
    Completed,
    Failed,
    Outcome,
    Permanent,
    Released,
    Unreadable,
    completed,
    execute,
    prepare,
)
from bananas_topology.worker.logs import fields_of
from bananas_topology.worker.run import BoundHandler, Run, bind_handlers
from bananas_topology.worker.settlement import Settler, log_settlement
from tests.worker import sample_jobs


def _handlers(**changes: Any) -> dict[str, BoundHandler]:
    config = WorkerConfig(worker_id="w", **changes)
    return bind_handlers(load_handlers((sample_jobs.__name__,)), config)


def _run(job_type: str, payload: Any = None, **fields: Any) -> Run:
    body = {"id": "1", "name": job_type, "payload": payload, **fields}
    return Run(Claim("1", json.dumps(body).encode(), b"t.1|normal|0"), monotonic())


def _outcome(run: Run, handlers: dict[str, BoundHandler] | None = None) -> Outcome:
    bound = prepare(run, handlers or _handlers())
    return bound if isinstance(bound, Unreadable) else execute(run)


def _settle(run: Run, handlers: dict[str, BoundHandler] | None = None) -> Settlement:
    return Settler(lambda: 0.0).settle(run, _outcome(run, handlers))


@pytest.mark.parametrize(
    ("job_type", "payload", "kind", "message"),
    [
        ("mail", {"copies": 2}, "InvalidPayload", "missing required field `to`"),
        ("mail", "x", "InvalidPayload", "Expected `object`"),
        ("not_json", None, "InvalidResult", "returned a object, not a JSON value"),
        ("give_up", None, "Bury", "no use"),
    ],
)
def test_an_error_that_would_recur_fails_permanently(
    job_type: str, payload: Any, kind: str, message: str
) -> None:
    outcome = _outcome(_run(job_type, payload))

    assert isinstance(outcome, Permanent)
    assert outcome.failure.type == kind
    assert message in outcome.failure.message


def test_a_failure_is_truncated_and_can_be_stored() -> None:
    outcome = _outcome(_run("surrogates"))

    assert isinstance(outcome, Failed)
    assert outcome.failure.type == "ValueError"
    assert len(outcome.failure.message) <= 2_000 * 6
    assert "\\ud800" in outcome.failure.message
    outcome.failure.traceback.encode("utf-8")


def test_a_result_over_the_limit_fails_permanently() -> None:
    outcome = completed("x" * RESULT_LIMIT)

    assert isinstance(outcome, Permanent)
    assert f"at most {RESULT_LIMIT} bytes" in outcome.failure.message


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (None, "no job is stored"),
        (b"\xff", "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
        (b'{"id":"1"}', "cannot be read"),
        (b'{"id":"1","name":"other"}', 'named "other"'),
    ],
)
def test_an_unreadable_job_is_buried_unchanged(body: bytes | None, reason: str) -> None:
    run = Run(Claim("1", body, b"t.1|normal|0"), monotonic())

    settlement = _settle(run)

    assert isinstance(settlement, Bury)
    assert settlement.body == b""
    assert reason in settlement.error


def test_a_job_that_cannot_be_rewritten_is_buried_after_its_run() -> None:
    body = b'{"id":"1","name":"echo","payload":1,"\xff":2}'
    run = Run(Claim("1", body, b"t.1|normal|0"), monotonic())

    settlement = _settle(run)

    assert isinstance(settlement, Bury)
    assert settlement.body == b""
    assert settlement.error.startswith("cannot rewrite the stored job")


def test_a_completed_job_is_acked_with_its_body_updated() -> None:
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
def test_max_retries_of_the_job_overrides_the_topology_and_the_handler(
    fields: dict[str, Any], config: dict[str, Any], expected: type
) -> None:
    run = _run("sleep", 10.0, **fields)
    prepare(run, _handlers(**config))

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
    prepare(run, _handlers(jobs={"sleep": limits}))

    settlement = Settler(lambda: 0.0).settle(run, Failed(_failure()))

    assert isinstance(settlement, Retry)
    assert settlement.delay_ms == delay_ms
    body = json.loads(settlement.body)
    assert (body["status"], body["error"], body["attempts"]) == ("pending", "why", attempts + 1)
    assert next(iter(body)) == "scheduled_for"


def test_the_delay_of_a_raised_retry_overrides_the_backoff() -> None:
    settlement = _settle(_run("ask_again"))

    assert isinstance(settlement, Retry)
    assert settlement.delay_ms == 10


def test_a_released_job_is_unchanged() -> None:
    run = _run("echo")

    assert Settler(lambda: 0.0).settle(run, Released()) == Release(run.claim)


def test_falsy_results_are_stored() -> None:
    values: list[Any] = [None, 0, False, "", [], {}]
    for value in values:
        assert _outcome(_run("echo", value)) == Completed(json.dumps(value).encode())


@pytest.mark.parametrize(
    ("max_retries", "event"), [(3, "job failed, runs again"), (0, "job buried")]
)
def test_the_log_has_the_exception_type_of_a_failure(
    caplog: pytest.LogCaptureFixture, max_retries: int, event: str
) -> None:
    run = _run("fail", "is wrong", max_retries=max_retries)
    settlement = _settle(run, _handlers())

    with caplog.at_level("WARNING"):
        log_settlement(run, settlement)

    [record] = caplog.records
    assert record.getMessage() == event
    assert fields_of(record)["error"] == "ValueError: is wrong"
