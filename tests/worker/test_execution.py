from __future__ import annotations

import json
from typing import Any

import pydantic
import pytest

from bananas_topology.contract.worker import WorkerConfig
from bananas_topology.handler_modules import load_handlers
from bananas_topology.jobs.job import Claim
from bananas_topology.system.clock import monotonic
from bananas_topology.worker.execution import (
    RESULT_LIMIT,
    Completed,
    Failed,
    Outcome,
    Permanent,
    Unreadable,
    completed,
    execute,
    prepare,
)
from bananas_topology.worker.run import BoundHandler, Run, bind_handlers
from tests.worker import sample_jobs


def _handlers(**changes: Any) -> dict[str, BoundHandler]:
    config = WorkerConfig(worker_id="w", **changes)
    return bind_handlers(load_handlers((sample_jobs.__name__,)), config)


def _run(job_type: str, payload: Any = None, **fields: Any) -> Run:
    body = {"id": "1", "name": job_type, "payload": payload, **fields}
    return Run(Claim("1", json.dumps(body).encode(), b"t.1|normal|0"), monotonic())


def _outcome(run: Run, handlers: dict[str, BoundHandler] | None = None) -> Outcome:
    bound = prepare(run, handlers or _handlers())
    outcome = bound if isinstance(bound, Unreadable) else execute(run)
    assert outcome is not None
    return outcome


@pytest.mark.parametrize(
    ("job_type", "payload", "kind", "message"),
    [
        ("mail", {"copies": 2}, "InvalidPayload", "missing required field `to`"),
        ("mail", "x", "InvalidPayload", "Expected `object`"),
        ("not_json", None, "InvalidResult", "cannot encode the returned object as JSON"),
        ("non_finite", None, "InvalidResult", "returned list as JSON: expected a finite number"),
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


def test_a_pydantic_model_can_be_returned() -> None:
    class Model(pydantic.BaseModel):
        x: int | None

    assert completed([Model(x=None)]) == Completed(b'[{"x":null}]')


def test_falsy_results_are_stored() -> None:
    values: list[Any] = [None, 0, False, "", [], {}]
    for value in values:
        assert _outcome(_run("echo", value)) == Completed(json.dumps(value).encode())
