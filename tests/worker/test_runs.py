"""The history of a job's runs, as real workers write it."""

from __future__ import annotations

import signal
from typing import Any

import redis

from bananas_topology.client import Client
from bananas_topology.jobs.keys import Keys
from bananas_topology.system.clock import wall_now
from tests.waiting import wait_for
from tests.worker.support import Gate, Starter


def _runs(producer: Client, job_id: str) -> list[tuple[int, str, str | None]]:
    return [(run.attempt, run.outcome, run.worker_id) for run in producer.get(job_id).runs]


def test_every_attempt_is_kept_with_its_worker_duration_and_error(
    start: Starter, producer: Client
) -> None:
    start()
    job_id = producer.enqueue("third_time", 0.05)
    assert producer.wait(job_id, timeout=20) == "done"

    runs = producer.get(job_id).runs

    assert _runs(producer, job_id) == [
        (1, "retried", "w0"),
        (2, "retried", "w0"),
        (3, "completed", "w0"),
    ]
    assert [run.error for run in runs] == ["Retry: attempt 1", "Retry: attempt 2", None]
    starts = [run.started_at for run in runs if run.started_at]
    assert starts == sorted(starts)
    assert len(starts) == 3
    assert all(abs((wall_now() - at).total_seconds()) < 60 for at in starts)
    assert all(run.duration_ms is not None and run.duration_ms >= 50 for run in runs)


def test_a_job_that_completes_at_its_first_attempt_writes_no_history(
    start: Starter, producer: Client, client: redis.Redis, keys: Keys
) -> None:
    start()
    job_id = producer.enqueue("echo", 1)
    producer.wait(job_id, timeout=20)

    assert _runs(producer, job_id) == [(1, "completed", None)]
    assert not client.exists(keys.runs(job_id))


def test_a_dead_job_keeps_its_last_run(start: Starter, producer: Client) -> None:
    start()
    job_id = producer.enqueue("fail", "no")
    wait_for(lambda: producer.get(job_id).status == "failed")

    assert _runs(producer, job_id) == [(1, "dead", "w0")]
    assert producer.get(job_id).runs[0].error == "ValueError: no"


def test_an_interrupted_and_a_crashed_run_are_told_apart_from_the_one_that_completes(
    start: Starter, producer: Client, gate: Gate
) -> None:
    stopped = start(WORKER_GRACE="100ms")
    job_id = producer.enqueue("hold", gate.payload)
    gate.wait_for(1, "w0")
    assert stopped.end() == 0
    killed = start(WORKER_LEASE="1s")
    gate.wait_for(1, "w1")
    assert _runs(producer, job_id)[-1] == (1, "running", "w1")
    killed.end(signal.SIGKILL)
    start(WORKER_LEASE="1s")
    gate.wait_for(1, "w2")

    runs: Any = producer.get(job_id).runs

    assert _runs(producer, job_id) == [
        (1, "interrupted", "w0"),
        (1, "crashed", "w1"),
        (1, "running", "w2"),
    ]
    assert runs[0].started_at < runs[1].started_at < runs[2].started_at
    assert runs[1].error == "the worker went down"
