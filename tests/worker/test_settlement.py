from __future__ import annotations

import pytest

from bananas_topology.jobs.exchange import Ack, PendingExchange, Settlement
from bananas_topology.jobs.job import Claim
from bananas_topology.worker import settlement
from bananas_topology.worker.metrics import Tally
from bananas_topology.worker.run import Run
from bananas_topology.worker.settlement import PendingSettlements


class Answered(PendingExchange):
    """An exchange whose settlements were all applied except the `lost` ones."""

    def __init__(self, *lost: Settlement) -> None:
        self._lost = lost
        self.is_dropped = False

    def lost(self) -> tuple[Settlement, ...]:
        return self._lost

    def drop(self) -> None:
        self.is_dropped = True


def _run(job_id: str, result: bytes = b"null") -> Run:
    claim = Claim(job_id, b"{}", b"fence")
    return Run(claim, 0.0, settlement=Ack(claim, b"{}", result, "", 0))


@pytest.fixture
def pending() -> PendingSettlements:
    return PendingSettlements(Tally(10, is_scraped=False))


def test_settlements_in_flight_are_kept_but_not_sent_again(pending: PendingSettlements) -> None:
    first, second = _run("a"), _run("b")
    pending.add([first])
    pending.sent(Answered(), pending.batch())

    assert pending.batch() == []
    pending.add([second])

    assert pending.has_unsent
    assert pending.batch() == [second]
    assert list(pending.runs) == [first, second]


def test_confirmed_settlements_are_removed_in_order(pending: PendingSettlements) -> None:
    runs = [_run(job_id) for job_id in "abc"]
    for run in runs:
        pending.add([run])
        pending.sent(Answered(), pending.batch())

    pending.receive(leave=1)
    assert list(pending.runs) == runs[2:]
    assert pending.due < float("inf")

    pending.receive()
    assert list(pending.runs) == []
    assert pending.due == float("inf")


def test_settlements_in_flight_are_sent_again_after_an_outage(pending: PendingSettlements) -> None:
    runs = [_run(job_id) for job_id in "abc"]
    pending.add(runs[:2])
    exchange = Answered()
    pending.sent(exchange, pending.batch())
    pending.add(runs[2:])

    pending.requeue()

    assert exchange.is_dropped
    assert pending.batch() == runs
    assert not pending.is_in_flight


def test_a_batch_is_limited_in_size(
    pending: PendingSettlements, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settlement, "SETTLE_BYTES", 100)
    runs = [_run("a", b"x" * 60), _run("b", b"x" * 60), _run("c")]
    pending.add(runs)

    assert pending.batch() == runs[:2]


def test_a_lost_claim_is_logged(
    pending: PendingSettlements, caplog: pytest.LogCaptureFixture
) -> None:
    run = _run("a")
    pending.add([run])
    assert run.settlement is not None
    pending.sent(Answered(run.settlement), pending.batch())

    pending.receive()

    [record] = [record for record in caplog.records if record.message == "claim lost"]
    assert vars(record)["job_id"] == "a"
    assert vars(record)["settlement"] == "ack"
