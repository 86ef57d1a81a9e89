"""Jobs that dead workers of the Go implementation left in ``queue:processing``."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from typing import Any

import pytest
import redis

from bananas_topology.jobs.broker import Broker
from bananas_topology.jobs.connection import connect
from bananas_topology.jobs.dead import DeadJobs
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.stored import to_bytes
from bananas_topology.jobs.stranded import BATCH, Action, StrandedJobs
from bananas_topology.system.clock import format_timestamp, wall_now
from tests.jobs.invariants import places
from tests.jobs.support import Worker, encoded
from tests.waiting import wait_for

HOUR_MS = 3_600_000


@pytest.fixture
def stranded(client: redis.Redis, keys: Keys) -> StrandedJobs:
    return StrandedJobs(client, keys)


def go_job(job_id: str, *, status: str = "processing", age_s: float = 0, **more: object) -> str:
    """A job's JSON as a Go worker left it, `age_s` seconds ago."""
    at = format_timestamp(wall_now() - timedelta(seconds=age_s))
    fields = {"id": job_id, "name": "add", "payload": {"n": []}, "priority": "high"}
    return json.dumps({**fields, "status": status, "updated_at": at, "attempts": 1, **more})


def hold(client: redis.Redis, keys: Keys, job_id: str, body: str) -> None:
    """Take a job as a Go worker does."""
    client.set(keys.job(job_id), body)
    client.lpush(keys.processing, job_id)


def test_a_job_held_for_longer_than_any_job_may_run_goes_back_to_the_front_of_its_queue(
    client: redis.Redis, keys: Keys, stranded: StrandedJobs
) -> None:
    hold(client, keys, "old", go_job("old", age_s=7200, trace="kept", error="before"))
    hold(client, keys, "running", go_job("running", age_s=60))
    Broker(client, keys).enqueue([encoded("waiting", priority="high")])

    jobs = stranded.observe(HOUR_MS)
    outcome = stranded.rescue(jobs)

    assert {job.job_id: job.action for job in jobs} == {
        "old": Action.REQUEUE,
        "running": Action.WAIT,
    }
    assert (outcome.requeued, outcome.cleared, outcome.left) == (1, 0, 0)
    assert client.lrange(keys.processing, 0, -1) == [b"running"]
    body = json.loads(client.get(keys.job("old")) or b"")
    assert (body["status"], body["payload"], body["trace"]) == ("pending", {"n": []}, "kept")
    assert "error" not in body
    assert Worker(Broker(client, keys)).claim(2) == ["old", "waiting"]


def test_what_does_not_say_since_when_is_aged_from_when_it_was_first_seen(
    client: redis.Redis, keys: Keys, stranded: StrandedJobs
) -> None:
    hold(client, keys, "a", go_job("a", status="pending", age_s=90_000))

    [first] = stranded.observe(HOUR_MS)
    seen = client.hget(keys.rescue_seen, "a")
    assert isinstance(seen, bytes)
    digest, _, at = seen.decode().partition("|")
    client.hset(keys.rescue_seen, "a", f"{digest}|{float(at) - 4000}")
    [second] = stranded.observe(HOUR_MS)

    assert (first.action, first.is_observed) == (Action.WAIT, True)
    assert (second.action, second.is_observed) == (Action.REQUEUE, True)
    assert second.since < first.since


def test_a_time_in_the_future_says_nothing(
    client: redis.Redis, keys: Keys, stranded: StrandedJobs
) -> None:
    hold(client, keys, "a", go_job("a", age_s=-90_000))

    [first] = stranded.observe(HOUR_MS)
    [second] = stranded.observe(0)

    assert (first.action, first.is_observed) == (Action.WAIT, True)
    assert (second.action, second.since) == (Action.REQUEUE, first.since)


def test_a_job_that_came_back_to_the_list_is_observed_afresh(
    client: redis.Redis, keys: Keys, stranded: StrandedJobs
) -> None:
    hold(client, keys, "a", go_job("a", status="pending"))
    stranded.observe(0)
    client.set(keys.job("a"), go_job("a", status="pending", attempts=2))

    [again] = stranded.observe(HOUR_MS)

    assert again.action is Action.WAIT
    assert (wall_now() - again.since).total_seconds() < 30
    client.delete(keys.processing)
    assert stranded.observe(HOUR_MS) == []
    assert not client.exists(keys.rescue_seen)


def test_a_worker_that_turns_out_to_live_keeps_its_job(
    client: redis.Redis, keys: Keys, stranded: StrandedJobs
) -> None:
    for job_id in ("finished", "settling", "gone"):
        hold(client, keys, job_id, go_job(job_id, age_s=7200))
    jobs = stranded.observe(HOUR_MS)

    client.set(keys.job("finished"), go_job("finished", status="completed"))
    client.lrem(keys.processing, 0, "finished")
    client.set(keys.job("settling"), go_job("settling", status="completed"))
    client.lrem(keys.processing, 0, "gone")
    outcome = stranded.rescue(jobs)

    assert (outcome.requeued, outcome.left) == (0, 3)
    assert client.llen(keys.queue("high")) == 0
    assert client.lrange(keys.processing, 0, -1) == [b"settling"]


def test_two_rescues_at_once_requeue_each_job_once(
    client: redis.Redis, keys: Keys, stranded: StrandedJobs
) -> None:
    ids = [f"job-{number}" for number in range(250)]
    for job_id in ids:
        hold(client, keys, job_id, go_job(job_id, age_s=7200))
    other = StrandedJobs(client, keys)
    jobs, also = stranded.observe(HOUR_MS), other.observe(HOUR_MS)

    first, second = stranded.rescue(jobs), other.rescue(also)

    assert (first.requeued, second.requeued, second.left) == (250, 0, 250)
    assert sorted(client.lrange(keys.queue("high"), 0, -1)) == sorted(map(str.encode, ids))


def test_jobs_that_are_finished_or_wait_elsewhere_do_not_run_again(
    client: redis.Redis, keys: Keys, stranded: StrandedJobs
) -> None:
    hold(client, keys, "completed", go_job("completed", status="completed", age_s=7200))
    hold(client, keys, "failed", go_job("failed", status="failed", age_s=7200))
    hold(client, keys, "retried", go_job("retried", age_s=7200))
    client.zadd(keys.scheduled, {"retried": 4e9})
    hold(client, keys, "ours", go_job("ours", age_s=7200))
    client.lpush(keys.queue("high"), "ours")
    assert Worker(Broker(client, keys)).claim() == ["ours"]

    jobs = stranded.observe(HOUR_MS)
    outcome = stranded.rescue(jobs)

    assert (outcome.requeued, outcome.cleared, outcome.left) == (0, 3, 1)
    assert places(client, keys) == {
        "completed": ["completed"],
        "failed": ["dead"],
        "retried": ["scheduled"],
        "ours": ["claims:w-0"],
    }
    assert client.lrange(keys.processing, 0, -1) == [b"ours"]


@pytest.mark.parametrize("body", ["not json", "[]", "{}", '{"id": "x", "name": 3}'])
def test_what_is_no_job_becomes_a_dead_one_with_its_bytes(
    client: redis.Redis, keys: Keys, stranded: StrandedJobs, body: str
) -> None:
    client.lpush(keys.processing, b"x\xff")
    client.set(keys.job("").encode() + b"x\xff", body)

    waiting = stranded.observe(HOUR_MS)
    jobs = stranded.observe(0)

    assert [job.action for job in (*waiting, *jobs)] == [Action.WAIT, Action.BURY]
    assert stranded.rescue(jobs).cleared == 1
    assert client.llen(keys.processing) == 0
    [dead] = DeadJobs(client, keys).list()
    assert (to_bytes(dead.job_id), dead.is_readable) == (b"x\xff", False)
    assert client.get(keys.job("").encode() + b"x\xff") == body.encode()


def test_an_id_without_a_job_is_removed(
    client: redis.Redis, keys: Keys, stranded: StrandedJobs
) -> None:
    client.lpush(keys.processing, "expired")

    assert stranded.rescue(stranded.observe(0)).cleared == 1
    assert places(client, keys) == {}
    assert client.llen(keys.processing) == 0


def test_the_oldest_runs_first(client: redis.Redis, keys: Keys, stranded: StrandedJobs) -> None:
    ids = [f"job-{number}" for number in range(BATCH + 20)]
    for job_id in ids:
        hold(client, keys, job_id, go_job(job_id, status="pending"))

    stranded.rescue(stranded.observe(0))

    assert Worker(Broker(client, keys)).claim(len(ids)) == ids


def _go_worker(server_url: str, keys: Keys, ran: list[str], stop: threading.Event) -> None:
    """Work as the Go implementation does: BRPOPLPUSH, mark, run, complete, LREM."""
    with connect(server_url) as own:
        while not stop.is_set():
            job_id: Any = own.brpoplpush(keys.queue("high"), keys.processing, timeout=1)
            if job_id is not None:
                own.set(keys.job(job_id.decode()), go_job(job_id.decode()))
                ran.append(job_id.decode())
                own.set(keys.job(job_id.decode()), go_job(job_id.decode(), status="completed"))
                own.lrem(keys.processing, 1, job_id)


def test_beside_a_running_go_fleet_every_job_runs_once(
    client: redis.Redis, keys: Keys, stranded: StrandedJobs, server_url: str
) -> None:
    lost, fresh = ([f"{name}-{n}" for n in range(150)] for name in ("lost", "fresh"))
    for job_id in lost:
        hold(client, keys, job_id, go_job(job_id, age_s=7200))
    ran: list[str] = []
    stop = threading.Event()
    fleet = [
        threading.Thread(target=_go_worker, args=(server_url, keys, ran, stop)) for _ in range(4)
    ]
    for thread in fleet:
        thread.start()
    try:
        for job_id in fresh:
            client.set(keys.job(job_id), go_job(job_id, status="pending"))
            client.lpush(keys.queue("high"), job_id)
            if job_id.endswith("0"):
                stranded.rescue(stranded.observe(HOUR_MS))
        wait_for(lambda: len(ran) == 300 and stranded.count() == 0)
    finally:
        stop.set()
        for thread in fleet:
            thread.join()

    assert sorted(ran) == sorted(lost + fresh)
