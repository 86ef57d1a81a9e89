"""What handlers and their processes may still do when they are interrupted or stopped."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest
import redis

from bananas_topology.client import Client
from bananas_topology.errors import JobFailed
from bananas_topology.jobs.keys import Keys
from bananas_topology.worker.shutdown import EXIT_BY_S, LEAVE_TIMEOUT_S
from bananas_topology.worker.slots import CLEANUP_S
from tests.waiting import wait_for
from tests.worker.stop_jobs import notes
from tests.worker.support import Starter


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "notes"


@pytest.mark.parametrize("job_type", ["clean_up", "async_clean_up"])
def test_handlers_clean_up_at_the_end_of_the_grace_period(
    start: Starter, producer: Client, client: redis.Redis, keys: Keys, file: Path, job_type: str
) -> None:
    worker = start(WORKER_HANDLERS="stop_jobs", WORKER_GRACE="200ms")
    job_id = producer.enqueue(job_type, {"file": str(file)})
    wait_for(lambda: notes(file) == ["began"])

    assert worker.end() == 0

    assert notes(file) == ["began", "cleaned up, cancelled: True"]
    # Released only then, and without an attempt.
    assert client.lrange(keys.queue("normal"), 0, -1) == [job_id.encode()]
    start(WORKER_HANDLERS="stop_jobs")
    wait_for(lambda: producer.get(job_id).status == "processing")
    assert b'"attempts":0' in (client.get(keys.job(job_id)) or b"")


def test_a_worker_that_was_paused_beyond_its_grace_period_releases_its_jobs(
    start: Starter, producer: Client, client: redis.Redis, keys: Keys, file: Path
) -> None:
    worker = start(WORKER_HANDLERS="stop_jobs", WORKER_GRACE="300ms")
    job_id = producer.enqueue("stubborn", {"file": str(file), "until": f"{file}-end"})
    wait_for(lambda: notes(file) == ["began 1"])
    worker.send(signal.SIGTERM)
    worker.wait_for_log("worker stopping")
    stopping_at = time.monotonic()

    worker.send(signal.SIGSTOP)
    wait_for(lambda: time.monotonic() - stopping_at > 0.3 + CLEANUP_S + LEAVE_TIMEOUT_S)
    worker.send(signal.SIGCONT)

    assert worker.process.wait(20) == 0
    # It does not wait for the server's reply.
    wait_for(lambda: client.lrange(keys.queue("normal"), 0, -1) == [job_id.encode()])
    assert not client.exists(keys.claims("w0"))


def test_a_second_signal_does_not_wait_for_cleanup(
    start: Starter, producer: Client, file: Path
) -> None:
    worker = start(WORKER_HANDLERS="stop_jobs")
    job_id = producer.enqueue("clean_up", {"file": str(file), "cleanup": 60})
    wait_for(lambda: notes(file) == ["began"])

    assert worker.end(signal.SIGQUIT) == 128 + signal.SIGQUIT

    assert notes(file) == ["began"]
    assert producer.get(job_id).status == "pending"


def test_a_handler_that_catches_exceptions_is_ended_by_its_timeout(
    start: Starter, producer: Client, file: Path
) -> None:
    worker = start(WORKER_HANDLERS="stop_jobs", WORKER_CONCURRENCY="1", CLEANUP_S="60")
    job_id = producer.enqueue("swallow", {"file": str(file)}, max_retries=0)

    with pytest.raises(JobFailed, match=r"timeout of 300 ms$"):
        producer.wait(job_id, timeout=10)

    assert "not ended" not in worker.text()
    assert worker.end() == 0


def test_a_retry_does_not_run_beside_the_cleanup_of_the_first_attempt(
    start: Starter, producer: Client, file: Path
) -> None:
    worker = start(
        WORKER_HANDLERS="stop_jobs",
        WORKER_JOBS='{"slow_cleanup":{"backoff_base":"1ms","backoff_cap":"1ms"}}',
        SCHEDULER_INTERVAL="100ms",
        CLEANUP_S="60",
    )
    job_id = producer.enqueue("slow_cleanup", {"file": str(file)})

    with pytest.raises(JobFailed, match="timeout"):
        producer.wait(job_id, timeout=10)

    assert notes(file) == ["began 1", "ended 1", "began 2", "ended 2"]
    assert "not ended" not in worker.text()


def test_a_retry_beside_a_first_attempt_that_does_not_end_is_announced(
    start: Starter, producer: Client, file: Path
) -> None:
    worker = start(
        WORKER_HANDLERS="stop_jobs",
        WORKER_JOBS='{"stubborn":{"timeout":"100ms","backoff_base":"1ms","backoff_cap":"1ms"}}',
    )
    end = file.with_name("end")
    job_id = producer.enqueue("stubborn", {"file": str(file), "until": str(end)})

    worker.wait_for_log(f"may run beside it job_id={job_id} job_type=stubborn")
    with pytest.raises(JobFailed, match="and its handler did not end then"):
        producer.wait(job_id, timeout=20)
    assert notes(file) == ["began 1", "began 2"]
    end.touch()
    worker.wait_for_log("interrupted handler ended")


def test_what_a_handler_returns_after_its_timeout_is_discarded(
    start: Starter, producer: Client
) -> None:
    start(WORKER_HANDLERS="stop_jobs", CLEANUP_S="60")

    with pytest.raises(JobFailed, match=r"timeout of 100 ms$"):
        producer.wait(producer.enqueue("return_late", None), timeout=10)


def test_threads_and_exit_hooks_end_before_the_worker_does(
    start: Starter, producer: Client, file: Path
) -> None:
    worker = start(WORKER_HANDLERS="stop_jobs")
    producer.wait(producer.enqueue("register", {"file": str(file)}), timeout=10)

    assert worker.end() == 0

    assert notes(file) == ["thread", "atexit"]


def test_exit_hooks_run_before_a_restart(start: Starter, producer: Client, file: Path) -> None:
    worker = start(WORKER_HANDLERS="stop_jobs", WORKER_CONCURRENCY="2", WORKER_GRACE="100ms")
    producer.wait(producer.enqueue("register", {"file": str(file)}), timeout=10)
    for _ in range(2):
        producer.enqueue("hang", None)

    assert worker.process.wait(30) == 75

    assert notes(file) == ["thread", "atexit"]


def test_exit_hooks_are_limited_in_time(start: Starter, producer: Client, file: Path) -> None:
    worker = start(WORKER_HANDLERS="stop_jobs", WORKER_GRACE="0s")
    producer.wait(producer.enqueue("register", {"file": str(file), "seconds": 60}), timeout=10)

    assert worker.end() == 0

    [limit_s] = re.findall(r"exit hooks not finished limit_s=(\S+) threads=flusher", worker.text())
    assert float(limit_s) <= EXIT_BY_S


def test_a_process_that_keeps_the_worker_from_exiting_is_named(
    start: Starter, producer: Client
) -> None:
    worker = start(WORKER_HANDLERS="stop_jobs", WORKER_GRACE="0s")
    pid = producer.wait(producer.enqueue("leave_process", None), timeout=10)

    assert worker.end() == 0

    os.kill(pid, signal.SIGKILL)
    assert "processes=importer" in worker.text()


def test_a_signal_ends_the_exit_hooks(start: Starter, producer: Client, file: Path) -> None:
    worker = start(WORKER_HANDLERS="stop_jobs")
    producer.wait(producer.enqueue("register", {"file": str(file), "seconds": 60}), timeout=10)
    worker.send(signal.SIGTERM)
    worker.wait_for_log("worker stopped")

    while worker.process.poll() is None:
        worker.send(signal.SIGINT)
        time.sleep(0.05)

    assert worker.process.wait() == 128 + signal.SIGINT
