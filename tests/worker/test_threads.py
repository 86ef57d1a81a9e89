from __future__ import annotations

import threading
import time
from collections import Counter

import pytest

from bananas_topology.jobs.job import Claim
from bananas_topology.worker.run import Run
from bananas_topology.worker.threads import ThreadPool
from tests.waiting import wait_for


def _runs(count: int) -> list[Run]:
    return [Run(Claim(str(number), b"", b""), 0.0) for number in range(count)]


def _submit(threads: ThreadPool, runs: list[Run]) -> None:
    threads.waiting.extend(runs)
    threads.wake_another()


class Served:
    """Counts the runs that every thread has served."""

    def __init__(self) -> None:
        self.by_thread: Counter[int] = Counter()

    def __call__(self, run: Run, thread_id: int) -> None:
        self.by_thread[thread_id] += 1


def test_short_runs_are_served_by_few_threads() -> None:
    served = Served()
    threads = ThreadPool(50, served)
    most = 0

    for _ in range(10):
        served.by_thread.clear()
        _submit(threads, _runs(2_000))
        wait_for(lambda: served.by_thread.total() == 2_000)
        most = max(most, *served.by_thread.values())

    # At best: whenever the process has to wait for a processor, another thread goes on. Evenly
    # distributed, a thread would serve 40 of them.
    assert most > 400


@pytest.mark.parametrize("short_runs", [0, 500])
def test_blocking_runs_use_every_thread(short_runs: int) -> None:
    served, all_in = Served(), threading.Barrier(9)

    def serve(run: Run, thread_id: int) -> None:
        served(run, thread_id)
        if run.submitted_at:
            all_in.wait(20)

    threads = ThreadPool(8, serve)
    _submit(threads, _runs(short_runs))
    wait_for(lambda: served.by_thread.total() == short_runs)

    _submit(threads, [Run(run.claim, time.monotonic()) for run in _runs(8)])

    all_in.wait(20)


def test_a_thread_that_cannot_start_lowers_the_limit(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gate, started = threading.Event(), threading.Thread.start
    limit = threading.active_count() + 2

    def start(thread: threading.Thread) -> None:
        if threading.active_count() >= limit:
            raise RuntimeError("can't start new thread")
        started(thread)

    monkeypatch.setattr(threading.Thread, "start", start)

    def serve(run: Run, thread_id: int) -> None:
        gate.wait(20)

    threads = ThreadPool(8, serve)

    _submit(threads, _runs(8))

    wait_for(lambda: threads.limit == 2)
    assert "cannot start thread" in caplog.messages
    gate.set()
    wait_for(lambda: not threads.waiting)
