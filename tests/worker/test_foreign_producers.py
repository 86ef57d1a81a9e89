"""An idle worker starts the jobs of producers that do not notify it at once, at little expense."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import redis

from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.wake import LISTEN_TIMEOUT_S
from bananas_topology.system.clock import monotonic
from tests.waiting import wait_for
from tests.worker.support import Starter, wait_until_idle

#: How many jobs are enqueued one after another, and the limit to the median of the seconds that
#: they take, with room for a busy machine: by its timed claims alone a worker would need 0.45 s.
JOBS = 20
AT_ONCE_S = LISTEN_TIMEOUT_S / 4

Run = Callable[[str], None]


@pytest.fixture
def run(client: redis.Redis, keys: Keys) -> Run:
    """Enqueue a job as the Python client of the Go system does, and wait until it has run."""

    def run(job_id: str) -> None:
        body = {"id": job_id, "name": "echo", "payload": 1, "status": "pending", "attempts": 0}
        client.set(keys.job(job_id), json.dumps(body))
        client.lpush(keys.queue("normal"), job_id)
        wait_for(lambda: client.exists(keys.result(job_id)))

    return run


def _seconds(action: Callable[[], None]) -> float:
    started = monotonic()
    action()
    return monotonic() - started


def _median(run: Run, name: str) -> float:
    return sorted(_seconds(partial(run, f"{name}-{n}")) for n in range(JOBS))[JOBS // 2]


def _calls(client: redis.Redis, *commands: str) -> int:
    stats: Any = client.info("commandstats")
    return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in commands)


@pytest.mark.parametrize(("mode", "job_types"), [("thin", ""), ("job-specialized", "echo,fail")])
def test_an_idle_worker_starts_a_pushed_job_at_once(
    start: Starter, client: redis.Redis, keys: Keys, run: Run, mode: str, job_types: str
) -> None:
    start(WORKER_MODE=mode, WORKER_JOB_TYPES=job_types)
    wait_for(lambda: client.exists(keys.watcher))

    assert _median(run, "job") < AT_ONCE_S


def test_a_worker_of_another_priority_and_a_scheduler_watch_for_the_others(
    start: Starter, client: redis.Redis, keys: Keys, run: Run
) -> None:
    start(WORKER_MODE="scheduler-only", WORKER_HANDLERS="")
    wait_for(lambda: client.get(keys.watcher) == b"w0")
    start(WORKER_MODE="specialized", WORKER_PRIORITIES="normal")

    assert _median(run, "job") < AT_ONCE_S


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_another_worker_takes_over_from_one_that_ends(
    start: Starter, client: redis.Redis, keys: Keys, run: Run, number: signal.Signals
) -> None:
    first = start()
    wait_for(lambda: client.get(keys.watcher) == b"w0")
    start()

    first.end(number)
    wait_for(lambda: client.get(keys.watcher) == b"w1")

    assert _median(run, "job") < AT_ONCE_S


def test_an_idle_worker_sends_three_commands_a_second_at_most(
    start: Starter, client: redis.Redis
) -> None:
    start(WORKER_MODE="thin")
    wait_until_idle(client)
    commands = ("bzpopmin", "evalsha", "blmove")
    started, before = monotonic(), _calls(client, *commands)

    wait_for(lambda: _calls(client, *commands) >= before + 15)

    assert monotonic() - started > 14 / 3


def test_a_backlog_that_no_worker_takes_is_not_watched_in_a_tight_loop(
    start: Starter, client: redis.Redis, keys: Keys
) -> None:
    client.lpush(keys.queue("low"), *map(str, range(20)))
    start(WORKER_MODE="specialized", WORKER_PRIORITIES="high")
    started, before = monotonic(), _calls(client, "blmove")

    # The watches get fewer and fewer, so a worker that is slow may never come to 50 of them.
    wait_for(lambda: _calls(client, "blmove") >= before + 50 or monotonic() - started > 3)

    assert monotonic() - started > 0.5
    assert client.llen(keys.queue("low")) == 20


def test_a_worker_that_may_not_watch_runs_jobs_all_the_same(
    start: Starter, client: redis.Redis, keys: Keys, run: Run
) -> None:
    client.set(keys.queue("low"), "not a list")
    worker = start(WORKER_MODE="specialized", WORKER_PRIORITIES="normal")

    worker.wait_for_log("cannot watch queues")
    run("a")

    assert "connection lost" not in worker.text()
