"""Enqueue the demo's first job where the next `bananas up` of this topology finds it.

`up --drain` ends as soon as nothing is left to do, so the job has to be there before it starts.
With a server of one's own (REDIS_URL) that is nothing special. The bundled one lives only while
`up` does; its data stay, so it is started here for a moment, on the same data.
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
from bananas_topology.supervisor.record import exclusive_lock, state_directory

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
    directory = state_directory(topology.path, topology.name)
    with exclusive_lock(directory, topology.name), BundledServer(directory) as server:
        yield server.start()


if __name__ == "__main__":
    sys.exit(main())
