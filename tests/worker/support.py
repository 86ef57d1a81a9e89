from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import redis

from tests.waiting import wait_for

HERE = Path(__file__).parent


@dataclass
class WorkerProcess:
    """A real worker process, logging to a file."""

    process: subprocess.Popen[bytes]
    log: Path

    def text(self) -> str:
        return self.log.read_text("utf-8")

    def wait_for_log(self, text: str, times: int = 1, within_s: float = 20.0) -> None:
        def is_logged() -> bool:
            has_exited = self.process.poll() is not None  # asked first: it may log and exit now
            if self.text().count(text) >= times:
                return True
            assert not has_exited, f"exited without logging {text!r}:\n{self.text()}"
            return False

        wait_for(is_logged, within_s)

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(20)


class Gate:
    """Keeps jobs of the types `hold` and `async_hold` running until it is opened."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._directory = directory

    @property
    def payload(self) -> str:
        """The payload of these jobs."""
        return str(self._directory)

    def wait_for(self, count: int, worker_id: str = "") -> None:
        """Wait until the handlers of so many jobs run, in any worker or in one."""
        wait_for(lambda: len(list(self._directory.glob(f"{worker_id or '*'} *"))) >= count)

    def open(self) -> None:
        """Let the jobs complete."""
        (self._directory / "open").touch()


@dataclass
class Starter:
    """Starts workers; `starting` kills those left over. `output` takes the place of their logs."""

    url: str
    prefix: str
    directory: Path
    started: list[WorkerProcess] = field(default_factory=list)
    output: BinaryIO | None = None

    def __call__(self, *, ready: bool = True, **variables: str) -> WorkerProcess:
        number = len(self.started)
        env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(HERE),
            "WORKER_HANDLERS": "sample_jobs",
            "WORKER_ID": f"w{number}",
            "REDIS_URL": self.url,
            "REDIS_KEY_PREFIX": self.prefix,
            "LOG_FORMAT": "text",
            **variables,
        }
        log = self.directory / f"worker-{number}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "bananas_topology.worker"],
                env={name: value for name, value in env.items() if value},
                stdout=self.output or file,
                stderr=subprocess.STDOUT,
            )
        worker = WorkerProcess(process, log)
        self.started.append(worker)
        if ready:
            worker.wait_for_log("worker ready")
        return worker


def wait_until_idle(client: redis.Redis) -> None:
    """Wait until the only worker of a server, which watches the queues, waits for jobs."""

    def commands() -> list[str]:
        return sorted(each["cmd"] for each in client.client_list() if "b" in each["flags"])

    wait_for(lambda: commands() == ["blmove"] * 3 + ["bzpopmin"])


@contextmanager
def starting(url: str, prefix: str, directory: Path) -> Iterator[Starter]:
    """Start workers on a server with this URL, and kill at the end those left over."""
    starter = Starter(url, prefix, directory)
    try:
        yield starter
    finally:
        for worker in starter.started:
            if worker.process.poll() is None:
                worker.process.kill()
            worker.process.wait(10)
