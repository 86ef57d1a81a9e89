"""The building blocks of scenarios: a server, marks, workers and producers, all time-limited."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count as counter
from pathlib import Path
from typing import Any

import redis

from benchmarks import sessions
from benchmarks.catalogue import Peer
from benchmarks.environments import ROOT, node_path, python_of
from benchmarks.figures import Sample
from benchmarks.marks import Marks

#: Seconds between two readings of the marks.
POLL_S = 0.02

#: Seconds that a worker may take to start, and a producer beyond its time limit.
START_S = 40.0

#: One worker, without variables of its own.
ONE_WORKER: tuple[Mapping[str, str], ...] = ({},)


class Failed(Exception):
    """A peer did not do what the scenario requires, with the details."""


@dataclass
class Worker:
    """A running worker, and what is needed to restart it."""

    process: subprocess.Popen[bytes]
    command: list[str]
    environment: dict[str, str]
    log: Path

    def kill(self) -> None:
        sessions.kill(self.process)

    def cpu_seconds(self) -> float:
        return sessions.cpu_seconds(self.process)

    def restart(self) -> None:
        self.process = sessions.start(self.command, self.environment, self.log)


@dataclass
class Bench:
    """One server and one directory, used by one scenario at a time."""

    url: str
    directory: Path
    server: redis.Redis
    _marks: Marks | None = None
    _numbers: Iterator[int] = field(default_factory=counter)

    @property
    def marks(self) -> Marks:
        assert self._marks is not None, "call reset first"
        return self._marks

    def reset(self, jobs: int) -> None:
        """Empty the server, and clear the marks of `jobs` jobs."""
        self.server.flushall()
        self._marks = Marks.create(self._marks_path, jobs)

    @contextmanager
    def workers(
        self, peer: Peer, replicas: Sequence[Mapping[str, str]] = ONE_WORKER
    ) -> Iterator[list[Worker]]:
        """Run one worker per entry of `replicas`, which are its environment variables.

        They are killed at the end: the jobs they still hold do not matter.
        """
        started: list[Worker] = []
        try:
            for number, variables in enumerate(replicas):
                started.append(self._start(peer, number, variables))
            yield started
        except Failed as error:
            output = b"".join(worker.log.read_bytes()[-4096:] for worker in started)
            raise Failed(f"{peer.title}: {error}; its worker logged: {_summary(output)}") from error
        finally:
            for worker in started:
                worker.kill()

    def produce(self, peer: Peer, mode: str, job: str, jobs: int, limit_s: float) -> Any:
        """Enqueue with the peer's client in a separate process, and return its report.

        Raises:
            Failed: it did not finish in time, or exited with an error.
        """
        process = self.producer(peer, mode, job, jobs, limit_s)
        try:
            output, errors = process.communicate(timeout=limit_s + START_S)
        except subprocess.TimeoutExpired as error:
            process.kill()
            process.wait()
            raise Failed(f"{peer.title}: the producer did not finish") from error
        if process.returncode != 0:
            raise Failed(f"{peer.title}: the producer failed: {_summary(errors)}")
        return json.loads(output.splitlines()[-1])

    def producer(
        self, peer: Peer, mode: str, job: str, jobs: int, limit_s: float
    ) -> subprocess.Popen[bytes]:
        """Start a producer; the caller reads its output."""
        command = [*self._command(peer, peer.producer), mode, job, str(jobs), str(limit_s)]
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=self._environment(peer),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def fill(self, peer: Peer, job: str, jobs: int, limit_s: float) -> int:
        """Enqueue up to `jobs` jobs in the peer's fastest way, and return how many were."""
        mode = "bulk" if peer.has_bulk else "each"
        return int(self.produce(peer, mode, job, jobs, limit_s)["count"])

    def watch(self, jobs: int, limit_s: float, poll_s: float = POLL_S) -> list[Sample]:
        """Sample the marks until `jobs` jobs have run, or `limit_s` after the first one.

        Raises:
            Failed: no job has run after `START_S`.
        """
        samples: list[Sample] = []
        end = time.monotonic() + START_S
        while True:
            now = time.monotonic()
            sample = Sample(now, self.marks.done(), self.marks.processes())
            if sample.done and not (samples and samples[-1].done):
                end = now + limit_s
            samples.append(sample)
            if sample.done >= jobs or now > end:
                break
            time.sleep(poll_s)
        if samples[-1].done == 0:
            raise Failed("no job has run")
        return samples

    def server_seconds(self) -> float:
        """Processor time that the server has used."""
        info = self.server.info("cpu")
        return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])

    def _start(self, peer: Peer, replica: int, variables: Mapping[str, str]) -> Worker:
        environment = self._environment(peer) | {
            "BENCH_CONCURRENCY": str(peer.concurrency),
            "WORKER_CONCURRENCY": str(peer.concurrency),
            "WORKER_ID": f"bench-{replica}",
            "METRICS_PORT": str(free_port()),
            "REDIS_URL": self.url,
            **dict(peer.environment),
            **variables,
        }
        command = self._command(peer, peer.worker)
        log = self.directory / f"{peer.name}-{next(self._numbers)}.log"
        return Worker(sessions.start(command, environment, log), command, environment, log)

    def _environment(self, peer: Peer) -> dict[str, str]:
        return {
            **os.environ,
            "BENCH_REDIS_URL": self.url,
            "BENCH_MARKS": str(self._marks_path),
            "PYTHONPATH": str(ROOT),
            "NODE_PATH": node_path(peer),
        }

    def _command(self, peer: Peer, template: tuple[str, ...]) -> list[str]:
        python = python_of(peer)
        values = {
            "python": python,
            "bin": str(Path(python).parent),
            "module": peer.module,
            "concurrency": str(peer.concurrency),
            "url": self.url,
        }
        return [part.format(**values) for part in template]

    @property
    def _marks_path(self) -> Path:
        return self.directory / "jobs.marks"


def _summary(output: bytes) -> str:
    """The most informative line at the end of a program's output."""
    lines = [line.strip() for line in output.decode(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line]
    return (errors or lines or ["no output"])[-1]


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
