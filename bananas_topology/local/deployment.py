"""A topology as it runs on this host: its processes by pool, and how to start them."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass

from bananas_topology.contract.names import API
from bananas_topology.contract.values import Mode
from bananas_topology.errors import ControlFailed
from bananas_topology.jobs.access import explicit_url
from bananas_topology.local.settings import Settings
from bananas_topology.local.takers import Taker, Takers
from bananas_topology.spec.model import Api, Pool, Topology
from bananas_topology.supervisor.plan import (
    ChildPlan,
    Host,
    plan_replica,
    select_api,
    select_pools,
    unset_variables,
)
from bananas_topology.system.processes import allow_open_files
from bananas_topology.units import quantity

#: Open files for the output and the log of each process, and for all else, such as commands.
_FILES_PER_PROCESS = 2
_OTHER_FILES = 64

#: Modules installed by the extra `api`.
_API_MODULES = ("fastapi", "uvicorn")


@dataclass(frozen=True, slots=True)
class Deployment:
    """`counts` are the processes by pool, the api among them; a pool that is not selected has none.

    Planning starts nothing.
    """

    topology: Topology
    counts: Mapping[str, int]
    host: Host

    @property
    def names(self) -> tuple[str, ...]:
        """The pools that may have processes, in file order, with the api last."""
        api = (API,) if self.topology.api is not None else ()
        return (*(pool.name for pool in self.topology.pools), *api)

    def plan(self, pool: str, index: int) -> ChildPlan:
        """Plan one process.

        Raises:
            ControlFailed: there is no such pool.
        """
        return plan_replica(self.topology, self.counts, pool, index, self.host)

    def is_current(self, plan: ChildPlan) -> bool:
        """Whether a process that was started by this plan is what should run."""
        if plan.pool not in self.names:
            return False
        return self.plan(plan.pool, plan.index) == plan

    def unset_variables(self) -> dict[str, tuple[str, ...]]:
        """Secrets and references without a value, with the pools that need them."""
        pools = [(pool, self.counts.get(pool.name, 0)) for pool in self.topology.pools]
        api = self.topology.api if API in self.counts else None
        return unset_variables(pools, api, self.host.environ)

    @property
    def takers(self) -> Takers:
        """Which jobs its workers accept, according to the topology."""
        pools = [pool for pool in self.topology.pools if self.counts.get(pool.name)]
        return Takers(
            tuple(
                Taker(
                    frozenset(pool.worker.priorities),
                    frozenset(pool.worker.job_types)
                    if pool.worker.mode is Mode.JOB_SPECIALIZED
                    else None,
                )
                for pool in pools
                if pool.worker.mode is not Mode.SCHEDULER_ONLY
            ),
            has_scheduler=any(pool.worker.enable_scheduler for pool in pools),
        )


def select(
    topology: Topology, settings: Settings
) -> tuple[tuple[tuple[Pool, int], ...], Api | None]:
    """Select the pools to start and their numbers of processes, and the api.

    Raises:
        ControlFailed: unknown pool, number of replicas out of range, or nothing left to start.
    """
    pools = select_pools(topology, settings.scale, settings.only)
    return pools, select_api(topology, settings.only)


def deploy(topology: Topology, settings: Settings, host: Host) -> Deployment:
    """Select what to run of a topology.

    Raises:
        ControlFailed: unknown pool, number of replicas out of range, or nothing left to start.
    """
    pools, api = select(topology, settings)
    counts = {pool.name: count for pool, count in pools}
    if api is not None:
        counts[API] = 1
    return Deployment(topology, counts, host)


def allow_processes(count: int) -> None:
    """Raise the limit of open files to what so many processes need.

    Raises:
        ControlFailed: this host does not allow that.
    """
    needed = count * _FILES_PER_PROCESS + _OTHER_FILES
    if (limit := allow_open_files(needed)) < needed:
        raise ControlFailed(
            f"for {quantity(count, 'process')}, expected a limit of {needed:,} open files or more, "
            f"got {limit:,}: raise it with `ulimit -Hn`, or LimitNOFILE= of a systemd service"
        )


def server_of(topology: Topology, settings: Settings, environ: Mapping[str, str]) -> str | None:
    """Return the URL of the server to use; None for the bundled one.

    Raises:
        InvalidRedisUrl, RedisUnsuitable: that of the command line or the environment is not usable.
    """
    return explicit_url(settings.redis_url, environ) or topology.redis.url


def check_requirements(topology: Topology, url: str | None, api: Api | None) -> None:
    """Check that this host has what a topology needs; `url` is its server's.

    Raises:
        ControlFailed: the server's URL is not known, or packages of the api are not installed.
    """
    if topology.redis.is_external and url is None:
        # Falling back to an empty bundled server would conceal that the jobs are elsewhere.
        raise ControlFailed(
            f"redis.url in {topology.path} refers to a variable that is not set; "
            "set it or use --redis-url"
        )
    if api is not None and any(importlib.util.find_spec(name) is None for name in _API_MODULES):
        raise ControlFailed(
            "the api requires additional packages: run pip install 'bananas-topology[api]', "
            "or start only the pools with --only POOL,POOL"
        )
