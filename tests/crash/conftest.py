from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from bananas_topology.jobs import embedded
from bananas_topology.jobs.connection import connect
from bananas_topology.jobs.embedded import EmbeddedServer
from tests.crash.fleet import RuleContext
from tests.jobs.servers import free_port


@pytest.fixture
def scene(server_url: str, client: redis.Redis, prefix: str, tmp_path: Path) -> RuleContext:
    return RuleContext(server_url, prefix, tmp_path, client)


@pytest.fixture
def durable_scene(
    prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[RuleContext, EmbeddedServer]]:
    """A scene with a server of its own, which keeps an append-only file and may be killed.

    Not on the well-known port: while it is dead, another test's server would take that.
    """
    monkeypatch.setattr(embedded, "WELL_KNOWN_PORT", free_port())
    (tmp_path / "server").mkdir()
    with EmbeddedServer(tmp_path / "server") as server, connect(server.start()) as client:
        yield RuleContext(server.url, prefix, tmp_path, client), server
