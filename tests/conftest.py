from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
import redis

from bananas_topology.jobs.connection import connect
from bananas_topology.jobs.embedded import EmbeddedServer
from bananas_topology.jobs.keys import Keys


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real server for all the tests of one process; each test keeps to a prefix of its own."""
    directory = tmp_path_factory.mktemp("server")
    with EmbeddedServer(directory, durable=False) as server:
        yield server.start()


@pytest.fixture
def client(server_url: str) -> Iterator[redis.Redis]:
    with connect(server_url) as client:
        yield client


@pytest.fixture
def prefix() -> str:
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def keys(prefix: str) -> Keys:
    return Keys(prefix)
