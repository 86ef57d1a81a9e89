"""Async handlers: what one of them does to the event loop or its context affects no other."""

from __future__ import annotations

import gc
import json
import queue
from pathlib import Path
from typing import Any

import pytest

from bananas_topology.client import Client
from bananas_topology.contract.worker import WorkerConfig
from bananas_topology.errors import JobFailed
from bananas_topology.handler_modules import load_handlers
from bananas_topology.jobs.job import Claim
from bananas_topology.system.clock import monotonic
from bananas_topology.worker.event_loop import EventLoop
from bananas_topology.worker.execution import Completed, Failed, Outcome, prepare
from bananas_topology.worker.run import Run, bind_handlers
from tests.waiting import wait_for
from tests.worker import loop_jobs
from tests.worker.support import Starter, WorkerProcess


@pytest.fixture
def worker(start: Starter) -> WorkerProcess:
    return start(WORKER_HANDLERS="loop_jobs", WORKER_CONCURRENCY="4", JOB_TIMEOUT="20s")


def _outcome(producer: Client, how: str) -> str:
    try:
        result: str = producer.wait(producer.enqueue("bad", how), timeout=10)
    except JobFailed as error:
        return str(error)
    return result


@pytest.mark.parametrize(
    ("how", "outcome"),
    [
        ("exit in a task", "SystemExit(3)"),
        ("interrupt in a task", "KeyboardInterrupt()"),
        ("exit in a callback", "SystemExit()"),
        ("exit in a forgotten task", "SystemExit(3)"),
        ("stop", "went on"),
        ("replace", "Invalid argument"),
    ],
)
def test_no_handler_ends_the_event_loop(
    worker: WorkerProcess, producer: Client, how: str, outcome: str
) -> None:
    beside = producer.enqueue("good", 0.5) if how != "replace" else None

    assert outcome in _outcome(producer, how)

    for job_id in filter(None, [beside, producer.enqueue("good", 0.01)]):
        assert producer.wait(job_id, timeout=10) == "fine"
    assert "event loop" in worker.text()
    assert how in ("stop", "replace") or "continuing job_id=" in worker.text()
    assert worker.end() == 0


@pytest.mark.parametrize("pinged", [False, True])
def test_a_loop_that_a_handler_broke_does_not_break_the_next(
    caplog: pytest.LogCaptureFixture, pinged: bool
) -> None:
    gc.collect()  # what other tests have left would be logged below
    caplog.clear()
    handlers = bind_handlers(load_handlers((loop_jobs.__name__,)), WorkerConfig(worker_id="w"))

    def new_run(job_type: str, payload: Any) -> Run:
        body = json.dumps({"id": "1", "name": job_type, "payload": payload}).encode()
        run = Run(Claim("1", body, b"t.1|normal|0"), monotonic())
        prepare(run, handlers)
        return run

    outcomes: queue.Queue[Outcome] = queue.Queue()

    def start_next(run: Run, outcome: Outcome) -> None:
        outcomes.put(outcome)
        if run is broken:
            loop.start(new_run("good", 0.2))

    loop = EventLoop(start_next)
    broken = new_run("bad", "block and break" if pinged else "break")
    loop.start(broken)
    if pinged:
        wait_for(lambda: broken.started_at)
        loop.check()

    failure, success = outcomes.get(timeout=10), outcomes.get(timeout=10)
    assert isinstance(failure, Failed)
    assert "Bad file descriptor" in failure.failure.message
    assert success == Completed(b'"fine"')
    assert loop.check() == 0
    gc.collect()
    assert [record.message for record in caplog.records] == ["event loop failed, starting another"]


@pytest.mark.parametrize("setter", ["set", "async_set"])
def test_context_variables_do_not_leak_into_other_jobs(
    start: Starter, producer: Client, setter: str
) -> None:
    start(WORKER_HANDLERS="loop_jobs", WORKER_CONCURRENCY="1")

    producer.wait(producer.enqueue(setter, None), timeout=10)

    for getter in ("get", "async_get"):
        seen = producer.wait(producer.enqueue(getter, None), timeout=10)
        assert seen == ["nobody", "0.3333333333333333333333333333"]


def test_a_coroutine_sees_what_its_wrapper_has_set(worker: WorkerProcess, producer: Client) -> None:
    seen = producer.wait(producer.enqueue("wrapped_get", None), timeout=10)

    assert seen == ["acme", "0.333"]


@pytest.mark.parametrize("job_type", ["log", "async_log"])
def test_the_lines_of_a_handler_name_its_job(
    worker: WorkerProcess, producer: Client, job_type: str
) -> None:
    job_id = producer.enqueue(job_type, "a line of the handler")
    producer.wait(job_id, timeout=10)

    fields = f"job_id={job_id} job_type={job_type}"
    wait_for(lambda: f"a line of the handler {fields}" in worker.text())


@pytest.mark.parametrize("job_type", ["block", "block_in_task"])
def test_the_job_that_blocks_the_event_loop_is_named_and_delays_no_timeout(
    start: Starter, producer: Client, tmp_path: Path, job_type: str
) -> None:
    # So many slots that those behind the one that hangs do not count as most of them.
    worker = start(WORKER_HANDLERS="loop_jobs", WORKER_CONCURRENCY="20", JOB_TIMEOUT="2s")
    file = tmp_path / "blocked"
    file.touch()
    blocking = producer.enqueue(job_type, str(file))
    worker.wait_for_log("event loop blocked")
    behind = [producer.enqueue("good", 0) for _ in range(4)]
    with pytest.raises(JobFailed, match="timeout of 2000 ms, and its handler did not end"):
        producer.wait(blocking, timeout=10)

    file.unlink()

    # Their timeout of 2 s begins with their first step.
    assert [producer.wait(job_id, timeout=10) for job_id in behind] == ["fine"] * 4
    line = next(line for line in worker.text().splitlines() if "event loop blocked" in line)
    assert f"job_id={blocking} job_type={job_type}" in line
    assert "time.sleep(0.01)" in worker.text()
    worker.wait_for_log("event loop unblocked")


def test_a_worker_whose_event_loop_hangs_is_restarted(start: Starter, producer: Client) -> None:
    worker = start(WORKER_HANDLERS="loop_jobs", WORKER_CONCURRENCY="2", WORKER_GRACE="100ms")
    hanging = producer.enqueue("hang", None)
    with pytest.raises(JobFailed, match="its handler did not end"):
        producer.wait(hanging, timeout=10)
    behind = producer.enqueue("good", 0.01)

    assert worker.process.wait(20) == 75
    assert producer.get(behind).status == "pending"

    start(WORKER_HANDLERS="loop_jobs")
    assert producer.wait(behind, timeout=10) == "fine"
    assert (producer.get(behind).body or {})["attempts"] == 1
