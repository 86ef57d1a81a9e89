"""A topology that runs in the background, in tests: starting, asking, stopping."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bananas_topology.supervisor.record import RunRecord, find, is_running
from tests.cli.shell import Shell
from tests.waiting import wait_for

#: A topology with the server of the environment.
TOPOLOGY = """\
version: 1
name: shop
handlers: [jobs]
redis: {url: "${REDIS_URL}", key_prefix: "${REDIS_KEY_PREFIX}"}
pools:
  worker: {mode: thin, concurrency: 3, replicas: 2}
"""

JOBS = """\
from bananas_topology import Bury, job


@job("quick")
def quick(payload: int) -> int:
    return payload


@job("fail")
def fail(payload: object) -> None:
    raise Bury("no use")
"""


@contextmanager
def shop_in(shell: Shell, topology: str, jobs: str) -> Iterator[Shell]:
    """A directory with a topology and its handlers; what still runs at the end is killed."""
    (shell.directory / "topology.yaml").write_text(topology)
    (shell.directory / "jobs.py").write_text(jobs)
    yield shell
    kill_what_runs(shell.directory)


def record_of(shop: Shell) -> RunRecord:
    record = find(shop.directory)
    assert record is not None
    return record


def processes_of(shop: Shell, *arguments: str) -> dict[str, dict[str, Any]]:
    """What `bananas ps` says of each process."""
    result = shop("ps", "--format", "json", *arguments)
    assert result.returncode == 0, result.stderr
    return {each["name"]: each for each in json.loads(result.stdout)["processes"]}


def succeed(shop: Shell, *arguments: str) -> str:
    """Run a command that has to succeed; returns its messages."""
    result = shop(*arguments)
    assert result.returncode == 0, result.stderr + result.stdout
    return result.stderr


def hang_up(shop: Shell) -> None:
    """Send SIGHUP, and wait until that has been carried out."""

    def count() -> int:
        log = shop("logs", "supervisor", "--tail", "1000").stdout
        return log.count(" finished: ") + log.count(" failed: ") + log.count("not applied")

    before = count()
    os.kill(record_of(shop).pid, signal.SIGHUP)
    wait_for(lambda: count() > before, 30)


def effects_in(directory: Path) -> list[str]:
    """The contents of the files that the handler `effect` writes: the attempts of each job."""
    return [path.read_text() for path in directory.glob("effect-*")]


def kill_what_runs(directory: Path) -> None:
    """Kill every `up` of a directory, if a test has failed before it could stop them."""
    state = ".bananas/*/up.json"
    for path in (*directory.glob(state), *directory.glob(f"*/{state}")):
        # One that is just stopping by itself takes its state file with it.
        with suppress(FileNotFoundError, ProcessLookupError):
            record = RunRecord(**json.loads(path.read_text()))
            if is_running(record):
                os.kill(record.pid, signal.SIGKILL)
