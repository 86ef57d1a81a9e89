"""Ack, retry, bury and release: the keys before and after."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import msgspec
import pytest
import redis

from bananas_topology.contract.jobs import Keep
from bananas_topology.contract.worker import WorkerConfig
from bananas_topology.jobs.broker import Broker
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.settlements import SETTLE_LIMIT, BuryJob, ReleaseJob
from tests.jobs.invariants import assert_each_in_one_place, places
from tests.jobs.support import AT, Worker, ack, bury, encoded, retry

KEEP = WorkerConfig().keep


def test_an_acked_job_and_its_result_are_stored_with_an_expiry(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    broker.enqueue([encoded("a")])
    client.hset(keys.result("a"), mapping={"status": "failed", "error": "of a run before"})
    worker = Worker(broker)
    subscriber: Any = client
    with subscriber.pubsub() as channel:
        channel.subscribe(keys.notify("a"))
        [claim] = worker.exchange(count=1).claims

        assert worker.exchange([ack(claim)]).lost == ()

        messages = [channel.get_message(timeout=5) for _ in range(2)]
    assert messages[1] is not None
    assert messages[1]["data"] == b"ready"
    assert client.hgetall(keys.result("a")) == {
        b"status": b"completed",
        b"result": b'{"sum":3}',
        b"completed_at": AT.encode(),
        b"duration_ms": b"12",
    }
    assert 0 < client.pttl(keys.result("a")) <= (KEEP.results_ms or 0)
    assert 86_340 < client.ttl(keys.job("a")) <= 86_400
    assert client.hget(keys.stats, "completed") == b"1"
    assert assert_each_in_one_place(client, keys, ["a"]) == {"a": "completed"}
    assert not client.exists(keys.claims("w-0"))


@pytest.mark.parametrize("result", [b"null", b"0", b"false", b'""', b"[]", b"{}"])
def test_a_falsy_result_is_stored(
    broker: Broker, client: redis.Redis, keys: Keys, result: bytes
) -> None:
    broker.enqueue([encoded("a")])
    worker = Worker(broker)

    worker.exchange([ack(worker.exchange(count=1).claims[0], result)])

    assert client.hget(keys.result("a"), "result") == result


def test_without_a_result_backend_no_result_is_stored(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    broker.enqueue([encoded("a"), encoded("b")])
    worker = Worker(broker, keep=replace(KEEP, results_ms=0, errors_ms=0))

    first, second = worker.exchange(count=2).claims
    worker.exchange([ack(first), bury(second)])

    assert not client.exists(keys.result("a"), keys.result("b"))
    assert assert_each_in_one_place(client, keys, "ab") == {"a": "completed", "b": "dead"}


def test_a_buried_job_is_in_the_dead_list_with_its_failure_and_result(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    broker.enqueue([encoded("a")])
    worker = Worker(broker)

    worker.exchange([bury(worker.exchange(count=1).claims[0])])

    assert client.lrange(keys.dead, 0, -1) == [b"a"]
    assert client.hgetall(keys.result("a")) == {
        b"status": b"failed",
        b"error": b"no",
        b"completed_at": AT.encode(),
        b"duration_ms": b"12",
    }
    assert 604_740 < client.ttl(keys.job("a")) <= 604_800
    assert 604_740 < client.ttl(keys.failure("a")) <= 604_800
    assert msgspec.json.decode(client.get(keys.failure("a")) or b"")["message"] == "no"
    assert assert_each_in_one_place(client, keys, ["a"]) == {"a": "dead"}


def test_an_unreadable_job_is_buried_with_its_bytes_and_without_expiry(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    client.set(keys.job("odd"), b'{"id": \xff')
    client.lpush(keys.queue("low"), "odd", "missing")
    worker = Worker(broker)

    claims = worker.exchange(count=5).claims
    worker.exchange([BuryJob(claim, b"", b"{}", "no job", AT, 0) for claim in claims])

    assert client.get(keys.job("odd")) == b'{"id": \xff'
    assert client.ttl(keys.job("odd")) == -1
    assert not client.exists(keys.job("missing"))
    assert set(client.lrange(keys.dead, 0, -1)) == {b"odd", b"missing"}


def test_expired_jobs_are_removed_from_the_dead_list(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    client.lpush(keys.dead, "expired", "expired too")
    broker.enqueue([encoded("a")])
    worker = Worker(broker)

    worker.exchange([bury(worker.exchange(count=1).claims[0])])

    assert client.lrange(keys.dead, 0, -1) == [b"a"]


def test_a_retried_job_is_due_by_the_servers_clock(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    broker.enqueue([encoded("a")])
    worker = Worker(broker)

    worker.exchange([retry(worker.exchange(count=1).claims[0], 90_000)])

    seconds, micros = client.time()
    due = client.zscore(keys.scheduled, "a")
    assert due == pytest.approx(seconds + micros / 1e6 + 90, abs=5)
    assert client.ttl(keys.failure("a")) > 0
    assert assert_each_in_one_place(client, keys, ["a"]) == {"a": "scheduled"}


def test_released_jobs_return_to_the_head_of_the_queue_in_order(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    ids = [f"{i}" for i in range(700)]
    for start in range(0, 700, 100):
        broker.enqueue([encoded(job_id) for job_id in ids[start : start + 100]])
    worker = Worker(broker)
    claims = [claim for _ in range(3) for claim in worker.exchange(count=200).claims]

    reply = worker.exchange([ReleaseJob(claim) for claim in sorted(claims, key=lambda c: c.fence)])

    assert len(claims) > SETTLE_LIMIT
    assert reply.lost == ()
    # In several calls, each keeps its order; within one call all do.
    assert sorted(worker.claim(700)) == sorted(ids)
    again = worker.exchange([]).claims
    assert again == ()
    assert_each_in_one_place(client, keys, ids)


@pytest.mark.parametrize(
    "settle", [ack, retry, bury, ReleaseJob], ids=lambda settle: settle.__name__
)
def test_a_lost_claim_is_not_settled(
    broker: Broker, client: redis.Redis, keys: Keys, settle: type[ReleaseJob]
) -> None:
    broker.enqueue([encoded("a")])
    slow, other = Worker(broker, "slow"), Worker(broker, "other")
    [late] = slow.exchange(count=1).claims
    client.zadd(keys.workers, {"slow": 1})
    assert broker.reap(other.consumer, ["slow"])["slow"].returned == 1
    [claim] = other.exchange(count=1).claims
    before = {key: client.dump(key) for key in client.scan_iter(match=f"{keys.prefix}:*")}

    settlement = settle(late)
    assert slow.exchange([settlement]).lost == (settlement,)

    after = {key: client.dump(key) for key in client.scan_iter(match=f"{keys.prefix}:*")}
    assert after == before
    assert other.exchange([ack(claim)]).lost == ()


def test_one_exchange_settles_all_kinds_and_claims(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    broker.enqueue([encoded(job_id) for job_id in "abcde"])
    worker = Worker(broker)
    a, b, c, d = worker.exchange(count=4).claims

    reply = worker.exchange([ack(a), bury(b), ReleaseJob(c), retry(d), ack(a)], count=10)

    assert [claim.job_id for claim in reply.claims] == ["c", "e"]
    assert reply.lost == ()
    assert places(client, keys) == {
        "a": ["completed"],
        "b": ["dead"],
        "c": ["claims:w-0"],
        "d": ["scheduled"],
        "e": ["claims:w-0"],
    }


def test_nothing_is_left_of_settled_jobs_that_are_kept_for_no_time(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    def stored() -> set[bytes]:
        # Not those of other tests, which expire meanwhile.
        return set(client.scan_iter(f"{keys.prefix}:*"))

    none = Keep(completed_ms=0, dead_ms=0, results_ms=0, errors_ms=0)
    worker = Worker(broker, keep=none)
    worker.boot()
    broker.enqueue([encoded("before")])
    worker.exchange([ack(worker.exchange(count=1).claims[0])])
    before = stored()
    broker.enqueue([encoded("a"), encoded("b"), encoded("c")])
    a, b, c = worker.exchange(count=3).claims
    worker.exchange([retry(a, delay_ms=0)])
    broker.promote()
    [again] = worker.exchange(count=1).claims

    assert worker.exchange([ack(again), ack(b), bury(c)]).lost == ()

    assert stored() == before
    assert client.hget(keys.stats, "completed") == b"3"
    assert client.hget(keys.stats, "failed") == b"1"


def test_each_settlement_is_kept_as_its_job_type_is(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    worker = Worker(broker)
    broker.enqueue([encoded(job_id) for job_id in "abcd"])
    a, b, c, d = worker.exchange(count=4).claims
    minute_ms = 60_000
    short = Keep(
        completed_ms=5 * minute_ms,
        dead_ms=6 * minute_ms,
        results_ms=7 * minute_ms,
        errors_ms=8 * minute_ms,
    )

    worker.exchange(
        [
            ack(a),
            msgspec.structs.replace(ack(b), keep=short),
            bury(c),
            msgspec.structs.replace(bury(d), keep=short),
        ]
    )

    def kept_minutes(key: str) -> int:
        return math.ceil(client.pttl(key) / minute_ms)

    assert [kept_minutes(keys.job(job_id)) for job_id in "abcd"] == [1_440, 5, 10_080, 6]
    assert [kept_minutes(keys.result(job_id)) for job_id in "abcd"] == [60, 7, 1_440, 8]
    assert [kept_minutes(keys.failure(job_id)) for job_id in "cd"] == [10_080, 6]


def test_an_unreadable_job_is_kept_even_if_dead_jobs_are_not(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    client.set(keys.job("odd"), "no job")
    client.lpush(keys.queue("normal"), "odd")
    worker = Worker(broker, keep=Keep(completed_ms=0, dead_ms=0, results_ms=0, errors_ms=0))
    [odd] = worker.exchange(count=1).claims

    worker.exchange([BuryJob(odd, b"", b"{}", "no job", AT, 0)])

    assert client.get(keys.job("odd")) == b"no job"
    assert client.ttl(keys.job("odd")) == -1
    assert client.lrange(keys.dead, 0, -1) == [b"odd"]
