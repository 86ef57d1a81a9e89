"""The history of a job's runs: what the scripts keep, for how long, and how it is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
import redis

from bananas_topology.contract.worker import WorkerConfig
from bananas_topology.jobs.broker import Broker
from bananas_topology.jobs.inspect import Inspector
from bananas_topology.jobs.job import Claim
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.runs import JobRun, RunOutcome, StoredRun, read_runs
from bananas_topology.jobs.settlements import KEEP_FAILURE_MS, ReleaseJob, Settlement
from tests.jobs.support import AT, Worker, ack, bury, encoded, retry

KEEP = WorkerConfig().keep
START = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def _stored(number: int, outcome: RunOutcome = RunOutcome.RETRIED) -> bytes:
    return StoredRun(number, f"w-{number}", AT, 1000, outcome).encode()


def _recorded(settlement: Settlement, number: int = 1) -> Settlement:
    return msgspec.structs.replace(settlement, run=_stored(number))


@pytest.mark.parametrize(
    ("settle", "keep_ms"),
    [
        (ack, KEEP.completed_ms),
        (retry, KEEP_FAILURE_MS),
        (bury, KEEP.dead_ms),
        (ReleaseJob, KEEP_FAILURE_MS),
    ],
)
def test_a_recorded_run_expires_with_its_job(
    broker: Broker,
    client: redis.Redis,
    keys: Keys,
    settle: Callable[[Claim], Settlement],
    keep_ms: int,
) -> None:
    broker.enqueue([encoded("a"), encoded("b")])
    worker = Worker(broker)
    first, second = worker.exchange(count=2).claims

    assert worker.exchange([settle(first), _recorded(settle(second))]).lost == ()

    assert client.lrange(keys.runs("b"), 0, -1) == [_stored(1)]
    assert keep_ms - 60_000 < client.pttl(keys.runs("b")) <= keep_ms
    assert not client.exists(keys.runs("a"))


@pytest.mark.parametrize("settle", [ack, bury])
def test_nothing_is_left_of_the_runs_of_a_job_that_is_not_kept(
    broker: Broker, client: redis.Redis, keys: Keys, settle: Callable[[Claim], Settlement]
) -> None:
    broker.enqueue([encoded("a"), encoded("b")])
    worker = Worker(broker, keep=replace(KEEP, completed_ms=0, dead_ms=0))
    first, second = worker.exchange(count=2).claims
    client.rpush(keys.runs("a"), _stored(1))
    client.rpush(keys.runs("b"), _stored(1))

    worker.exchange([settle(first), _recorded(settle(second), 2)])

    assert not client.exists(keys.runs("a"), keys.runs("b"))


def test_the_latest_20_runs_are_kept(broker: Broker, client: redis.Redis, keys: Keys) -> None:
    broker.enqueue([encoded("a")])
    worker = Worker(broker)

    for number in range(25):
        [claim] = worker.exchange(count=1).claims
        worker.exchange([_recorded(ReleaseJob(claim), number)])

    assert client.lrange(keys.runs("a"), 0, -1) == [_stored(number) for number in range(5, 25)]


def test_the_run_of_a_lost_claim_is_not_recorded(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    broker.enqueue([encoded("a")])
    worker = Worker(broker)
    [claim] = worker.exchange(count=1).claims
    client.delete(keys.claims("w-0"))

    for settle in (ack, retry, bury, ReleaseJob):
        assert len(worker.exchange([_recorded(settle(claim))]).lost) == 1

    assert not client.exists(keys.runs("a"))


def test_a_crash_is_a_run_of_the_worker_that_went_down(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    broker.enqueue([encoded("a")])
    worker = Worker(broker)
    worker.exchange([_recorded(retry(worker.exchange(count=1).claims[0], 0))])
    broker.promote()
    assert worker.claim() == ["a"]
    again = Worker(broker)
    broker.recover(again.consumer, again.token(), [])
    again.claim()

    runs: Any = Inspector(client, keys).job("a").runs

    assert [(run.attempt, run.outcome, run.worker_id) for run in runs] == [
        (1, "retried", "w-1"),
        (2, "crashed", "w-0"),
        (2, "running", "w-0"),
    ]
    assert runs[1].started_at <= runs[2].started_at


def test_crashes_are_placed_among_the_runs_by_time() -> None:
    minute_ms = 60_000
    started = int(START.timestamp() * 1000)
    stored = [
        StoredRun(
            n, "w", (START + timedelta(minutes=n)).isoformat(), 1, RunOutcome.RETRIED
        ).encode()
        for n in (1, 2)
    ]
    crashes = [
        f"{started + round(at * minute_ms)}|reborn|{how}|w|0|{started}".encode()
        for at, how in ((0.5, "alone"), (1.5, "shared"), (2.5, "alone"))
    ]
    latest = JobRun(3, "w", None, None, RunOutcome.RUNNING)

    runs = read_runs([*stored, b"\xff not a run"], crashes, latest, attempts=2)

    assert [(run.attempt, run.outcome) for run in runs] == [
        (1, "crashed"),
        (1, "retried"),
        (2, "crashed"),
        (2, "retried"),
        (3, "crashed"),
        (3, "running"),
    ]
    assert [run.error for run in runs[::2]] == [
        "the worker went down",
        "the worker went down while it held several jobs",
        "the worker went down",
    ]
    assert (runs[0].worker_id, runs[0].started_at) == ("w|0", START)


def test_a_run_that_completed_a_job_is_listed_once() -> None:
    latest = JobRun(2, None, START, 5, RunOutcome.COMPLETED)

    [_, last] = read_runs([_stored(1), _stored(2, RunOutcome.COMPLETED)], [], latest, attempts=2)
    [*_, unknown] = read_runs([_stored(1)], [], latest, attempts=2)

    assert last.worker_id == "w-2"
    assert unknown == latest
