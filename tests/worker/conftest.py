from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bananas_topology.client import Client
from tests.worker.support import Gate, Starter, starting


@pytest.fixture
def start(server_url: str, prefix: str, tmp_path: Path) -> Iterator[Starter]:
    with starting(server_url, prefix, tmp_path) as starter:
        yield starter


@pytest.fixture
def producer(server_url: str, prefix: str) -> Iterator[Client]:
    with Client(server_url, key_prefix=prefix) as producer:
        yield producer


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path / "gate")
