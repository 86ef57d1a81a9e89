"""A topology that runs in the background, in tests: starting, asking, stopping."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

from bananas_topology.supervisor.record import RunRecord, find, is_running
from tests.cli.shell import Shell


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


def kill_what_runs(directory: Path) -> None:
    """Kill every `up` of a directory, if a test has failed before it could stop them."""
    for path in directory.glob(".bananas/*/up.json"):
        record = RunRecord(**json.loads(path.read_text()))
        if is_running(record):
            os.kill(record.pid, signal.SIGKILL)
