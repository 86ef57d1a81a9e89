from __future__ import annotations

import signal
from collections.abc import Iterable

import pytest
import redis

from bananas_topology.client import Client
from bananas_topology.errors import JobFailed
from bananas_topology.jobs.history import History, HistoryReader, Totals
from bananas_topology.jobs.job import Claim, Job
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.log_histogram import TimeCounts
from bananas_topology.jobs.settlements import ReleaseJob, RetryJob
from bananas_topology.system.clock import monotonic
from bananas_topology.worker.history import (
    MAX_TYPES,
    HistoryFlushes,
)
from bananas_topology.worker.metrics import Tally
from bananas_topology.worker.run import Run
from tests.waiting import wait_for
from tests.worker.support import Starter


@pytest.fixture
def reader(client: redis.Redis, keys: Keys) -> HistoryReader:
    return HistoryReader(client, keys)


def _named(sums: Iterable[tuple[str | None, Totals]]) -> dict[str | None, tuple[int, int, int]]:
    return {name: (each.completed, each.failed, each.dead) for name, each in sums}


def _of(history: History, job_type: str) -> Totals:
    return next(totals for name, totals in history.types if name == job_type)


def _run(job_type: str = "add", duration_s: float = 0.1) -> Run:
    """A settled run of a job that will be retried."""
    claim = Claim("a", b"{}", b"fence")
    run = Run(claim, monotonic(), Job("a", job_type), started_at=monotonic())
    run.duration_s, run.settlement = duration_s, RetryJob(claim, b"", b"", 1)
    return run


def test_the_history_has_what_workers_did(
    start: Starter, producer: Client, reader: HistoryReader
) -> None:
    workers = [start(WORKER_POOL=pool) for pool in ("fast", "slow")]
    for job_id in [producer.enqueue("echo", n) for n in range(20)]:
        producer.wait(job_id, timeout=20)
    for name in ("sleep", "fail", "ask_again"):
        try:
            producer.wait(producer.enqueue(name, 0.3), timeout=20)
        except JobFailed:
            continue
    for worker in workers:
        assert worker.end() == 0

    for history in (reader.read("hour"), reader.read("day")):
        assert _named(history.types) == {
            "echo": (20, 0, 0),
            "sleep": (1, 0, 0),
            "fail": (0, 1, 1),
            "ask_again": (0, 2, 1),
        }
        assert set(_named(history.pools)) <= {"fast", "slow"}
        assert sum(point.completed for _, point in history.points) == 21
        [slept_s] = _of(history, "sleep").runs.percentiles([50]) or []
        assert 0.3 / 1.1 <= slept_s < 20
        assert (_of(history, "echo").runs.percentiles([50]) or [20])[0] < slept_s
        assert _of(history, "echo").waits.percentiles([99])


def test_a_killed_worker_loses_only_what_it_has_not_added_yet(
    start: Starter, producer: Client, reader: HistoryReader
) -> None:
    worker = start(WORKER_LEASE="1s")
    producer.wait(producer.enqueue("echo", 1), timeout=20)
    wait_for(lambda: reader.read("hour").types)

    worker.end(signal.SIGKILL)

    assert _named(reader.read("hour").types) == {"echo": (1, 0, 0)}


def test_a_worker_with_a_long_lease_adds_what_it_did_while_it_runs(
    start: Starter, producer: Client, reader: HistoryReader
) -> None:
    start(WORKER_LEASE="10m")
    producer.wait(producer.enqueue("echo", 1), timeout=20)

    wait_for(lambda: reader.read("hour").types, within_s=60)


def test_jobs_that_did_not_run_have_no_run_time(
    start: Starter, producer: Client, client: redis.Redis, keys: Keys, reader: HistoryReader
) -> None:
    worker = start()
    client.set(keys.job("broken"), "no job")
    client.lpush(keys.queue("high"), "broken")
    wait_for(lambda: client.llen(keys.dead))
    worker.end()

    [(name, totals)] = reader.read("hour").types
    assert (name, totals.failed, totals.dead) == (None, 1, 1)
    assert totals.runs.percentiles([50]) is totals.waits.percentiles([50]) is None


def test_released_jobs_are_not_counted() -> None:
    tally, run = Tally(is_scraped=False), _run()
    run.settlement = ReleaseJob(run.claim, is_started=True)

    tally.count([run])

    assert tally.history.take() == []


def test_of_very_many_runs_a_sample_is_measured_and_of_few_all() -> None:
    tally, batches = Tally(is_scraped=False), 400
    for number in range(batches):
        tally.count([_run(duration_s=duration_s) for duration_s in (0.01, 1.0)] * 10)
        if not number % 40:
            tally.count([_run(), _run("rare", 5.0), _run()])

    often, rare = tally.history.take()

    assert often.failed == batches * 20 + 20
    assert sum(count for count in often.runs if count > 0) == pytest.approx(often.failed, rel=0.02)
    times = TimeCounts()
    times.add(often.runs, level=0)
    assert times.percentiles([45, 55]) == pytest.approx([0.01, 1.0], rel=0.1)
    assert [count for count in rare.runs if count > 0] == [rare.failed] == [10]


def test_types_beyond_the_bound_are_counted_together() -> None:
    tally = Tally(is_scraped=False)
    tally.count([_run(f"type-{number}") for number in range(3 * MAX_TYPES)])

    taken = tally.history.take()

    assert len(taken) == MAX_TYPES + 1
    assert (taken[0].job_type, taken[0].failed) == ("", 2 * MAX_TYPES)
    assert sum(each.failed for each in taken) == 3 * MAX_TYPES


def test_counts_are_sent_again_unchanged_until_redis_has_confirmed_them() -> None:
    tally = Tally(is_scraped=False)
    flushes = HistoryFlushes(tally.history, "default", "incarnation")
    assert flushes.now() is None
    tally.count([_run()])
    first = flushes.if_due()
    tally.count([_run(), _run()])

    assert first is not None
    assert flushes.if_due() == first

    flushes.confirm()
    assert flushes.if_due() is None
    second = flushes.now()
    assert second is not None
    assert second.token != first.token
    assert flushes.if_due() == second
