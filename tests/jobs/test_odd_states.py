"""Unexpected states of the keys, left by other clients, failures or expiry, are tolerated."""

from __future__ import annotations

import msgspec
import pytest
import redis

from bananas_topology.errors import RedisUnsuitable
from bananas_topology.jobs.broker import Broker
from bananas_topology.jobs.dead import DeadFilter, DeadJobs
from bananas_topology.jobs.job import Claim, Failure, rewrite
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.replies import Recovery
from bananas_topology.jobs.settlements import AckJob, BuryJob
from bananas_topology.system.clock import format_timestamp, wall_now
from tests.jobs.invariants import assert_each_in_one_place
from tests.jobs.support import Worker, encoded


def _ack(claim: Claim) -> AckJob:
    at = format_timestamp(wall_now())
    body = rewrite(claim.body or b"", status="completed", attempts=1, updated_at=at)
    return AckJob(claim, body, b"1", at, 1)


def _bury(claim: Claim, *, unreadable: bool = False) -> BuryJob:
    at = format_timestamp(wall_now())
    failure = msgspec.json.encode(Failure("ValueError", "no luck"))
    body = b""
    if not unreadable:
        body = rewrite(
            claim.body or b"", status="failed", attempts=1, error="no luck", updated_at=at
        )
    return BuryJob(claim, body, failure, "no luck", at, 1)


def test_a_body_of_another_redis_type_does_not_fail_the_claim(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    broker.enqueue([encoded("a"), encoded("b")])
    client.rpush(keys.job("odd"), "no body")
    client.rpush(keys.queue("normal"), "odd")
    worker = Worker(broker)

    odd, *others = worker.exchange(count=10).claims

    assert (odd.job_id, odd.body) == ("odd", None)
    assert [claim.job_id for claim in others] == ["a", "b"]
    assert worker.exchange([_bury(odd, unreadable=True)]).lost == ()
    assert client.lrange(keys.job("odd"), 0, -1) == [b"no body"]
    assert [job.job_id for job in DeadJobs(client, keys).list()] == ["odd"]


def test_a_body_of_another_redis_type_does_not_fail_the_promotion(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    broker.enqueue([encoded("a", due="1")])
    client.rpush(keys.job("odd"), "no body")
    client.zadd(keys.scheduled, {"odd": 0})

    assert broker.promote() == 2
    assert Worker(broker).claim(10) == ["odd", "a"]


def test_a_result_replaces_a_key_of_another_redis_type(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    broker.enqueue([encoded("a"), encoded("b")])
    client.set(keys.result("a"), "odd")
    client.rpush(keys.result("b"), "odd")
    worker = Worker(broker)
    first, second = worker.exchange(count=2).claims

    assert worker.exchange([_ack(first), _bury(second)]).lost == ()

    assert client.hget(keys.result("a"), "result") == b"1"
    assert client.hget(keys.result("b"), "error") == b"no luck"


def test_claims_that_cannot_be_read_are_recovered_with_the_others(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    fences = {"a": "", "b": "garbage", "c": "x.1.1|nowhere|1", "d": "x.1.2|normal-1|1"}
    for job_id in ("e", *fences):
        broker.enqueue([encoded(job_id)])
    gone, worker = Worker(broker, "gone"), Worker(broker)
    assert gone.claim(5) == ["e", *fences]
    for job_id, fence in fences.items():
        client.hset(keys.claims("gone"), job_id, fence)
    client.zadd(keys.workers, {"gone": 1})

    assert broker.reap(worker.consumer, ("gone",)) == {"gone": Recovery(5, 5)}

    assert sorted(worker.claim(10)) == ["a", "b", "c", "d", "e"]


def test_a_worker_recovers_its_claims_that_cannot_be_read(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    broker.enqueue([encoded("a"), encoded("b")])
    worker = Worker(broker)
    assert worker.claim(2) == ["a", "b"]
    incarnation = worker.token().partition(".")[0]
    client.hset(keys.claims(worker.consumer.worker_id), "a", incarnation)

    assert broker.recover(worker.consumer, worker.token(), []).returned == 2

    assert sorted(worker.claim(2)) == ["a", "b"]


def test_an_unreadable_crash_does_not_fail_the_claim(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    broker.enqueue([encoded("a")])
    client.lrem(keys.queue("normal"), 0, "a")
    client.lpush(keys.suspect_queue("normal:add"), "a")
    client.sadd(keys.suspects, "normal:add")
    client.rpush(keys.crashes("a"), "garbage", "1795534438507|reaped|shared|w|1795534438507")

    [claim] = Worker(broker).exchange(count=1).claims

    assert claim.job_id == "a"
    assert [crash.worker_id for crash in claim.crashes] == ["w"]


def test_a_failing_script_is_not_retried(broker: Broker, client: redis.Redis, keys: Keys) -> None:
    broker.enqueue([])  # the script is loaded
    client.set(keys.queue("high"), "no list")

    with pytest.raises(RedisUnsuitable, match="WRONGTYPE"):
        broker.enqueue([encoded("a", priority="high")])


def test_a_superseded_process_claims_nothing(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    old, new = Worker(broker), Worker(broker)
    broker.enqueue([encoded("a"), encoded("b")])
    old.boot()
    assert old.claim() == ["a"]
    new.boot()
    broker.recover(new.consumer, new.token(), [])

    assert old.claim(5) == []
    assert new.claim(5) == ["a", "b"]
    assert_each_in_one_place(client, keys, ["a", "b"])


def test_thousands_of_duplicate_ids_are_dropped_in_bounded_calls(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    client.lpush(keys.queue("normal"), *["gone"] * 5_000)
    broker.enqueue([encoded("a")])
    worker = Worker(broker)

    exchanges = [worker.exchange(count=10)]
    while exchanges[-1].more:
        exchanges.append(worker.exchange(count=10))

    assert len(exchanges) > 3
    claimed = [claim.job_id for exchange in exchanges for claim in exchange.claims]
    assert claimed == ["gone", "a"]


def test_unhandled_types_do_not_slow_claims_and_tnew_wake_keys_expire(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    broker.enqueue([encoded(f"odd{i}", f"type-{i}") for i in range(300)])
    broker.enqueue([encoded("sub1", "sub"), encoded("add1", "add")])
    assert Worker(broker, "other", job_types=("other",)).claim(5) == []

    assert set(Worker(broker).claim(5)) == {"add1", "sub1"}
    assert Worker(broker, "w-1", job_types=("type-7",)).claim(5) == ["odd7"]

    assert client.scard(keys.parked("normal")) == 299
    wake_keys = list(client.scan_iter(f"{keys.prefix}:wake:*", count=1000))
    assert len(wake_keys) > 300
    assert all(0 < client.ttl(key) <= 3600 for key in wake_keys)


def test_large_due_jobs_are_promoted_in_several_calls(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    payload = "x" * 2**20
    ids = [f"{i}" for i in range(12)]
    for job_id in ids:
        broker.enqueue([encoded(job_id, payload=payload, due=f"{job_id}")])

    moved = [broker.promote() for _ in range(3)]

    assert moved[0] == moved[1] == 1_000  # more may be due
    assert client.zcard(keys.scheduled) == 0
    assert Worker(broker).claim(12, max_bytes=2**30) == ids


def test_the_quarantine_stays_with_the_worker_that_has_it(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    broker.enqueue([encoded("suspect")])
    busy = Worker(broker, "busy")
    broker.enqueue([encoded("long", priority="high")])
    assert busy.claim() == ["long"]
    for _ in range(2):
        Worker(broker).claim()
        broker.recover(Worker(broker).consumer, "another.1", [])
    assert busy.claim(5) == []
    client.pexpire(keys.quarantine, 5_000)

    assert busy.claim(5) == []

    assert client.pttl(keys.quarantine) > 5_000


def test_a_dead_id_reused_by_a_new_job_is_left_alone(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    ids = ["again", "done", "dead"]
    client.lpush(keys.dead, *ids)
    broker.enqueue([encoded(job_id) for job_id in ids])
    worker = Worker(broker)
    client.lrem(keys.queue("normal"), 1, "again")
    done, died = worker.exchange(count=2).claims
    client.lrem(keys.dead, 1, "dead")
    worker.exchange([_ack(done), _bury(died)])
    broker.enqueue([encoded("low", priority="low")])
    client.lpush(keys.queue("normal"), "again")
    dead = DeadJobs(client, keys)

    assert [job.job_id for job in dead.list()] == ["dead"]
    assert dead.retry(DeadFilter(job_ids=frozenset({"again", "done"}))).jobs == 0
    assert dead.purge() == 3

    assert dead.count() == 0
    assert worker.claim(5) == ["again", "low"]
    assert client.hget(keys.result("done"), "status") == b"completed"
    assert not client.exists(keys.job("dead"), keys.failure("dead"), keys.result("dead"))


def test_duplicates_in_the_dead_list_are_all_purged(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    client.lpush(keys.dead, *[f"{i // 2}" for i in range(250)])

    assert DeadJobs(client, keys).purge() == 125
    assert client.llen(keys.dead) == 0


def test_expired_entries_behind_unreadable_ones_are_removed_from_the_dead_list(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    client.set(keys.job("odd"), "{", ex=1_000)
    client.lpush(keys.queue("high"), "odd")
    client.lpush(keys.queue("high"), "missing")
    broker.enqueue([encoded("a")])
    worker = Worker(broker)
    odd, missing, last = worker.exchange(count=3).claims
    worker.exchange([_bury(claim, unreadable=True) for claim in (odd, missing)])
    client.lpush(keys.dead, "expired", "expired too")

    assert client.ttl(keys.job("odd")) == client.ttl(keys.failure("odd")) == -1
    assert client.ttl(keys.failure("missing")) > 0
    worker.exchange([_bury(last)])

    assert client.lrange(keys.dead, 0, -1) == [b"a", b"missing", b"odd"]
