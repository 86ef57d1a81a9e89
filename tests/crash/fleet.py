"""Real processes to kill: workers, and whole topologies that `bananas up` keeps running."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from bananas_topology import Client
from bananas_topology.client import NewJob
from bananas_topology.jobs.connection import connect
from bananas_topology.jobs.inspect import Inspector
from bananas_topology.jobs.keys import Keys
from bananas_topology.supervisor.record import RunRecord, find
from tests.jobs.invariants import assert_each_in_one_place
from tests.waiting import wait_for

HERE = Path(__file__).parent


@dataclass
class Fleet:
    """The server, prefix, directory and jobs of one test, and the workers that run them."""

    url: str
    prefix: str
    directory: Path
    redis: redis.Redis
    job_ids: list[str] = field(default_factory=list)

    @property
    def keys(self) -> Keys:
        return Keys(self.prefix)

    @property
    def inspector(self) -> Inspector:
        return Inspector(self.redis, self.keys)

    @property
    def environ(self) -> dict[str, str]:
        """The environment of every process of this fleet."""
        kept = {name: text for name, text in os.environ.items() if name != "REDIS_URL"}
        return kept | {
            "PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parents[1]}",
            "RUNS": str(self.directory / "runs"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def enqueue(self, job_type: str, payload: object, count: int = 1, delay_s: float = 0) -> None:
        """Enqueue jobs and remember their ids, none of which may get lost."""
        delay = delay_s or None
        with Client(self.url, key_prefix=self.prefix) as client:
            jobs = [NewJob(job_type, payload, delay=delay) for _ in range(count)]
            self.job_ids += client.enqueue_many(jobs)

    def runs(self) -> Counter[str]:
        """How often every job was started."""
        return Counter(line.split()[0] for line in _lines(self.directory / "runs"))

    def held_by(self, worker_id: str) -> set[str]:
        """The jobs that a worker has claimed."""
        held: Any = self.redis.hkeys(self.keys.claims(worker_id))
        return {job_id.decode() for job_id in held}

    def pids(self) -> dict[str, int]:
        """The process ids of live workers, by worker id."""
        return {worker.worker_id: worker.pid for worker in self.inspector.workers()}

    def is_running(self, worker_id: str) -> bool:
        """Whether a worker has claimed jobs."""
        return bool(self.held_by(worker_id))

    def wait_until_done(self, within_s: float) -> None:
        """Wait until no job is left to run, and assert that all are completed."""
        wait_for(self.is_done, within_s, f"for the jobs: {self.inspector.backlog()}")
        self.assert_all_completed()

    def assert_all_completed(self, expected_dead: set[str] | None = None) -> None:
        """Assert that every job is completed, except dead ones, and stored in one place."""
        where = assert_each_in_one_place(self.redis, self.keys, self.job_ids)
        dead = {job_id for job_id, place in where.items() if place == "dead"}
        completed = {job_id for job_id, place in where.items() if place == "completed"}
        unexpected = dead - (expected_dead or set())
        assert not unexpected, [self.inspector.job(job_id).failure for job_id in unexpected]
        assert dead == (expected_dead or set())
        assert completed == set(self.job_ids) - dead

    def assert_rerun_only(self, in_flight: set[str]) -> None:
        """Assert that only jobs held by a killed process ran again."""
        again = {job_id for job_id, count in self.runs().items() if count > 1}
        assert again <= in_flight, f"{len(again - in_flight)} jobs ran again without need"

    def is_done(self) -> bool:
        """Whether every job is completed or dead."""
        # Not whether none waits or runs: one that returns to its queue while these are counted, one
        # after the other, is in neither.
        backlog = self.inspector.backlog()
        return backlog.completed + backlog.dead == len(self.job_ids)

    @contextmanager
    def starting(self, worker_id: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
        """Start a worker process that is not restarted."""
        environ = self.environ | {
            "REDIS_URL": self.url,
            "REDIS_KEY_PREFIX": self.prefix,
            "WORKER_ID": worker_id,
            "WORKER_HANDLERS": "crash_jobs",
            **variables,
        }
        argv = [sys.executable, "-m", "bananas_topology.worker"]
        with (
            open(self.directory / f"{worker_id}.log", "a") as output,
            subprocess.Popen(argv, env=environ, stdout=output, stderr=output, text=True) as process,
        ):
            try:
                yield process
            finally:
                process.kill()

    @contextmanager
    def worker(self, worker_id: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
        """Start such a worker and wait until it is ready."""
        with self.starting(worker_id, **variables) as process:
            wait_for(lambda: process.pid in self.pids().values() or process.poll(), 60)
            assert process.poll() is None, (self.directory / f"{worker_id}.log").read_text()
            yield process

    def log(self, worker_id: str) -> list[dict[str, object]]:
        """The log entries of a worker."""
        lines = _lines(self.directory / f"{worker_id}.log")
        return [json.loads(line) for line in lines if line.startswith("{")]

    @contextmanager
    def up(self, pools: str, *, bundled_server: bool = False) -> Iterator[subprocess.Popen[bytes]]:
        """Run `bananas up` on a topology with these pools, once its record is published."""
        (self.directory / "topology.yaml").write_text(
            "version: 1\nname: crash\nhandlers: [crash_jobs]\n"
            f"redis: {{key_prefix: {self.prefix}}}\n{pools}"
        )
        arguments = [] if bundled_server else ["--redis-url", self.url]
        with (
            open(self.directory / "up.log", "ab") as output,
            subprocess.Popen(
                [sys.executable, "-m", "bananas_topology", "up", *arguments],
                cwd=self.directory,
                env=self.environ,
                stdout=output,
                stderr=output,
            ) as process,
        ):
            try:
                wait_for(lambda: find(self.directory) or process.poll() is not None, 60)
                assert process.poll() is None, (self.directory / "up.log").read_text()
                yield process
            finally:
                process.kill()

    @property
    def record(self) -> RunRecord:
        """The record published by the running `up`."""
        found = find(self.directory)
        assert found is not None
        return found


def _lines(path: Path) -> list[str]:
    """The complete lines of a file, which may be written to; none if it does not exist."""
    text = path.read_text() if path.exists() else ""
    return text[: text.rfind("\n") + 1].splitlines()


def suspend(pid: int) -> None:
    """Suspend a process, and wait until none of its threads runs any more."""
    os.kill(pid, signal.SIGSTOP)
    threads = Path(f"/proc/{pid}/task")
    wait_for(lambda: all(b") T " in each.read_bytes() for each in threads.glob("*/stat")))


def kill_server(url: str, pid: int) -> None:
    """Kill a bundled server when all that it has replied to is in its append-only file.

    While a flush to a slow disk is under way, it would be so only up to two seconds later.
    """
    with connect(url) as client:
        client.config_set("appendfsync", "always")
    os.kill(pid, signal.SIGKILL)


def server_pid(directory: Path) -> int:
    """The process id of a durable fleet's own server."""
    return int(json.loads((directory / "server" / "server.lock").read_text())["pid"])
