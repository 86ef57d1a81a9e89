"""A server that does not answer: timeouts are enforced and signals obeyed meanwhile."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bananas_topology.client import Client
from bananas_topology.errors import JobFailed
from bananas_topology.jobs.bundled_server import BundledServer
from bananas_topology.jobs.connection import TIMEOUT_S, connect
from tests.waiting import wait_for
from tests.worker.stop_jobs import notes
from tests.worker.support import Starter


class StallingServer:
    """A server that can be stopped and continued."""

    def __init__(self, url: str) -> None:
        self.url = url
        with connect(url) as client:
            info: Any = client.info("server")
        self._pid = info["process_id"]

    def stall(self) -> None:
        os.kill(self._pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self._pid, signal.SIGCONT)


@pytest.fixture
def stalling(tmp_path: Path) -> Iterator[StallingServer]:
    with BundledServer(tmp_path / "server", durable=False) as server:
        stalling = StallingServer(server.start())
        yield stalling
        stalling.go_on()


@pytest.mark.parametrize("job_type", ["late", "async_late"])
def test_timeouts_are_enforced_while_the_server_stalls(
    start: Starter, stalling: StallingServer, tmp_path: Path, job_type: str
) -> None:
    # The lease is renewed every 0.1 s, so the worker soon waits for a reply.
    start(REDIS_URL=stalling.url, WORKER_HANDLERS="stop_jobs", WORKER_LEASE="1s")
    file = tmp_path / "notes"
    with Client(stalling.url, key_prefix=start.prefix) as producer:
        job_id = producer.enqueue(job_type, {"file": str(file)})
        wait_for(lambda: notes(file))

        stalling.stall()
        wait_for(lambda: len(notes(file)) == 2)
        stalling.go_on()

        # Before the worker gives up waiting, with time for a pause of the process.
        seconds = float(notes(file)[1])
        assert 0.7 <= seconds < TIMEOUT_S - 0.5
        with pytest.raises(JobFailed, match="timeout of 700 ms"):
            producer.wait(job_id, timeout=15)


@pytest.mark.parametrize("stalled_s", [0.0, 2.0])
def test_an_idle_worker_stops_while_the_server_stalls(
    start: Starter, stalling: StallingServer, stalled_s: float
) -> None:
    worker = start(REDIS_URL=stalling.url, WORKER_LEASE="1s")
    stalling.stall()
    stalled_at = time.monotonic()
    wait_for(lambda: time.monotonic() - stalled_at >= stalled_s)

    assert worker.end() == 0

    assert "no reply in" not in worker.text()


def test_a_worker_stops_while_the_server_accepts_no_connection(start: Starter) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(8)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(address)
        worker = start(ready=False, REDIS_URL=f"redis://127.0.0.1:{address[1]}")
        worker.wait_for_log("waiting for Redis")
        began = time.monotonic()

        assert worker.end() == 0

        assert time.monotonic() - began < 4
        for each in waiting:
            each.close()


def test_a_worker_whose_output_nobody_reads_goes_on(start: Starter, producer: Client) -> None:
    read_fd, write_fd = os.pipe()
    with open(read_fd, "rb"), open(write_fd, "wb") as output:
        start.output = output
        worker = start(
            ready=False, WORKER_HANDLERS="stop_jobs", WORKER_GRACE="500ms", CLEANUP_S="60"
        )
        logging = [producer.enqueue("log_lines", 300) for _ in range(4)]
        assert [producer.wait(job_id, timeout=20) for job_id in logging] == [300] * 4
        # This one waits until its lines are read; the worker does not.
        printing = producer.enqueue("print_lines", 300)
        with pytest.raises(JobFailed, match=r"timeout of 100 ms$"):
            producer.wait(producer.enqueue("return_late", None), timeout=20)
        assert producer.get(printing).status == "processing"

        began = time.monotonic()
        assert worker.end() == 0

        assert time.monotonic() - began < 15
        assert producer.get(printing).status == "pending"


def test_stacks_are_logged_while_the_server_stalls(
    start: Starter, stalling: StallingServer
) -> None:
    worker = start(REDIS_URL=stalling.url, WORKER_LEASE="1s")
    stalling.stall()
    stalled_at = time.monotonic()
    wait_for(lambda: time.monotonic() - stalled_at >= 1)

    worker.send(signal.SIGUSR1)

    worker.wait_for_log("thread_name=MainThread")
    assert "no reply in" not in worker.text().partition("thread_name=MainThread")[0]
