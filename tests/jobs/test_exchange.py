from __future__ import annotations

import select

import pytest
import redis

from bananas_topology.jobs import calls
from bananas_topology.jobs.broker import CLAIM_FIRST, Broker
from bananas_topology.jobs.exchange import PendingExchange
from bananas_topology.jobs.job import Claim
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.settlements import AckJob, ReleaseJob
from tests.jobs.invariants import places
from tests.jobs.support import Worker, encoded

NOW = "2026-01-01T00:00:00.000000Z"
MANY = CLAIM_FIRST + 1


def _ack(claim: Claim) -> AckJob:
    body = (claim.body or b"").replace(b'"pending"', b'"completed"')
    return AckJob(claim, body, b"null", NOW, 1)


def _becomes_readable(pending: PendingExchange) -> bool:
    poll = select.poll()
    poll.register(pending.fileno, select.POLLIN)
    return bool(poll.poll(5_000))


@pytest.fixture
def worker(client: redis.Redis, keys: Keys) -> Worker:
    broker = Broker(client, keys)
    broker.enqueue([encoded(f"job-{n}") for n in range(3 * MANY)])
    return Worker(broker)


def test_claims_can_be_read_before_the_replies_to_settlements(worker: Worker) -> None:
    acks = [_ack(claim) for claim in worker.exchange(count=MANY).claims]

    pending = worker.broker.exchange(worker.consumer, acks, worker.request(5))
    claimed = pending.claimed()

    assert claimed is not None
    assert len(claimed.claims) == 5
    assert not pending.is_open or _becomes_readable(pending)
    assert pending.settled().lost == ()
    assert not pending.is_open


def test_an_exchange_without_a_claim_becomes_readable(worker: Worker) -> None:
    acks = [_ack(claim) for claim in worker.exchange(count=MANY).claims]

    pending = worker.broker.exchange(worker.consumer, acks, None)

    assert pending.claimed() is None
    assert pending.is_open
    assert _becomes_readable(pending)
    assert pending.settled().lost == ()


def test_a_second_exchange_can_be_sent_before_the_first_is_read(
    worker: Worker, client: redis.Redis, keys: Keys
) -> None:
    acks = [_ack(claim) for claim in worker.exchange(count=MANY).claims]
    first = worker.broker.exchange(worker.consumer, acks, worker.request(MANY))
    claimed = first.claimed()
    assert claimed is not None
    more = [_ack(claim) for claim in claimed.claims]

    second = worker.broker.exchange(worker.consumer, [*more, acks[0]], worker.request(1))

    assert first.settled().lost == ()
    last = second.claimed()
    assert last is not None
    assert [claim.job_id for claim in last.claims] == [f"job-{2 * MANY}"]
    assert second.settled().lost == (acks[0],)
    done = [job_id for job_id, where in places(client, keys).items() if where == ["completed"]]
    assert len(done) == 2 * MANY


def test_a_dropped_exchange_leaves_no_reply_for_the_next(worker: Worker) -> None:
    acks = [_ack(claim) for claim in worker.exchange(count=MANY).claims]
    pending = worker.broker.exchange(worker.consumer, acks, worker.request(1))
    pending.claimed()

    pending.drop()
    pending.drop()

    assert set(worker.exchange(acks).lost) == set(acks), "they had been settled"
    assert len(worker.claim()) == 1


def test_calls_beyond_the_write_limit_are_sent_in_further_round_trips(
    worker: Worker, client: redis.Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    *done, last = worker.exchange(count=MANY).claims
    monkeypatch.setattr(calls, "SEND_BYTES", 1)

    acks = [_ack(claim) for claim in done]
    pending = worker.broker.exchange(worker.consumer, [*acks, ReleaseJob(last)], worker.request(1))

    assert pending.claimed() is not None
    assert not pending.is_open, "unsent calls would never become readable"
    assert pending.settled().lost == ()
    assert places(client, keys)[last.job_id] == ["queue:normal"]


def test_scripts_unknown_to_the_server_are_loaded_and_run_again(
    worker: Worker, client: redis.Redis, keys: Keys
) -> None:
    acks = [_ack(claim) for claim in worker.exchange(count=MANY).claims]
    client.script_flush()

    pending = worker.broker.exchange(worker.consumer, acks, worker.request(1))
    claimed = pending.claimed()

    assert claimed is not None
    assert len(claimed.claims) == 1
    assert not pending.is_open
    assert pending.settled().lost == ()
