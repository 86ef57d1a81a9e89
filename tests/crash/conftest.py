from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from bananas_topology.jobs import bundled_server
from bananas_topology.jobs.bundled_server import BundledServer
from bananas_topology.jobs.connection import connect
from tests.crash.fleet import Fleet
from tests.jobs.servers import free_port


@pytest.fixture
def fleet(server_url: str, client: redis.Redis, prefix: str, tmp_path: Path) -> Fleet:
    return Fleet(server_url, prefix, tmp_path, client)


@pytest.fixture
def durable_fleet(
    prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Fleet, BundledServer]]:
    """A fleet with a server of its own, which keeps an append-only file and may be killed.

    Not on the well-known port, which another test's server would take while this one is dead.
    """
    monkeypatch.setattr(bundled_server, "WELL_KNOWN_PORT", free_port())
    (tmp_path / "server").mkdir()
    with BundledServer(tmp_path / "server") as server, connect(server.start()) as client:
        yield Fleet(server.url, prefix, tmp_path, client), server
