"""The facts that checks judge, gathered once; a fact that is not available raises MissingFact."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bananas_topology.contract.api import Replicas
from bananas_topology.contract.worker import WorkerConfig
from bananas_topology.errors import BananasTopologyError
from bananas_topology.jobs.server_facts import ServerFacts
from bananas_topology.jobs.stranded import ProcessingJob
from bananas_topology.jobs.survey import Survey, WorkerStatus

if TYPE_CHECKING:
    # The API examines what runs without a topology, and imports nothing that reads one.
    from bananas_topology.spec.diagnostics import Diagnostic
    from bananas_topology.spec.model import Pool, Topology


class MissingFact(BananasTopologyError):
    """A check cannot judge: the message says which fact is missing, and why."""


@dataclass(frozen=True, slots=True)
class TopologyFacts:
    """A topology file. `topology` is None if it has errors.

    `own_settings` are the fields that each pool's section, or `defaults`, sets itself.
    """

    path: Path
    diagnostics: tuple[Diagnostic, ...]
    topology: Topology | None
    own_settings: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Disk:
    """The file system that holds a path. Sizes in bytes."""

    path: Path
    free: int
    total: int


@dataclass(frozen=True, slots=True)
class HostFacts:
    """This host. Limits of None are unlimited; sizes in bytes, None where unknown.

    `has_api`: an API of Bananas answers at the topology's port.
    """

    memory_available: int | None
    max_open_files: int | None
    max_processes: int | None
    disks: tuple[Disk, ...]
    ports_in_use: frozenset[int]
    unset_variables: frozenset[str]
    has_api: bool = False


#: A host that nothing is known about.
UNKNOWN_HOST = HostFacts(None, None, None, (), frozenset(), frozenset())


@dataclass(frozen=True, slots=True)
class LiveFacts:
    """A server and what is stored there. `samples` are surveys in order.

    `processing` are the oldest jobs that Go workers hold. `accepts_anyone`: the server answers
    other hosts without a password.
    """

    server: ServerFacts
    samples: tuple[Survey, ...]
    processing: tuple[ProcessingJob, ...] = ()
    accepts_anyone: bool = False


@dataclass(frozen=True, slots=True)
class Examination:
    """Everything that was gathered. `no_live_facts` says why `live` is None.

    `is_configured`: a server was named, so that it should answer. `is_up`: `bananas up` runs this
    topology on this host. `deployed`: the workers by pool of the topology that is deployed, where
    there is no file of it.
    """

    file: TopologyFacts | None
    live: LiveFacts | None
    host: HostFacts
    no_live_facts: str = ""
    is_configured: bool = False
    is_up: bool = False
    deployed: Mapping[str, Replicas] | None = None

    @property
    def topology_file(self) -> TopologyFacts:
        """The topology file, with or without errors."""
        if self.file is None:
            raise MissingFact("no topology file")
        return self.file

    @property
    def topology(self) -> Topology:
        """The topology, if it has no errors."""
        if self.topology_file.topology is None:
            raise MissingFact("the topology has errors")
        return self.topology_file.topology

    @property
    def server(self) -> ServerFacts:
        """The server."""
        return self._live.server

    @property
    def accepts_anyone(self) -> bool:
        """Whether the server answers other hosts without a password."""
        return self._live.accepts_anyone

    @property
    def samples(self) -> tuple[Survey, ...]:
        """The surveys, in order."""
        return self._live.samples

    @property
    def now(self) -> Survey:
        """The latest survey."""
        return self.samples[-1]

    @property
    def processing(self) -> tuple[ProcessingJob, ...]:
        """The oldest jobs that Go workers hold."""
        return self._live.processing

    @property
    def workers(self) -> tuple[WorkerStatus, ...]:
        """The live workers."""
        if not self.now.live_workers:
            raise MissingFact("no workers running")
        return self.now.live_workers

    @property
    def observed_s(self) -> float:
        """Seconds between the first and the latest survey."""
        return max(1e-3, (self.now.now_ms - self.samples[0].now_ms) / 1000)

    @property
    def _live(self) -> LiveFacts:
        if self.live is None:
            raise MissingFact(self.no_live_facts or "no Redis server configured")
        return self.live

    @property
    def wanted_workers(self) -> Mapping[str, int]:
        """The workers that each pool is to have at least."""
        if self.deployed is not None:
            return {name: each.minimum for name, each in self.deployed.items()}
        return {
            pool.name: pool.autoscale.min_replicas if pool.autoscale else pool.replicas
            for pool in self.topology.pools
        }

    def start_command(self, pools: Collection[str]) -> str | None:
        """The command that starts missing workers of these pools on this host; None without any.

        A second `bananas up` would only say that the first one runs.
        """
        if not pools:
            return None
        if not self.is_up:
            return f"bananas up --only {','.join(pools)}"
        return "bananas scale " + " ".join(
            f"{name}={max(1, self.wanted_workers[name])}" for name in pools
        )

    @property
    def schedules(self) -> tuple[str, ...]:
        """The names of the schedules."""
        return tuple(self.now.schedules if self.deployed is not None else self.topology.schedules)

    @property
    def declared_types(self) -> frozenset[str]:
        """The job types that the topology names: under `jobs`, `job_types` and `schedules`."""
        topology = self.topology
        return frozenset(
            {*topology.jobs}
            | {name for pool in topology.pools for name in pool.worker.job_types}
            | {schedule.job for schedule in topology.schedules.values()}
        )

    def job_pools(self) -> tuple[Pool, ...]:
        """The topology's pools that run jobs."""
        return tuple(pool for pool in self.topology.pools if pool.worker.concurrency)

    def diagnostics(self, *codes: str) -> tuple[Diagnostic, ...]:
        """The diagnostics of the topology file with these codes."""
        return tuple(each for each in self.topology_file.diagnostics if each.code in codes)


def max_log_mb(worker: WorkerConfig) -> int:
    """The most that the log files of one worker take, in MB; 0 if it writes none."""
    if not worker.log_file_enabled:
        return 0
    return worker.log_file_max_size_mb * (worker.log_file_max_backups + 1)
