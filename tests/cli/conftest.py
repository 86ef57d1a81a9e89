from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from bananas_topology import Client
from bananas_topology.jobs.inspect import Inspector
from bananas_topology.jobs.keys import Keys
from tests.cli.shell import Shell, running_worker


@pytest.fixture
def shell(tmp_path: Path, server_url: str, prefix: str) -> Shell:
    kept = {name: text for name, text in os.environ.items() if name != "NO_COLOR"}
    ours = {"REDIS_URL": server_url, "REDIS_KEY_PREFIX": prefix, "PYTHONDONTWRITEBYTECODE": "1"}
    return Shell(tmp_path, kept | ours)


@pytest.fixture
def bundled_shell(tmp_path: Path) -> Shell:
    """Its topologies have the bundled server."""
    unset = ("REDIS_URL", "NO_COLOR")
    kept = {name: text for name, text in os.environ.items() if name not in unset}
    return Shell(tmp_path, kept | {"PYTHONDONTWRITEBYTECODE": "1"})


@pytest.fixture
def producer(server_url: str, prefix: str) -> Iterator[Client]:
    with Client(server_url, key_prefix=prefix) as client:
        yield client


@pytest.fixture
def inspector(client: redis.Redis, keys: Keys) -> Inspector:
    return Inspector(client, keys)


@pytest.fixture
def worker(shell: Shell, inspector: Inspector) -> Iterator[subprocess.Popen[bytes]]:
    """A registered worker that handles `double` and `fail`."""
    with running_worker(shell, inspector) as process:
        yield process
