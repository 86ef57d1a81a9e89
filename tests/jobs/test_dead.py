from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
import redis

from bananas_topology.jobs.broker import Broker
from bananas_topology.jobs.dead import BATCH, DeadFilter, DeadJobs
from bananas_topology.jobs.job import Failure, rewrite
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.settlements import BuryJob
from bananas_topology.system.clock import format_timestamp, wall_now
from tests.jobs.invariants import assert_each_in_one_place
from tests.jobs.support import Worker, encoded


@pytest.fixture
def dead(client: redis.Redis, keys: Keys) -> DeadJobs:
    return DeadJobs(client, keys)


def _bury(
    client: redis.Redis, keys: Keys, ids: list[str], job_type: str = "add", error: str = "no luck"
) -> None:
    """Enqueue, claim and bury jobs."""
    broker = Broker(client, keys)
    worker = Worker(broker)
    broker.enqueue([encoded(job_id, job_type, {"n": [], "big": 2**60}) for job_id in ids])
    failure = msgspec.json.encode(Failure("ValueError", error, "tail"))
    now = format_timestamp(wall_now())
    burials = []
    for claim in worker.exchange(count=len(ids)).claims:
        assert claim.body is not None
        body = rewrite(claim.body, status="failed", attempts=4, error=error, updated_at=now)
        burials.append(BuryJob(claim, body, failure, error, now, 5))
    assert worker.exchange(burials).lost == ()


def test_dead_jobs_are_listed_newest_first_with_their_failure(
    client: redis.Redis, keys: Keys, dead: DeadJobs
) -> None:
    _bury(client, keys, ["a", "b"])

    latest, first = dead.list()

    assert (latest.job_id, first.job_id) == ("b", "a")
    assert (first.job_type, first.priority, first.attempts) == ("add", "normal", 4)
    assert (first.error, first.traceback) == ("ValueError: no luck", "tail")
    assert first.died_at is not None
    assert (wall_now() - first.died_at).total_seconds() < 60
    assert first.is_readable


def test_a_retried_dead_job_is_reset(client: redis.Redis, keys: Keys, dead: DeadJobs) -> None:
    _bury(client, keys, ["a"])
    client.rpush(keys.crashes("a"), "one")
    client.rpush(keys.runs("a"), "one")

    assert dead.retry().jobs == 1

    stored = client.get(keys.job("a"))
    assert isinstance(stored, bytes)
    assert b'"payload":{"n":[],"big":1152921504606846976}' in stored
    fields = msgspec.json.decode(stored)
    assert (fields["status"], fields["attempts"], fields["priority"]) == ("pending", 0, "normal")
    assert "error" not in fields
    assert "scheduled_for" not in fields
    assert not client.exists(keys.result("a"), keys.failure("a"), keys.crashes("a"), keys.runs("a"))
    assert assert_each_in_one_place(client, keys, ["a"]) == {"a": "queue:normal"}
    assert Worker(Broker(client, keys)).claim() == ["a"]


@pytest.mark.parametrize(
    ("selected", "expected"),
    [
        (DeadFilter(), "abc"),
        (DeadFilter(job_type="sub"), "c"),
        (DeadFilter(error="REFUSED"), "b"),
        (DeadFilter(error="valueerror", job_type="add"), "ab"),
        (DeadFilter(job_ids=frozenset({"a", "nobody"})), "a"),
        (DeadFilter(older_than_ms=60_000), ""),
        (DeadFilter(older_than_ms=0), "abc"),
    ],
    # Not by repr: a set of names has another order in each process that runs tests.
    ids=["all", "type", "error", "error and type", "ids", "older than", "of any age"],
)
def test_a_filter_selects_the_same_jobs_to_list_retry_and_purge(
    client: redis.Redis, keys: Keys, dead: DeadJobs, selected: DeadFilter, expected: str
) -> None:
    _bury(client, keys, ["a"])
    _bury(client, keys, ["b"], error="connection refused")
    _bury(client, keys, ["c"], "sub")

    assert {job.job_id for job in dead.list(selected)} == set(expected)
    assert dead.retry(selected).jobs == len(expected)
    where = assert_each_in_one_place(client, keys, ["a", "b", "c"])
    assert {job_id for job_id, place in where.items() if place != "dead"} == set(expected)
    assert dead.purge(selected) == 0
    assert dead.purge() == 3 - len(expected)
    assert client.llen(keys.dead) == 0


def test_many_dead_jobs_are_read_in_batches_and_keep_their_order(
    client: redis.Redis, keys: Keys, dead: DeadJobs
) -> None:
    ids = [f"{i:03}" for i in range(3 * BATCH + 7)]
    _bury(client, keys, ids[::2], "add")
    _bury(client, keys, ids[1::2], "sub")
    client.lpush(keys.dead, "extra")

    assert dead.purge(DeadFilter(error="no longer stored")) == 1
    assert [job.job_id for job in dead.list(DeadFilter(job_type="add"))] == ids[::2][::-1]
    assert dead.retry(DeadFilter(job_type="add")).jobs == len(ids[::2])
    assert [job.job_id for job in dead.list()] == ids[1::2][::-1]
    assert Worker(Broker(client, keys)).claim(400) == ids[::2]


def test_jobs_that_are_listed_by_id_are_read_alone_and_newest_first(
    client: redis.Redis, keys: Keys, dead: DeadJobs
) -> None:
    ids = [f"{i:03}" for i in range(3 * BATCH)]
    _bury(client, keys, ids)
    client.set(keys.job("alive"), "{}")

    def ranges() -> int:
        stats: Any = client.info("commandstats")
        return int(stats.get("cmdstat_lrange", {"calls": 0})["calls"])

    before = ranges()
    wanted = frozenset((*ids[: BATCH + 1], "alive", "gone"))
    listed = [job.job_id for job in dead.list(DeadFilter(wanted))]

    assert listed == ids[BATCH::-1]
    assert ranges() == before


def test_an_unreadable_dead_job_is_not_retried_and_keeps_its_bytes(
    client: redis.Redis, keys: Keys, dead: DeadJobs
) -> None:
    client.set(keys.job("broken"), b'{"id": \xff')
    client.lpush(keys.dead, "broken", "gone", b"\xfe\x00odd")

    outcome = dead.retry()

    assert outcome.jobs == 0
    assert set(outcome.unreadable) == {"broken", "gone", "\udcfe\x00odd"}
    assert client.get(keys.job("broken")) == b'{"id": \xff'
    assert not any(job.is_readable for job in dead.list())
    assert dead.purge(DeadFilter(job_ids=frozenset({"\udcfe\x00odd"}))) == 1
    assert dead.count() == 2


def test_a_job_twice_in_the_dead_list_is_retried_once(
    client: redis.Redis, keys: Keys, dead: DeadJobs
) -> None:
    _bury(client, keys, ["a"])
    client.lpush(keys.dead, "a")

    assert dead.retry().jobs == 1

    assert dead.count() == 0
    assert client.llen(keys.queue("normal")) == 1


def test_a_job_that_dies_again_at_once_is_retried_once(
    client: redis.Redis, keys: Keys, dead: DeadJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [f"{i:03}" for i in range(BATCH + 3)]
    _bury(client, keys, ids)
    read = dead._read

    def read_late(found: Sequence[bytes]) -> Any:
        # The jobs retried so far run and die again before the next batch is read.
        claims = Worker(Broker(client, keys)).exchange(count=BATCH).claims
        client.lpush(keys.dead, *[claim.job_id for claim in claims] or ["new"])
        return read(found)

    monkeypatch.setattr(dead, "_read", read_late)

    assert dead.retry().jobs == len(ids)
