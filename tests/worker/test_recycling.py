"""Workers that are replaced by fresh processes when they reach a limit."""

from __future__ import annotations

import json
import time
from typing import Any

import redis

from bananas_topology.client import Client, NewJob
from bananas_topology.contract.worker import EXIT_RECYCLE
from bananas_topology.jobs.keys import Keys
from tests.worker.support import Starter


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
    start: Starter, producer: Client
) -> None:
    slow = producer.enqueue("sleep", 1.0)
    worker = start(WORKER_CONCURRENCY="2", WORKER_MAX_JOBS="1", WORKER_GRACE="10s")
    quick = producer.enqueue("echo", 1)

    assert worker.process.wait(20) == EXIT_RECYCLE
    assert producer.results([slow, quick]) == {slow: 1.0, quick: 1}
