"""What the page is of: an api process and workers on a real server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from bananas_topology.client import Client
from tests.jobs.servers import free_port
from tests.waiting import wait_for
from tests.worker.support import Starter, WorkerProcess


class ApiProcess:
    """A real api process on loopback, logging to a file."""

    def __init__(self, directory: Path, url: str, prefix: str, **variables: str) -> None:
        self._log = directory / "api.log"
        self._env = {
            "PATH": os.environ["PATH"],
            "REDIS_URL": url,
            "REDIS_KEY_PREFIX": prefix,
            "LOG_FORMAT": "text",
            **variables,
        }
        self._start(free_port())
        # Another program may have taken the port meanwhile.
        while not self._wait_until_alive():
            self._start(free_port())

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._port}"

    def restart(self) -> None:
        """Start it again on its port, after `close`."""
        self._start(self._port)
        assert self._wait_until_alive(), "the port was taken"

    def _start(self, port: int) -> None:
        self._port = port
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bananas_topology.api"],
                env={**self._env, "API_PORT": str(port)},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def _wait_until_alive(self) -> bool:
        wait_for(lambda: self._listens() or self._process.poll() is not None, 60)
        if self._process.poll() is None:
            return True
        log = self._log.read_text("utf-8")
        assert "Address already in use" in log, log
        return False

    def _listens(self) -> bool:
        # By its own word: another program may answer on the port.
        return "api ready" in self._log.read_text("utf-8")

    def close(self) -> None:
        """Kill the process, if it still runs."""
        self._process.kill()
        self._process.wait(20)


@dataclass
class Site:
    """An api, what starts workers, and a client, all of the same queues."""

    api: ApiProcess
    start: Starter
    client: Client

    def backlog(self) -> dict[str, int]:
        """Number of jobs by state."""
        with urllib.request.urlopen(f"{self.api.url}/queues") as response:
            backlog: dict[str, int] = json.load(response)["backlog"]
        return backlog

    def wait_for_status(self, job_id: str, status: str) -> None:
        """Wait until a job has this status."""
        wait_for(lambda: self.client.get(job_id).status == status, what=f"for {job_id}: {status}")

    def worker(self, **variables: str) -> WorkerProcess:
        """Start a worker with the handlers in `page_jobs.py`."""
        here = str(Path(__file__).parent)
        return self.start(ready=True, PYTHONPATH=here, WORKER_HANDLERS="page_jobs", **variables)
