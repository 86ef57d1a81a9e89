"""Workers that are replaced by fresh processes when they reach a limit."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import redis

from bananas_topology.client import Client, NewJob
from bananas_topology.contract.exit_codes import EXIT_RECYCLE
from bananas_topology.contract.worker import WorkerConfig
from bananas_topology.jobs.keys import Keys
from bananas_topology.worker import recycling
from bananas_topology.worker.recycling import Recycling
from tests.waiting import wait_for
from tests.worker.support import Gate, Starter


def test_a_worker_exits_after_its_maximum_of_jobs_and_returns_the_rest(
    start: Starter, producer: Client, client: redis.Redis, keys: Keys
) -> None:
    ids = producer.enqueue_many(NewJob("sleep", 0.01) for _ in range(30))

    worker = start(ready=False, WORKER_CONCURRENCY="2", WORKER_MAX_JOBS="5")

    assert worker.process.wait(20) == EXIT_RECYCLE
    assert "worker recycled: " in worker.text()
    finished = len(producer.results(ids))
    assert 5 <= finished < 30
    assert client.llen(keys.queue("normal")) == 30 - finished
    assert client.zcard(keys.workers) == 0


def test_recycled_workers_run_every_job_once(
    start: Starter, producer: Client, client: redis.Redis, keys: Keys
) -> None:
    ids = producer.enqueue_many(NewJob("sleep", 0.01) for _ in range(12))

    def is_done() -> bool:
        return len(producer.results(ids)) == 12

    while not is_done():
        process = start(
            ready=False, WORKER_ID="w", WORKER_CONCURRENCY="2", WORKER_MAX_JOBS="3"
        ).process
        while not is_done() and process.poll() is None:
            time.sleep(0.01)

    stored: list[Any] = [client.get(keys.job(job_id)) for job_id in ids]
    assert [json.loads(body)["attempts"] for body in stored] == [1] * 12


def test_a_running_job_is_finished_before_the_worker_is_recycled(
    start: Starter, producer: Client, gate: Gate
) -> None:
    slow = producer.enqueue("hold", gate.payload)
    worker = start(WORKER_CONCURRENCY="2", WORKER_MAX_JOBS="1", WORKER_GRACE="100ms")
    quick = producer.enqueue("echo", 1)
    worker.wait_for_log("worker stopping")
    stopping_at = time.monotonic()
    wait_for(lambda: time.monotonic() - stopping_at > 0.5)

    gate.open()

    assert worker.process.wait(20) == EXIT_RECYCLE
    assert producer.results([slow, quick]) == {slow: "done", quick: 1}


def test_a_worker_over_its_memory_exits_between_jobs(start: Starter, producer: Client) -> None:
    worker = start(WORKER_CONCURRENCY="1", WORKER_MAX_MEMORY="200Mi")
    modest = producer.enqueue("leak", 1)
    producer.wait(modest, timeout=10)
    assert worker.process.poll() is None

    greedy = producer.enqueue("leak", 300)

    assert worker.process.wait(20) == EXIT_RECYCLE
    assert "resident, max_memory is 200Mi" in worker.text()
    assert producer.get(greedy).status == "completed"


def test_an_idle_worker_is_recycled_at_its_maximum_age(start: Starter) -> None:
    worker = start(WORKER_MAX_AGE="1s")

    assert worker.process.wait(20) == EXIT_RECYCLE
    assert "worker recycled: max_age of 1s reached" in worker.text()


def test_replicas_that_start_together_are_recycled_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(recycling, "monotonic", lambda: now)
    config = WorkerConfig(max_age_ms=100_000)
    first, last = Recycling(config, 0.0), Recycling(config, 0.99)

    now = 105.0

    assert first.reason()
    assert not last.reason()
