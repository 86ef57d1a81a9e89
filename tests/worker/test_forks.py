"""Handlers that fork: the child is no second worker, and the worker does not notice it."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import redis

from bananas_topology.client import Client
from bananas_topology.system.notify import NotifySocket
from tests.jobs.servers import free_port
from tests.waiting import wait_for
from tests.worker.support import Starter, WorkerProcess, wait_until_idle


@pytest.fixture
def worker(start: Starter) -> WorkerProcess:
    return start(WORKER_HANDLERS="fork_jobs", WORKER_CONCURRENCY="4", WORKER_GRACE="2s")


def _result(producer: Client, job_type: str, payload: Any) -> Any:
    return producer.wait(producer.enqueue(job_type, payload), timeout=20)


@pytest.mark.parametrize("job_type", ["fork", "async_fork", "executor_fork", "to_thread_fork"])
def test_a_child_that_ends_the_handler_exits_as_a_process(
    worker: WorkerProcess, producer: Client, job_type: str
) -> None:
    codes = {"return": 0, "exit": 3, "text": 1, "raise": 1, "interrupt": 1}

    assert {how: _result(producer, job_type, how) for how in codes} == codes
    text = worker.text()
    assert "farewell" in text
    assert "ValueError: in the child" in text
    assert job_type == "async_fork" or "child: return" in text
    assert "unexpected error" not in text
    assert worker.end() == 0


def test_a_child_of_a_child_keeps_its_descriptors(worker: WorkerProcess, producer: Client) -> None:
    assert _result(producer, "fork_twice", None) == 5
    assert "Traceback" not in worker.text()


def test_a_child_of_the_event_loop_runs_no_other_handler(
    worker: WorkerProcess, producer: Client, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    ticking = producer.enqueue("tick", {"file": str(ran), "times": 3_000})

    assert _result(producer, "async_fork", "await") == 1
    assert _result(producer, "async_fork", "task") in (1, 4)

    producer.wait(ticking, timeout=20)
    assert set(ran.read_text().split()) == {str(worker.process.pid)}


@pytest.mark.parametrize("job_type", ["pool", "spawned_pool", "executor"])
def test_process_pools_work_and_do_not_stop_the_worker(
    worker: WorkerProcess, producer: Client, job_type: str
) -> None:
    for _ in range(2):
        assert _result(producer, job_type, 4) == [0, 1, 4, 9]

    assert "worker stopping" not in worker.text()
    assert worker.end() == 0


def test_a_signal_sent_to_a_child_at_once_does_not_reach_the_worker(
    worker: WorkerProcess, producer: Client
) -> None:
    assert _result(producer, "terminate", 50) == [-signal.SIGTERM] * 50

    assert "worker stopping" not in worker.text()


def test_a_child_has_no_connection_and_no_pipe_of_the_worker(
    start: Starter, producer: Client, client: redis.Redis, tmp_path: Path
) -> None:
    with NotifySocket(tmp_path / "notify") as notified:
        start(
            WORKER_HANDLERS="fork_jobs",
            METRICS_PORT=str(free_port()),
            NOTIFY_SOCKET=str(notified.path),
        )
        wait_for(lambda: bool(notified.receive()))
        # Not while it connects: a socket without a connection yet is not known as the worker's.
        wait_until_idle(client)

        # Standard output is a file here.
        assert _result(producer, "sockets", None) == {"socket": 0, "pipe": 0}
