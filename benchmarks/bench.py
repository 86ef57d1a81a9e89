"""What the scenarios are made of: a server, marks, workers, producers; each bounded in time."""

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

#: Seconds between two looks at the marks.
LOOK_S = 0.02

#: Seconds that a worker may take to start, and a producer beyond its own limit.
START_S = 40.0

#: One worker, with nothing of its own in its environment.
ALONE: tuple[Mapping[str, str], ...] = ({},)


class Failed(Exception):
    """A peer did not do what the scenario needs; the message says what."""


@dataclass
class Worker:
    """A running worker and how to start another one like it."""

    process: subprocess.Popen[bytes]
    command: list[str]
    environment: dict[str, str]
    log: Path

    def kill(self) -> None:
        sessions.kill(self.process)

    def cpu_seconds(self) -> float:
        return sessions.cpu_seconds(self.process)

    def start_again(self) -> None:
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
        assert self._marks is not None, "reset comes first"
        return self._marks

    def reset(self, jobs: int) -> None:
        """Begin anew: an empty server, and nothing of `jobs` marked."""
        self.server.flushall()
        self._marks = Marks.create(self._marks_path, jobs)

    @contextmanager
    def workers(
        self, peer: Peer, replicas: Sequence[Mapping[str, str]] = ALONE
    ) -> Iterator[list[Worker]]:
        """Run a worker for each of the `replicas`, which are variables in its environment.

        They are killed at the end, since whatever they still hold is of no use.
        """
        started: list[Worker] = []
        try:
            for number, variables in enumerate(replicas):
                started.append(self._start(peer, number, variables))
            yield started
        except Failed as error:
            said = b"".join(worker.log.read_bytes()[-4096:] for worker in started)
            raise Failed(f"{peer.title}: {error}; its worker said: {_gist(said)}") from error
        finally:
            for worker in started:
                worker.kill()

    def produce(self, peer: Peer, mode: str, job: str, jobs: int, limit_s: float) -> Any:
        """Enqueue with the peer's own client in a process of its own; what it reports.

        Raises:
            Failed: it did not finish, or not well.
        """
        process = self.producer(peer, mode, job, jobs, limit_s)
        try:
            output, errors = process.communicate(timeout=limit_s + START_S)
        except subprocess.TimeoutExpired as error:
            process.kill()
            process.wait()
            raise Failed(f"{peer.title}: the producer did not end") from error
        if process.returncode != 0:
            raise Failed(f"{peer.title}: the producer failed: {_gist(errors)}")
        return json.loads(output.splitlines()[-1])

    def producer(
        self, peer: Peer, mode: str, job: str, jobs: int, limit_s: float
    ) -> subprocess.Popen[bytes]:
        """Start a producer, to be read by the caller."""
        command = [*self._filled(peer, peer.producer), mode, job, str(jobs), str(limit_s)]
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=self._environment(peer),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def fill(self, peer: Peer, job: str, jobs: int, limit_s: float) -> int:
        """Enqueue up to so many jobs in the peer's fastest way; how many there are."""
        mode = "bulk" if peer.has_bulk else "each"
        return int(self.produce(peer, mode, job, jobs, limit_s)["count"])

    def watch(self, jobs: int, limit_s: float, look_s: float = LOOK_S) -> list[Sample]:
        """Look on until so many jobs have run, or `limit_s` after the first one has.

        Raises:
            Failed: none has after `START_S`.
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
            time.sleep(look_s)
        if samples[-1].done == 0:
            raise Failed("no job has run")
        return samples

    def server_seconds(self) -> float:
        """What the server has spent of its core."""
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
        command = self._filled(peer, peer.worker)
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

    def _filled(self, peer: Peer, words: tuple[str, ...]) -> list[str]:
        python = python_of(peer)
        values = {
            "python": python,
            "bin": str(Path(python).parent),
            "module": peer.module,
            "concurrency": str(peer.concurrency),
            "url": self.url,
        }
        return [word.format(**values) for word in words]

    @property
    def _marks_path(self) -> Path:
        return self.directory / "jobs.marks"


def _gist(said: bytes) -> str:
    """The line of a program's last words that says most."""
    lines = [line.strip() for line in said.decode(errors="replace").splitlines() if line.strip()]
    telling = [line for line in lines if "Error" in line]
    return (telling or lines or ["nothing was said"])[-1]


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
