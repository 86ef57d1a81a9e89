from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from bananas_topology.contract.jobs import JobSettings
from bananas_topology.contract.worker import WorkerConfig
from bananas_topology.errors import RedisUnavailable
from bananas_topology.handler_modules import load_handlers
from bananas_topology.jobs.exchange import PendingExchange, Settled
from bananas_topology.jobs.job import Claim
from bananas_topology.jobs.settlements import AckJob, BuryJob, ReleaseJob, RetryJob, Settlement
from bananas_topology.system.clock import monotonic, parse_timestamp
from bananas_topology.worker import settlement
from bananas_topology.worker.execution import (
    Failed,
    Outcome,
    Released,
    Unreadable,
    execute,
    prepare,
)
from bananas_topology.worker.logs import fields_of
from bananas_topology.worker.metrics import Tally
from bananas_topology.worker.run import BoundHandler, Run, bind_handlers
from bananas_topology.worker.settlement import PendingSettlements, Settler, log_settlement
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


def _settle(run: Run, handlers: dict[str, BoundHandler] | None = None) -> Settlement:
    return Settler(lambda: 0.0).settle(run, _outcome(run, handlers))


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

    assert isinstance(settlement, BuryJob)
    assert settlement.body == b""
    assert reason in settlement.error


def test_a_job_that_cannot_be_rewritten_is_buried_after_its_run() -> None:
    body = b'{"id":"1","name":"echo","payload":1,"\xff":2}'
    run = Run(Claim("1", body, b"t.1|normal|0"), monotonic())

    settlement = _settle(run)

    assert isinstance(settlement, BuryJob)
    assert settlement.body == b""
    assert settlement.error.startswith("cannot rewrite the stored job")


def test_a_completed_job_is_acked_with_its_body_updated() -> None:
    settlement = _settle(_run("echo", {"a": []}, extra=3, error="old"))

    assert isinstance(settlement, AckJob)
    assert settlement.result == b'{"a":[]}'
    body = json.loads(settlement.body)
    assert (body["status"], body["attempts"], body["extra"]) == ("completed", 1, 3)
    assert "error" not in body
    assert parse_timestamp(body["updated_at"]) <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("fields", "config", "expected"),
    [
        ({}, {"max_retries": 0}, BuryJob),
        ({}, {"max_retries": 1}, RetryJob),
        ({"attempts": 1}, {"max_retries": 1}, BuryJob),
        ({"attempts": 5, "max_retries": 6}, {"max_retries": 1}, RetryJob),
        ({"max_retries": 0}, {"max_retries": 9}, BuryJob),
        ({}, {"max_retries": 9, "jobs": {"sleep": JobSettings(max_retries=0)}}, BuryJob),
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
        (0, JobSettings(), 2_000),
        (2, JobSettings(), 8_000),
        (40, JobSettings(), 3_600_000),
        (0, JobSettings(backoff_base_ms=100), 200),
        (5, JobSettings(backoff_base_ms=100, backoff_cap_ms=500), 500),
    ],
)
def test_backoff_doubles_up_to_its_cap(attempts: int, limits: JobSettings, delay_ms: int) -> None:
    run = _run("sleep", 1.0, attempts=attempts, max_retries=100)
    prepare(run, _handlers(jobs={"sleep": limits}))

    settlement = Settler(lambda: 0.0).settle(run, Failed(_failure()))

    assert isinstance(settlement, RetryJob)
    assert settlement.delay_ms == delay_ms
    body = json.loads(settlement.body)
    assert (body["status"], body["error"], body["attempts"]) == ("pending", "why", attempts + 1)
    assert next(iter(body)) == "scheduled_for"


def test_the_delay_of_a_raised_retry_overrides_the_backoff() -> None:
    settlement = _settle(_run("ask_again"))

    assert isinstance(settlement, RetryJob)
    assert settlement.delay_ms == 10


def test_a_released_job_is_unchanged() -> None:
    run = _run("echo")

    assert Settler(lambda: 0.0).settle(run, Released()) == ReleaseJob(run.claim)


@pytest.mark.parametrize(
    ("max_retries", "event"), [(3, "job failed, retry scheduled"), (0, "job buried")]
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


class Answered(PendingExchange):
    """An exchange whose settlements were all applied except the `lost` ones."""

    def __init__(self, *lost: Settlement) -> None:
        self._lost = lost
        self.is_dropped = False

    def settled(self) -> Settled:
        return Settled(self._lost, ())

    def drop(self) -> None:
        self.is_dropped = True


def _acked(job_id: str, result: bytes = b"null") -> Run:
    claim = Claim(job_id, b"{}", b"fence")
    return Run(claim, 0.0, settlement=AckJob(claim, b"{}", result, "", 0))


@pytest.fixture
def pending() -> PendingSettlements:
    return PendingSettlements(Tally(is_scraped=False))


def test_settlements_in_flight_are_kept_but_not_sent_again(pending: PendingSettlements) -> None:
    first, second = _acked("a"), _acked("b")
    pending.add([first])
    pending.sent(Answered(), pending.batch())

    assert pending.batch() == []
    pending.add([second])

    assert pending.has_unsent
    assert pending.batch() == [second]
    assert pending.runs == [first, second]


def test_confirmed_settlements_are_removed_in_order(pending: PendingSettlements) -> None:
    runs = [_acked(job_id) for job_id in "abc"]
    for run in runs:
        pending.add([run])
        pending.sent(Answered(), pending.batch())

    pending.receive(leave=1)
    assert pending.runs == runs[2:]
    assert pending.due < float("inf")

    pending.receive()
    assert pending.is_empty
    assert pending.due == float("inf")


def test_settlements_in_flight_are_sent_again_after_an_outage(pending: PendingSettlements) -> None:
    runs = [_acked(job_id) for job_id in "abc"]
    pending.add(runs[:2])
    exchange = Answered()
    pending.sent(exchange, pending.batch())
    pending.add(runs[2:])

    pending.requeue(RedisUnavailable("gone"))

    assert exchange.is_dropped
    assert pending.batch() == runs
    assert not pending.is_in_flight


def test_a_batch_is_limited_in_size(
    pending: PendingSettlements, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settlement, "SETTLE_BYTES", 100)
    runs = [_acked("a", b"x" * 60), _acked("b", b"x" * 60), _acked("c")]
    pending.add(runs)

    assert pending.batch() == runs[:2]


def test_a_lost_claim_is_logged(
    pending: PendingSettlements, caplog: pytest.LogCaptureFixture
) -> None:
    run = _acked("a")
    pending.add([run])
    assert run.settlement is not None
    pending.sent(Answered(run.settlement), pending.batch())

    pending.receive()

    [record] = [record for record in caplog.records if record.message == "claim lost"]
    assert vars(record)["job_id"] == "a"
    assert vars(record)["settlement"] == "ack"


def test_a_run_whose_claim_was_lost_does_not_count_as_completed() -> None:
    tally = Tally(is_scraped=False)
    pending, lost, settled = PendingSettlements(tally), _acked("a"), _acked("b")
    lost.duration_s = settled.duration_s = 2.0
    pending.add([lost, settled])
    assert lost.settlement is not None
    pending.sent(Answered(lost.settlement), pending.batch())

    pending.receive()

    assert (tally.completed, tally.settled_s, tally.busy_s) == (1, 2.0, 4.0)
