from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bananas_topology import Client
from bananas_topology.errors import RedisUnavailable
from bananas_topology.jobs.connection import connect
from bananas_topology.jobs.inspect import Backlog, Inspector
from bananas_topology.jobs.keys import Keys
from bananas_topology.supervisor.record import RunRecord, find
from bananas_topology.system.processes import start_time_token
from tests.waiting import wait_for

TOPOLOGY = """\
version: 1
name: shop
handlers: [jobs]
pools:
  worker: {mode: thin, concurrency: 4, replicas: 2}
"""

JOBS = """\
import ctypes
import time

from bananas_topology import job


@job("nap")
def nap(payload: dict) -> None:
    time.sleep(0.02)


@job("segfault")
def segfault(payload: dict) -> None:
    ctypes.string_at(0)
"""

NAPS = 400


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "topology.yaml").write_text(TOPOLOGY)
    (tmp_path / "jobs.py").write_text(JOBS)
    return tmp_path


@contextmanager
def _up(shop: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], RunRecord]]:
    """Run `bananas up` in the directory, once its record is published; killed at the end."""
    argv = [sys.executable, "-m", "bananas_topology", "up", *arguments]
    environ = {name: text for name, text in os.environ.items() if name != "REDIS_URL"}
    with subprocess.Popen(argv, cwd=shop, env=environ, stdout=subprocess.PIPE) as process:
        try:
            wait_for(lambda: find(shop) is not None or process.poll() is not None, 20)
            record = find(shop)
            assert record is not None
            yield process, record
        finally:
            process.kill()


def _inspector(record: RunRecord) -> Inspector:
    return Inspector(connect(record.redis_url), Keys(record.key_prefix))


def _pids(inspector: Inspector) -> dict[str, int]:
    return {worker.worker_id: worker.pid for worker in inspector.workers()}


def _enqueue_naps(record: RunRecord) -> None:
    with Client(record.redis_url) as client:
        for _ in range(NAPS):
            client.enqueue("nap", {})


def _is_done(backlog: Backlog) -> bool:
    return backlog == Backlog(ready=0, scheduled=0, running=0, dead=0, completed=NAPS)


def test_a_killed_worker_restarts_within_2_seconds_and_loses_no_job(shop: Path) -> None:
    with _up(shop) as (_, record):
        inspector = _inspector(record)
        _enqueue_naps(record)
        wait_for(lambda: inspector.backlog().running and len(_pids(inspector)) == 2, 10)
        before = _pids(inspector)["worker-0"]

        os.kill(before, 9)

        wait_for(lambda: _pids(inspector)["worker-0"] != before, 2)
        wait_for(lambda: _is_done(inspector.backlog()), 30)


def test_jobs_that_crash_their_worker_are_buried_while_up_runs_on(shop: Path) -> None:
    with _up(shop) as (process, record):
        inspector = _inspector(record)
        with Client(record.redis_url) as client:
            for _ in range(4):
                client.enqueue("segfault", {})
            good = [client.enqueue("nap", {}) for _ in range(20)]

            wait_for(lambda: inspector.backlog().dead == 4, 60)
            wait_for(lambda: all(client.get(each).status == "completed" for each in good), 30)

        assert process.poll() is None


@pytest.mark.skipif(sys.platform != "linux", reason="needs PR_SET_PDEATHSIG of Linux")
def test_everything_exits_with_a_killed_up_and_the_next_one_completes_the_jobs(shop: Path) -> None:
    with _up(shop) as (process, record):
        inspector = _inspector(record)
        _enqueue_naps(record)
        wait_for(lambda: inspector.backlog().running and len(_pids(inspector)) == 2, 10)
        owner = json.loads((shop / ".bananas" / "shop" / "server.lock").read_text())
        pids = [*_pids(inspector).values(), owner["pid"]]
        assert all(start_time_token(pid) is not None for pid in pids)

        process.kill()

        wait_for(lambda: all(start_time_token(pid) is None for pid in pids), 5)
        assert find(shop) is None
    with _up(shop) as (_, record):
        inspector = _inspector(record)
        wait_for(lambda: _is_done(inspector.backlog()), 30)


def test_a_killed_bundled_server_is_restarted_and_the_jobs_complete(
    shop: Path,
) -> None:
    with _up(shop) as (_, record):
        _enqueue_naps(record)
        connect(record.redis_url).waitaof(1, 0, 5000)
        owner = json.loads((shop / ".bananas" / "shop" / "server.lock").read_text())

        os.kill(owner["pid"], 9)

        wait_for(lambda: _is_done_again(record), 30)


def _is_done_again(record: RunRecord) -> bool:
    """Whether every job has completed and is counted once, although the server lost some writes."""
    try:
        return _is_done(_inspector(record).backlog())
    except RedisUnavailable:
        return False
