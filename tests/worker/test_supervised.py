"""What a worker does for a supervisor: it reports its progress, and drains when asked to."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import redis

from bananas_topology.client import Client, NewJob
from bananas_topology.jobs.keys import Keys
from bananas_topology.system.notify import Notification, NotifySocket
from tests.waiting import wait_for
from tests.worker.support import Gate, Starter

#: A handler that takes its worker down.
CRASH = """\
import os
import signal

from bananas_topology import job


@job("crash")
def crash(payload: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
"""


class _Reports:
    def __init__(self, receiver: NotifySocket) -> None:
        self._receiver = receiver
        self.all: list[Notification] = []

    def receive(self) -> Notification | None:
        """Take in what has come; return the latest."""
        self.all += self._receiver.receive()
        return self.all[-1] if self.all else None

    def counts(self) -> dict[str, int]:
        latest = self.receive()
        counts: Any = json.loads(latest.fields["STATUS"]) if latest else {}
        return dict(counts)


def test_a_worker_reports_readiness_and_counts(
    start: Starter, producer: Client, tmp_path: Path, gate: Gate
) -> None:
    with NotifySocket(tmp_path / "n") as receiver:
        reports = _Reports(receiver)
        worker = start(NOTIFY_SOCKET=str(receiver.path), WORKER_CONCURRENCY="3")
        producer.enqueue("echo", 1)
        producer.enqueue("fail", "on purpose")
        producer.enqueue("hold", gate.payload)

        expected = {"slots": 3, "busy": 1, "stuck": 0, "completed": 1, "failed": 1}
        wait_for(lambda: reports.counts() == expected)
        assert reports.all[-1].fields["READY"] == reports.all[-1].fields["WATCHDOG"] == "1"
        assert {each.pid for each in reports.all} == {worker.process.pid}
        worker.send(signal.SIGTERM)
        wait_for(lambda: (latest := reports.receive()) and "READY" not in latest.fields)


def test_a_worker_is_ready_before_a_waiting_job_crashes_it(
    start: Starter, producer: Client, tmp_path: Path
) -> None:
    (tmp_path / "crash_jobs.py").write_text(CRASH)
    producer.enqueue("crash")
    with NotifySocket(tmp_path / "n") as receiver:
        reports = _Reports(receiver)
        worker = start(
            ready=False,
            NOTIFY_SOCKET=str(receiver.path),
            PYTHONPATH=str(tmp_path),
            WORKER_HANDLERS="crash_jobs",
        )
        worker.process.wait(20)
        reports.receive()

        assert "READY" in [name for each in reports.all for name in each.fields]


def test_a_worker_that_waits_for_redis_reports_progress_but_not_readiness(
    start: Starter, tmp_path: Path
) -> None:
    with NotifySocket(tmp_path / "n") as receiver:
        reports = _Reports(receiver)
        start(ready=False, NOTIFY_SOCKET=str(receiver.path), REDIS_URL="redis://127.0.0.1:1")

        wait_for(lambda: reports.receive() and len(reports.all) >= 3)

        assert not any("READY" in each.fields for each in reports.all)


def test_a_program_that_a_handler_starts_cannot_report(
    start: Starter, producer: Client, tmp_path: Path
) -> None:
    worker = start(NOTIFY_SOCKET=str(tmp_path / "n"))
    environ = Path(f"/proc/{worker.process.pid}/environ")
    if not environ.exists():
        pytest.skip("no /proc")

    assert producer.wait(producer.enqueue("environ", "NOTIFY_SOCKET"), timeout=10) is None


@pytest.mark.parametrize("job_type", ["hold", "async_hold"])
def test_a_drain_outlasts_the_grace_period_and_claims_nothing_more(
    start: Starter,
    producer: Client,
    client: redis.Redis,
    keys: Keys,
    tmp_path: Path,
    gate: Gate,
    job_type: str,
) -> None:
    with NotifySocket(tmp_path / "n") as receiver:
        reports = _Reports(receiver)
        socket = str(receiver.path)
        worker = start(NOTIFY_SOCKET=socket, WORKER_CONCURRENCY="2", WORKER_GRACE="300ms")
        running = producer.enqueue_many(NewJob(job_type, gate.payload) for _ in range(2))
        wait_for(lambda: reports.counts().get("busy") == 2)

    worker.send(signal.SIGUSR2)
    worker.wait_for_log("worker stopping")
    waiting = producer.enqueue(job_type, gate.payload)
    worker.send(signal.SIGUSR2)
    draining_at = time.monotonic()
    wait_for(lambda: time.monotonic() - draining_at > 2)
    gate.open()
    code = worker.process.wait(20)

    assert code == 0
    assert [producer.get(job_id).status for job_id in running] == ["completed"] * 2
    assert client.lrange(keys.queue("normal"), 0, -1) == [waiting.encode()]


def test_sigterm_gives_a_draining_worker_its_grace_period(
    start: Starter, producer: Client, client: redis.Redis, keys: Keys
) -> None:
    worker = start(WORKER_GRACE="300ms")
    job_id = producer.enqueue("sleep", 30.0)
    wait_for(lambda: client.hlen(keys.claims("w0")) == 1)
    worker.send(signal.SIGUSR2)
    worker.wait_for_log("worker stopping")

    code = worker.end(signal.SIGTERM)

    assert code == 0
    body: Any = client.get(keys.job(job_id))
    assert json.loads(body)["attempts"] == 0
    assert client.lrange(keys.queue("normal"), 0, -1) == [job_id.encode()]


def test_sigquit_ends_a_drain_immediately(
    start: Starter, producer: Client, client: redis.Redis, keys: Keys
) -> None:
    worker = start()
    producer.enqueue("sleep", 30.0)
    wait_for(lambda: client.hlen(keys.claims("w0")) == 1)
    worker.send(signal.SIGUSR2)
    worker.wait_for_log("worker stopping")

    assert worker.end(signal.SIGQUIT) == 128 + signal.SIGQUIT
    assert client.hlen(keys.claims("w0")) == 0


def test_a_worker_that_holds_the_interpreter_writes_its_stacks_on_sigabrt(
    start: Starter, producer: Client, client: redis.Redis, keys: Keys
) -> None:
    worker = start()
    producer.enqueue("hold_interpreter", 60)
    wait_for(lambda: client.hlen(keys.claims("w0")) == 1)
    wait_for(lambda: "holding" in worker.text())

    assert worker.end(signal.SIGABRT) == -signal.SIGABRT
    assert "in hold_interpreter" in worker.text()
