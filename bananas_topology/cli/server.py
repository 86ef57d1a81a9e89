"""Where Redis is: found in one order by every command that talks to it.

`--redis-url`, then REDIS_URL, then the topology file, then what a running `up` wrote down.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bananas_topology.cli import console
from bananas_topology.cli.options import DEFAULT_FILE
from bananas_topology.contract.worker import WorkerConfig
from bananas_topology.errors import ControlFailed

if TYPE_CHECKING:
    from bananas_topology.client import Client
    from bananas_topology.jobs.dead import DeadJobs
    from bananas_topology.jobs.inspect import Inspector
    from bananas_topology.spec.model import Topology
    from bananas_topology.supervisor.record import RunRecord


@dataclass(frozen=True, slots=True)
class Server:
    """A server and the prefix of our keys on it; `topology` is the file's, where there is one."""

    url: str
    key_prefix: str
    topology: Topology | None

    def priority_of(self, job_type: str) -> str:
        """What the topology says of a job type, or ``normal``."""
        settings = self.topology.jobs.get(job_type) if self.topology else None
        return (settings.priority if settings else None) or "normal"


def named_url(redis_url: str | None, environ: Mapping[str, str]) -> str | None:
    """What the command line says, or else the environment."""
    return redis_url or environ.get("REDIS_URL") or None


def locate(redis_url: str | None, file: Path | None) -> Server:
    """Find the server for a command; `file` None: ``topology.yaml``, if there is one.

    Raises:
        ControlFailed: nothing says where it is, or the topology that would cannot be read.
    """
    from bananas_topology.supervisor.record import find

    path = file or DEFAULT_FILE
    topology = _topology(path) if file or path.exists() else None
    record = find(path.parent, topology.name if topology else None)
    if topology is None and record is None and (file or path.exists()):
        raise ControlFailed(f"{path} has errors: `bananas validate {path}` lists them")
    url = named_url(redis_url, os.environ) or (topology.redis.url if topology else None)
    _say_if_elsewhere(record, url)
    url = url or (record.redis_url if record else None)
    if url is None:
        raise ControlFailed(
            "nothing says where Redis is: start `bananas up` in this directory, or give "
            "--redis-url or REDIS_URL"
        )
    return Server(url, _key_prefix(topology, record), topology)


@contextmanager
def inspecting(server: Server) -> Iterator[Inspector]:
    """The read side of a server."""
    from bananas_topology.jobs.connection import connect
    from bananas_topology.jobs.inspect import Inspector
    from bananas_topology.jobs.keys import Keys

    with connect(server.url, key_prefix=server.key_prefix) as client:
        yield Inspector(client, Keys(server.key_prefix))


@contextmanager
def dead_jobs(server: Server) -> Iterator[DeadJobs]:
    """The dead of a server."""
    from bananas_topology.jobs.connection import connect
    from bananas_topology.jobs.dead import DeadJobs
    from bananas_topology.jobs.keys import Keys

    with connect(server.url, key_prefix=server.key_prefix) as client:
        yield DeadJobs(client, Keys(server.key_prefix))


def client_of(server: Server) -> Client:
    """A producer's connection to a server."""
    from bananas_topology.client import Client

    return Client(server.url, key_prefix=server.key_prefix)


def _topology(path: Path) -> Topology | None:
    """The file's topology; None, and a word about it, when it has errors."""
    from bananas_topology.spec.load import check

    report = check(path, os.environ)
    if report.topology is None:
        console.notice(f"warning: {path} has errors: `bananas validate {path}` lists them")
    return report.topology


def _key_prefix(topology: Topology | None, record: RunRecord | None) -> str:
    if topology is not None:
        return topology.redis.key_prefix
    if record is not None:
        return record.key_prefix
    return os.environ.get("REDIS_KEY_PREFIX") or WorkerConfig().key_prefix


def _say_if_elsewhere(record: RunRecord | None, url: str | None) -> None:
    """Say it when the workers that run here would not see what we do there."""
    from bananas_topology.jobs.connection import redact

    if record is not None and url is not None and url != record.redis_url:
        console.notice(
            f"warning: using {redact(url)}, but the `up` of this directory uses "
            f"{redact(record.redis_url)}"
        )
