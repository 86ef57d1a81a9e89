"""Heartbeats, reaping, recovery after a restart, and which jobs crashes are counted for."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
import redis

from bananas_topology.jobs.broker import Broker
from bananas_topology.jobs.crashes import crash_history, is_poison
from bananas_topology.jobs.exchange import Claimed
from bananas_topology.jobs.job import Claim, rewrite
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.replies import Recovery
from bananas_topology.jobs.settlements import AckJob, BuryJob, ReleaseJob
from bananas_topology.system.clock import format_timestamp, wall_now
from tests.jobs.invariants import assert_each_in_one_place
from tests.jobs.support import Worker, encoded


def _heartbeat(worker: Worker, *, boot: bool = False) -> tuple[bool, tuple[str, ...]]:
    beat = worker.broker.heartbeat(worker.consumer, worker.incarnation, {"pid": 1}, boot=boot)
    return not beat.is_superseded, beat.expired


def _restart(worker: Worker) -> Recovery:
    return worker.broker.recover(worker.consumer, worker.token(), [])


def _ack(claim: Claim) -> AckJob:
    at = format_timestamp(wall_now())
    body = rewrite(claim.body or b"", status="completed", attempts=1, updated_at=at)
    return AckJob(claim, body, b"null", at, 1)


def test_a_heartbeat_renews_the_lease_and_returns_the_next_expiry(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    worker, other = Worker(broker), Worker(broker, "other", lease_ms=14_000)
    _heartbeat(other, boot=True)

    beat = broker.heartbeat(worker.consumer, worker.incarnation, {"pid": 7, "busy": 2}, boot=True)

    assert not beat.is_superseded
    assert 0 < beat.next_expiry_ms <= 14_000
    assert client.hget(keys.worker("w-0"), "pid") == b"7"
    seconds, _ = client.time()
    until_ms = client.zscore(keys.workers, "w-0")
    assert until_ms == pytest.approx(seconds * 1000 + 15_000, abs=5_000)


def test_a_worker_id_belongs_to_the_latest_process(broker: Broker) -> None:
    first, second = Worker(broker), Worker(broker)
    assert _heartbeat(first, boot=True) == (True, ())
    assert _heartbeat(second, boot=True) == (True, ())

    assert _heartbeat(first)[0] is False
    assert _heartbeat(second)[0] is True
    assert not broker.deregister("w-0", first.incarnation)
    assert broker.deregister("w-0", second.incarnation)


def test_a_worker_that_holds_claims_is_not_deregistered(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    worker = Worker(broker)
    _heartbeat(worker, boot=True)
    broker.enqueue([encoded("a")])
    [claim] = worker.exchange(count=1).claims

    assert not broker.deregister("w-0", worker.incarnation)
    worker.exchange([ReleaseJob(claim)])
    assert broker.deregister("w-0", worker.incarnation)
    assert not client.exists(keys.workers, keys.worker("w-0"))


def _expire(client: redis.Redis, keys: Keys, *worker_ids: str) -> None:
    """Let leases expire while other workers are in contact with the server."""
    client.zadd(keys.workers, dict.fromkeys(worker_ids, 1))
    client.set(keys.heartbeat, _now_ms(client))


def _now_ms(client: redis.Redis) -> int:
    seconds, micros = client.time()
    return int(seconds) * 1000 + int(micros) // 1000


def _crashes(client: redis.Redis, keys: Keys, job_id: str) -> list[bytes]:
    """The crashes of a job, without the times of crash and claim."""
    crashes: Any = client.lrange(keys.crashes(job_id), 0, -1)
    return [crash.partition(b"|")[2].rpartition(b"|")[0] for crash in crashes]


def test_an_expired_worker_is_reaped(broker: Broker, client: redis.Redis, keys: Keys) -> None:
    worker, gone = Worker(broker), Worker(broker, "gone")
    broker.enqueue([encoded("a"), encoded("b")])
    for each in (worker, gone):
        each.boot()
    assert gone.claim(2) == ["a", "b"]
    _expire(client, keys, "gone")

    assert _heartbeat(worker) == (True, ("gone",))
    assert broker.reap(worker.consumer, ("gone", "w-0")) == {"gone": Recovery(2, 2)}
    # Another worker that has seen it expire, too, has nothing to report.
    assert broker.reap(worker.consumer, ("gone",)) == {}
    assert _heartbeat(worker) == (True, ())
    assert worker.claim(2) == ["a", "b"]
    assert _crashes(client, keys, "a") == [b"reaped|shared|gone"]


@pytest.mark.parametrize("boot", [False, True], ids=["beat", "boot"])
def test_after_an_outage_every_worker_gets_a_full_lease(
    broker: Broker, client: redis.Redis, keys: Keys, boot: bool
) -> None:
    worker, away = Worker(broker), Worker(broker, "away", lease_ms=60_000)
    quick = Worker(broker, "quick", lease_ms=10_000)
    broker.enqueue([encoded("a")])
    for each in (worker, away, quick):
        each.boot()
    away.claim(1)
    now_ms = _now_ms(client)
    client.zadd(keys.workers, {"away": 1, "w-0": 2, "quick": now_ms + 100})
    client.set(keys.heartbeat, now_ms - 90_000)

    assert _heartbeat(worker, boot=boot) == (True, ())
    assert _heartbeat(worker) == (True, ())

    scores: Any = client.zrange(keys.workers, 0, -1, withscores=True)
    until_ms = dict(scores)
    assert until_ms[b"away"] == pytest.approx(now_ms + 60_000, abs=5_000)
    assert now_ms + 9_900 <= until_ms[b"quick"] <= now_ms + 15_000
    assert broker.reap(worker.consumer, ("away",)) == {}


def test_a_silence_that_is_short_for_a_lease_does_not_extend_it(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    worker, gone = Worker(broker), Worker(broker, "gone")
    for each in (worker, gone):
        each.boot()
    _expire(client, keys, "gone")
    client.set(keys.heartbeat, _now_ms(client) - 1_000)

    assert _heartbeat(worker) == (True, ("gone",))


def test_a_dead_worker_is_reaped_even_if_the_only_other_one_beats_too_slowly(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    worker, gone = Worker(broker), Worker(broker, "gone")
    for each in (worker, gone):
        each.boot()

    def beat_late() -> tuple[bool, tuple[str, ...]]:
        _expire(client, keys, "gone")
        client.set(keys.heartbeat, _now_ms(client) - 10_000)
        return _heartbeat(worker)

    assert [beat_late() for _ in range(3)] == 3 * [(True, ())]
    assert beat_late() == (True, ("gone",))


def test_a_worker_that_comes_back_withdraws_the_crashes_recorded_for_it(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    worker, silent, dead = Worker(broker), Worker(broker, "silent"), Worker(broker, "dead")
    broker.enqueue([encoded("a"), encoded("b")])
    for lost in (dead, silent):
        lost.boot()
        assert lost.claim(2) == ["a", "b"]
        _expire(client, keys, lost.consumer.worker_id)
        broker.reap(worker.consumer, (lost.consumer.worker_id,))
    assert _crashes(client, keys, "a") == [b"reaped|shared|dead", b"reaped|shared|silent"]

    beat = broker.heartbeat(silent.consumer, silent.incarnation, {}, boot=False)

    assert (beat.is_superseded, beat.lost_claims) == (False, 2)
    for job_id in "ab":
        assert _crashes(client, keys, job_id) == [b"reaped|shared|dead"]
    beat = broker.heartbeat(silent.consumer, silent.incarnation, {}, boot=False)
    assert beat.lost_claims == 0
    assert not client.exists(keys.crashed(silent.incarnation))


def test_a_process_whose_id_was_taken_withdraws_the_crashes_recorded_for_it(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    first, second = Worker(broker), Worker(broker)
    broker.enqueue([encoded("a")])
    first.boot()
    first.claim()
    second.boot()
    assert _restart(second) == Recovery(1, 1)
    assert _crashes(client, keys, "a") == [b"reborn|alone|w-0"]

    assert _heartbeat(first)[0] is False

    assert _crashes(client, keys, "a") == []


def test_a_crash_is_alone_if_the_worker_held_no_other_job(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    broker.enqueue([encoded("a")])
    Worker(broker).claim()
    _restart(Worker(broker))
    broker.enqueue([encoded("b")])
    Worker(broker).claim(2)
    _restart(Worker(broker))

    assert _crashes(client, keys, "a") == [b"reborn|alone|w-0", b"reborn|shared|w-0"]


def test_a_claim_renews_the_lease_by_its_length_as_registered(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    worker = Worker(broker, lease_ms=60_000)
    worker.boot()
    client.zadd(keys.workers, {"w-0": 1})

    worker.consumer = replace(worker.consumer, lease_ms=15_000)
    worker.claim()

    until_ms = client.zscore(keys.workers, "w-0") or 0
    assert until_ms - _now_ms(client) == pytest.approx(60_000, abs=5_000)


def test_claims_with_a_lost_reply_are_recovered_without_a_crash(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    worker = Worker(broker)
    broker.enqueue([encoded(job_id) for job_id in "abc"])
    known = worker.claim()
    worker.claim(2)

    recovery = broker.recover(worker.consumer, worker.token(), [known[0].encode()])

    assert recovery == Recovery(2, 0)
    assert not client.exists(keys.crashes("b"))
    assert worker.claim(3) == ["b", "c"]


def test_a_claim_that_arrives_after_its_process_has_recovered_takes_nothing(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    worker = Worker(broker)
    worker.boot()
    broker.enqueue([encoded("a")])
    late = worker.request(1)
    _restart(worker)

    assert broker.exchange(worker.consumer, [], late).claimed() == Claimed()
    assert not client.exists(keys.claims("w-0"))
    assert worker.claim() == ["a"]


def test_the_next_process_of_a_worker_claims_whatever_its_predecessor_had_recovered(
    broker: Broker,
) -> None:
    first, second = Worker(broker), Worker(broker)
    first.boot()
    for _ in range(3):
        _restart(first)
    second.boot()
    broker.enqueue([encoded("a")])

    assert second.claim() == ["a"]


def test_a_recovery_that_arrives_late_leaves_alone_what_was_claimed_since(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    worker = Worker(broker)
    worker.boot()
    broker.enqueue([encoded("a")])
    late = worker.token()
    _restart(worker)
    assert worker.claim() == ["a"]

    assert broker.recover(worker.consumer, late, []) == Recovery(0, 0)
    assert client.hkeys(keys.claims("w-0")) == [b"a"]


def test_many_claims_are_recovered_in_the_order_they_were_claimed(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    ids = [f"{i}" for i in range(2_500)]
    for start in range(0, 2_500, 500):
        broker.enqueue([encoded(job_id) for job_id in ids[start : start + 500]])
    worker = Worker(broker)
    for count in (1, 700, 299, 1_000):
        worker.claim(count)

    assert _restart(Worker(broker)) == Recovery(2_000, 2_000)

    assert Worker(broker).claim(2_500) == ids
    assert_each_in_one_place(client, keys, ids)


def test_a_suspect_runs_alone_and_is_cleared_when_it_finishes(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    broker.enqueue([encoded("a"), encoded("b")])
    for _ in range(2):
        assert Worker(broker).claim(2) == ["a", "b"]
        _restart(Worker(broker))
    broker.enqueue([encoded("c")])
    worker = Worker(broker)

    [first] = worker.exchange(count=10).claims
    assert (first.job_id, len(first.crashes)) == ("a", 2)
    assert worker.claim(10) == []
    [second] = worker.exchange([_ack(first)], count=10).claims
    assert (second.job_id, len(second.crashes)) == ("b", 2)
    # Released while it ran, it is still a suspect.
    worker.exchange([ReleaseJob(second)])
    [again] = worker.exchange(count=10).claims
    assert (again.job_id, len(again.crashes)) == ("b", 2)
    assert [claim.job_id for claim in worker.exchange([_ack(again)], count=10).claims] == ["c"]
    assert not client.exists(keys.suspects)


def test_if_all_workers_are_busy_one_runs_empty_for_a_suspect(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    broker.enqueue([encoded("suspect")])
    for _ in range(2):
        Worker(broker).claim()
        _restart(Worker(broker))
    one, two = Worker(broker, "one"), Worker(broker, "two", job_types=("sub",))
    three = Worker(broker, "three")
    client.delete(keys.suspects)  # as if it arrived when all are busy
    broker.enqueue([encoded(f"a{i}") for i in range(10)])
    broker.enqueue([encoded("s0", "sub"), encoded("s1", "sub")])
    [mine] = one.exchange(count=1).claims
    [its] = three.exchange(count=1).claims
    client.sadd(keys.suspects, "normal:add")

    assert one.claim(5) == []
    assert three.claim(1) == ["a2"]
    assert two.claim(1) == ["s0"]
    [suspect] = one.exchange([_ack(mine)], count=5).claims
    assert suspect.job_id == "suspect"
    assert len(one.exchange([_ack(suspect)], count=5).claims) == 5
    assert three.exchange([_ack(its)]).lost == ()


@pytest.mark.parametrize("poisons", [1, 3])
def test_poison_is_buried_after_three_crashes_and_its_neighbors_complete(
    broker: Broker, client: redis.Redis, keys: Keys, poisons: int
) -> None:
    """Two workers with 10 slots that prefetch; a worker that starts a poison job crashes."""
    chance = random.Random(7)
    poison = {f"poison{i}" for i in range(poisons)}
    ids = [*poison, *(f"job{i}" for i in range(300))]
    chance.shuffle(ids)
    broker.enqueue([encoded(job_id) for job_id in ids])
    workers, crashes = [Worker(broker, f"w-{i}") for i in range(2)], 0
    at = format_timestamp(wall_now())
    held: list[list[Claim]] = [[], []]

    for turn in range(2_000):
        i = turn % 2
        running, settled = held[i][:10], []
        if running and is_poison(running[0].crashes, 3, wall_now(), 15_000):
            assert "crashed its worker 3 times" in crash_history(running[0].crashes)
            settled = [BuryJob(running.pop(0), b"", b"{}", "poison", at, 0)]
        elif any(claim.job_id in poison for claim in running):
            crashes += 1
            held[i], workers[i] = [], Worker(broker, f"w-{i}")
            _restart(workers[i])
            continue
        done = chance.sample(running, k=len(running) // 2 + len(running) % 2)
        held[i] = [claim for claim in held[i] if claim not in done and claim in running] + held[i][
            10:
        ]
        reply = workers[i].exchange([*settled, *map(_ack, done)], count=100 - len(held[i]))
        held[i] += reply.claims
        if not any(held) and not reply.claims and not client.exists(keys.suspects):
            break

    where = assert_each_in_one_place(client, keys, ids)
    assert {job_id for job_id, place in where.items() if place == "dead"} == poison
    assert all(place in ("dead", "completed") for place in where.values())
    # Several poison jobs may have caused one crash.
    assert crashes <= 3 * poisons
    for job_id in poison:
        history: Any = client.lrange(keys.crashes(job_id), 0, -1)
        assert len(history) == 3
        assert b"|alone|" in history[-1]
