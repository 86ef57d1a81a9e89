from __future__ import annotations

import pytest

from bananas_topology.jobs.exchange import Ack, PendingExchange, Settlement
from bananas_topology.jobs.job import Claim
from bananas_topology.worker import settlement
from bananas_topology.worker.metrics import Tally
from bananas_topology.worker.run import Run
from bananas_topology.worker.settlement import Outbox


class Answered(PendingExchange):
    """An exchange whose settlements have all been taken but the `lost`."""

    def __init__(self, *lost: Settlement) -> None:
        self._told = lost
        self.is_dropped = False

    def lost(self) -> tuple[Settlement, ...]:
        return self._told

    def drop(self) -> None:
        self.is_dropped = True


def _run(job_id: str, result: bytes = b"null") -> Run:
    claim = Claim(job_id, b"{}", b"fence")
    return Run(claim, 0.0, settlement=Ack(claim, b"{}", result, "", 0))


@pytest.fixture
def box() -> Outbox:
    return Outbox(Tally(10, is_scraped=False))


def test_what_is_under_way_is_kept_but_not_sent_again(box: Outbox) -> None:
    first, second = _run("a"), _run("b")
    box.put([first])
    box.sent(Answered(), box.batch())

    assert box.batch() == []
    box.put([second])

    assert box.has_unsent
    assert box.batch() == [second]
    assert list(box.runs) == [first, second]


def test_what_has_landed_is_forgotten_in_order(box: Outbox) -> None:
    runs = [_run(job_id) for job_id in "abc"]
    for run in runs:
        box.put([run])
        box.sent(Answered(), box.batch())

    box.land(leave=1)
    assert list(box.runs) == runs[2:]
    assert box.due < float("inf")

    box.land()
    assert list(box.runs) == []
    assert box.due == float("inf")


def test_after_an_outage_all_that_was_under_way_is_sent_again(box: Outbox) -> None:
    runs = [_run(job_id) for job_id in "abc"]
    box.put(runs[:2])
    pending = Answered()
    box.sent(pending, box.batch())
    box.put(runs[2:])

    box.recall()

    assert pending.is_dropped
    assert box.batch() == runs
    assert not box.is_under_way


def test_a_batch_ends_where_it_gets_large(box: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settlement, "SETTLE_BYTES", 100)
    runs = [_run("a", b"x" * 60), _run("b", b"x" * 60), _run("c")]
    box.put(runs)

    assert box.batch() == runs[:2]


def test_a_lost_claim_is_said(box: Outbox, caplog: pytest.LogCaptureFixture) -> None:
    run = _run("a")
    box.put([run])
    assert run.settlement is not None
    box.sent(Answered(run.settlement), box.batch())

    box.land()

    [record] = [each for each in caplog.records if each.message == "claim lost"]
    assert vars(record)["job_id"] == "a"
    assert vars(record)["was"] == "ack"
