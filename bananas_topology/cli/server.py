"""Locating Redis, in the same order for every command that connects to it.

`--redis-url`, then REDIS_URL or REDIS_URL_FILE, then the topology file, then the state file of a
running `up`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bananas_topology.cli import console
from bananas_topology.cli.options import DEFAULT_FILE, OTHER_FILE
from bananas_topology.cli.topology import TopologyFiles, check_topology
from bananas_topology.contract.redis_url import redact
from bananas_topology.contract.worker import WorkerConfig
from bananas_topology.errors import ControlFailed

if TYPE_CHECKING:
    from bananas_topology.client import Client
    from bananas_topology.jobs.dead import DeadJobs
    from bananas_topology.jobs.inspect import Inspector
    from bananas_topology.jobs.stranded import StrandedJobs
    from bananas_topology.spec.model import Topology
    from bananas_topology.supervisor.record import RunRecord


@dataclass(frozen=True, slots=True)
class Server:
    """A Redis server and the key prefix to use; `topology` is None if there is no file."""

    url: str
    key_prefix: str
    topology: Topology | None

    def priority_of(self, job_type: str) -> str:
        """Return the priority that the topology sets for a job type, or ``normal``."""
        settings = self.topology.jobs.get(job_type) if self.topology else None
        return (settings.priority if settings else None) or "normal"


def locate(redis_url: str | None, files: TopologyFiles) -> Server:
    """Locate the server for a command.

    Raises:
        ControlFailed: no server is configured, or the topology has errors.
    """
    from bananas_topology.jobs.access import explicit_url

    topology, record = _find(files)
    if topology is None and record is None and files.is_there:
        raise ControlFailed(f"{files} has errors; run `bananas validate {files.arguments}`")
    url = explicit_url(redis_url, os.environ) or (topology.redis.url if topology else None)
    _warn_if_elsewhere(record, url)
    url = url or (record.redis_url if record else None)
    if url is None:
        raise ControlFailed(
            "no Redis server configured: run `bananas up` in this directory, or set --redis-url "
            "or REDIS_URL"
        )
    return Server(url, key_prefix(topology, record), topology)


def running_up(files: TopologyFiles) -> RunRecord:
    """Find the running `up` of a topology, or any here if there is no file.

    Raises:
        ControlFailed: none is running.
    """
    _, record = _find(files)
    if record is None:
        raise ControlFailed("no running `bananas up` found here: start it, or name its --file")
    return record


@contextmanager
def inspecting(server: Server) -> Iterator[Inspector]:
    """Open an inspector on a server."""
    from bananas_topology.jobs.connection import connect
    from bananas_topology.jobs.inspect import Inspector
    from bananas_topology.jobs.keys import Keys

    with connect(server.url, key_prefix=server.key_prefix) as client:
        yield Inspector(client, Keys(server.key_prefix))


@contextmanager
def dead_jobs(server: Server) -> Iterator[DeadJobs]:
    """Open the dead jobs of a server."""
    from bananas_topology.jobs.connection import connect
    from bananas_topology.jobs.dead import DeadJobs
    from bananas_topology.jobs.keys import Keys

    with connect(server.url, key_prefix=server.key_prefix) as client:
        yield DeadJobs(client, Keys(server.key_prefix))


@contextmanager
def stranded_jobs(server: Server) -> Iterator[StrandedJobs]:
    """Open the jobs that workers of the Go implementation hold or left behind."""
    from bananas_topology.jobs.connection import connect
    from bananas_topology.jobs.keys import Keys
    from bananas_topology.jobs.stranded import StrandedJobs

    with connect(server.url, key_prefix=server.key_prefix) as client:
        yield StrandedJobs(client, Keys(server.key_prefix))


def client_of(server: Server) -> Client:
    """Connect a client to a server."""
    from bananas_topology.client import Client

    return Client(server.url, key_prefix=server.key_prefix)


def _find(files: TopologyFiles) -> tuple[Topology | None, RunRecord | None]:
    """Read the topology, if there is one, and the state file of its `up`, if it runs."""
    from bananas_topology.supervisor.record import find

    topology = _topology(files) if files.is_there else None
    if not files.is_given and topology is None:
        warn_of_other_name()
    name = topology.name if topology else None
    return topology, find(files.path.parent, name, None if files.is_merged else files.path)


def _topology(files: TopologyFiles) -> Topology | None:
    """Read the topology; print a warning and return None if it has errors."""
    report = check_topology(files)
    if report.topology is None:
        console.notice(f"warning: {files} has errors; run `bananas validate {files.arguments}`")
    return report.topology


def warn_of_other_name() -> None:
    """Warn of a topology that is not read because of its name."""
    if OTHER_FILE.exists() and not DEFAULT_FILE.exists():
        console.notice(
            f"warning: {OTHER_FILE} is not read: rename it to {DEFAULT_FILE}, or use "
            f"--file {OTHER_FILE}"
        )


def key_prefix(topology: Topology | None, record: RunRecord | None) -> str:
    """Return the prefix of the topology, of a running `up`, of the environment, or the default."""
    if topology is not None:
        return topology.redis.key_prefix
    if record is not None:
        return record.key_prefix
    return os.environ.get("REDIS_KEY_PREFIX") or WorkerConfig().key_prefix


def _warn_if_elsewhere(record: RunRecord | None, url: str | None) -> None:
    """Warn if the workers running here use another server."""
    from bananas_topology.jobs.access import is_same_server

    if record is not None and url is not None and not is_same_server(url, record.redis_url):
        console.notice(
            f"warning: using {redact(url)}, but `bananas up` in this directory uses "
            f"{redact(record.redis_url)}"
        )
