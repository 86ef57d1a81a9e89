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
from tests.jobs.servers import free_port
from tests.waiting import wait_for

#: `bananas` with another port for the bundled server than the well-known one, which another test's
#: server would take while this one is dead.
BANANAS = """
import sys
from bananas_topology.jobs import bundled_server
bundled_server.WELL_KNOWN_PORT = int(sys.argv.pop(1))
from bananas_topology.__main__ import main
main()
"""

TOPOLOGY = """\
version: 1
name: shop
handlers: [jobs]
pools:
  worker: {mode: thin, concurrency: 4, replicas: 2}
"""

JOBS = """\
import ctypes
import os
import time

from bananas_topology import job


@job("nap")
def nap(payload: dict) -> None:
    time.sleep(0.02)


@job("hold")
def hold(payload: dict) -> None:
    while not os.path.exists("released"):
        time.sleep(0.01)


@job("segfault")
def segfault(payload: dict) -> None:
    ctypes.string_at(0)
"""

#: As many jobs as slots hold, until the file `released` exists; then the others run.
HOLDS, NAPS = 8, 400


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "topology.yaml").write_text(TOPOLOGY)
    (tmp_path / "jobs.py").write_text(JOBS)
    return tmp_path


@contextmanager
def _up(shop: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], RunRecord]]:
    """Run `bananas up` in the directory, once its record is published; killed at the end."""
    argv = [sys.executable, "-c", BANANAS, str(free_port()), "up", *arguments]
    environ = {name: text for name, text in os.environ.items() if name != "REDIS_URL"}
    with subprocess.Popen(argv, cwd=shop, env=environ, stdout=subprocess.PIPE) as process:
        try:
            wait_for(lambda: find(shop) is not None or process.poll() is not None, 60)
            record = find(shop)
            assert record is not None
            yield process, record
        finally:
            process.kill()


def _inspector(record: RunRecord) -> Inspector:
    return Inspector(connect(record.redis_url), Keys(record.key_prefix))


def _pids(inspector: Inspector) -> dict[str, int]:
    return {worker.worker_id: worker.pid for worker in inspector.workers()}


def _enqueue_jobs(record: RunRecord) -> None:
    with Client(record.redis_url) as client:
        for number in range(HOLDS + NAPS):
            client.enqueue("hold" if number < HOLDS else "nap", {})


def _is_done(backlog: Backlog) -> bool:
    completed = HOLDS + NAPS
    return backlog == Backlog(ready=0, scheduled=0, running=0, dead=0, completed=completed)


def _wait_until_all_slots_hold(inspector: Inspector) -> None:
    wait_for(lambda: sum(each.running >= HOLDS // 2 for each in inspector.workers()) == 2, 60)


def test_a_killed_worker_restarts_and_loses_no_job(shop: Path) -> None:
    with _up(shop) as (_, record):
        inspector = _inspector(record)
        _enqueue_jobs(record)
        _wait_until_all_slots_hold(inspector)
        before = _pids(inspector)["worker-0"]

        os.kill(before, 9)

        wait_for(lambda: _pids(inspector)["worker-0"] != before)
        (shop / "released").touch()
        wait_for(lambda: _is_done(inspector.backlog()), 60)


def test_jobs_that_crash_their_worker_are_buried_while_up_runs_on(shop: Path) -> None:
    with _up(shop) as (process, record):
        inspector = _inspector(record)
        with Client(record.redis_url) as client:
            for _ in range(4):
                client.enqueue("segfault", {})
            good = [client.enqueue("nap", {}) for _ in range(20)]

            wait_for(lambda: inspector.backlog().dead == 4, 120)
            wait_for(lambda: all(client.get(each).status == "completed" for each in good), 30)

        assert process.poll() is None


@pytest.mark.skipif(sys.platform != "linux", reason="needs PR_SET_PDEATHSIG of Linux")
def test_everything_exits_with_a_killed_up_and_the_next_one_completes_the_jobs(shop: Path) -> None:
    with _up(shop) as (process, record):
        inspector = _inspector(record)
        _enqueue_jobs(record)
        _wait_until_all_slots_hold(inspector)
        owner = json.loads((shop / ".bananas" / "shop" / "server.lock").read_text())
        pids = [*_pids(inspector).values(), owner["pid"]]
        assert all(start_time_token(pid) is not None for pid in pids)

        process.kill()

        wait_for(lambda: all(start_time_token(pid) is None for pid in pids))
        assert find(shop) is None
    (shop / "released").touch()
    with _up(shop) as (_, record):
        inspector = _inspector(record)
        wait_for(lambda: _is_done(inspector.backlog()), 60)


def test_a_killed_bundled_server_is_restarted_and_the_jobs_complete(
    shop: Path,
) -> None:
    with _up(shop) as (_, record):
        _enqueue_jobs(record)
        connect(record.redis_url).waitaof(1, 0, 5000)
        (shop / "released").touch()
        owner = json.loads((shop / ".bananas" / "shop" / "server.lock").read_text())

        os.kill(owner["pid"], 9)

        wait_for(lambda: _is_done_again(record), 60)


def _is_done_again(record: RunRecord) -> bool:
    """Whether every job has completed and is counted once, although the server lost some writes."""
    try:
        return _is_done(_inspector(record).backlog())
    except RedisUnavailable:
        return False
