from __future__ import annotations

import os
import signal
import textwrap
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from hypothesis import HealthCheck, settings

from bananas_topology.jobs.broker import Broker
from bananas_topology.jobs.bundled_server import BundledServer
from bananas_topology.jobs.connection import connect
from bananas_topology.jobs.keys import Keys
from bananas_topology.spec.load import check_bytes
from bananas_topology.spec.model import Topology
from bananas_topology.supervisor.sink import Sink
from tests.supervisor.stage import Stage

# Commands under test must not inherit that Ctrl-C is ignored, as it is in what scripts start in the
# background.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says how busy the machine is.
settings.register_profile(
    "any machine",
    settings.default,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("any machine")

#: Makes a topology of YAML text; ``version`` and ``name`` are put in front where they are missing.
MakeTopology = Callable[[str], Topology]


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real server for all the tests of one process; each test keeps to a prefix of its own.

    It is the bundled one, unless BANANAS_TEST_REDIS_URL names another.
    """
    if url := os.environ.get("BANANAS_TEST_REDIS_URL"):
        yield url
        return
    directory = tmp_path_factory.mktemp("server")
    with BundledServer(directory, durable=False) as server:
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


@pytest.fixture
def broker(client: redis.Redis, keys: Keys) -> Broker:
    return Broker(client, keys)


@pytest.fixture(scope="session")
def make_topology() -> MakeTopology:
    """A topology as its author would write it, in a file that is called shop/topology.yaml."""

    def make(text: str) -> Topology:
        text = textwrap.dedent(text)
        heads = [
            line for line in ("version: 1", "name: shop") if f"\n{line[:5]}" not in f"\n{text}"
        ]
        data = "\n".join([*heads, text]).encode()
        report = check_bytes(data, Path("shop/topology.yaml"), {})
        assert report.topology is not None, "\n".join(str(each) for each in report.diagnostics)
        return report.topology

    return make


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    os.write(write_end, b"\n")
    yield Stage(tmp_path, read_end, Sink(write_end))
    os.close(read_end)
    os.close(write_end)
