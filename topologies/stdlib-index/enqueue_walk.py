"""Enqueue the demo's first job for the next `bananas up` of this topology.

`up --drain` exits when no job is left, so the job must be queued before it starts. The bundled
server runs only while `up` does, so it is started here for a moment, on the same data.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bananas_topology import Client
from bananas_topology.errors import BananasTopologyError
from bananas_topology.jobs.bundled_server import BundledServer
from bananas_topology.spec.load import load
from bananas_topology.spec.model import Topology
from bananas_topology.supervisor.directories import state_directory
from bananas_topology.supervisor.record import ExclusiveLock

TOPOLOGY = Path(__file__).with_name("topology.yaml")


def main() -> int:
    """Enqueue the walk."""
    try:
        topology = load(TOPOLOGY, os.environ)
        job_id = _enqueue(topology)
    except BananasTopologyError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"enqueued walk_library as {job_id}")
    return 0


def _enqueue(topology: Topology) -> str:
    with _server(topology) as url, Client(url, key_prefix=topology.redis.key_prefix) as client:
        return client.enqueue("walk_library", priority="high")


@contextmanager
def _server(topology: Topology) -> Iterator[str]:
    """The server that `up` will use."""
    url = topology.redis.url or os.environ.get("REDIS_URL")
    if url:
        yield url
        return
    directory = state_directory(topology.path.parent, topology.name, topology.path.name)
    with ExclusiveLock(directory, topology.name), BundledServer(directory) as server:
        yield server.start()


if __name__ == "__main__":
    sys.exit(main())
