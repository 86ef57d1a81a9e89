"""The child processes that `up` starts: one per pool replica, and one for the api. Pure.

A child gets the same environment as in Compose and Kubernetes, except for `LOCAL_VARIABLES`.
"""

from __future__ import annotations

import difflib
import signal
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from bananas_topology.contract.names import API
from bananas_topology.contract.worker import WORKER_SETTINGS
from bananas_topology.errors import ControlFailed, InvalidArgument
from bananas_topology.launch import WORKER_MODULE, Launch, launch_for, launch_for_api
from bananas_topology.spec.model import Api, Pool, Topology
from bananas_topology.system.notify import JOBS_VARIABLE, METRICS_VARIABLE

#: Variables that differ between a local child and a container.
LOCAL_VARIABLES = ("REDIS_URL", "WORKER_ID", "LOG_LEVEL", "LOG_FORMAT", "LOG_COLOR")

#: Maximum replicas accepted by `--scale`; a larger number is most likely a typo.
MAX_REPLICAS = 1000

#: Signals that ask a program to drain, if not SIGTERM.
_DRAIN_SIGNALS = {WORKER_MODULE: signal.SIGUSR2}


@dataclass(frozen=True, slots=True)
class ChildPlan:
    """One process to run. `grace_ms` is how long it may take to stop, in milliseconds.

    `drain_signal` asks it to finish its work, however long that takes, and exit.
    """

    name: str
    pool: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    grace_ms: int
    drain_signal: signal.Signals = signal.SIGTERM

    @property
    def index(self) -> int:
        """Which replica of its pool it is, from 0."""
        return int(self.name.rpartition("-")[2])


@dataclass(frozen=True, slots=True)
class Host:
    """Settings of this host: the Redis URL, the inherited environment, and log formatting.

    `log_format` None: use the pool's format, or text if it has none. `log_level` None: the pool's.
    `shows_jobs`: workers report the jobs that they have finished; `serves_metrics`: their counts.
    """

    environ: Mapping[str, str]
    redis_url: str
    log_format: str | None = None
    log_color: bool = False
    log_level: str | None = None
    shows_jobs: bool = False
    serves_metrics: bool = False


def select_pools(
    topology: Topology, scale: Mapping[str, int], only: Collection[str]
) -> tuple[tuple[Pool, int], ...]:
    """Select the pools to start, in file order, with their number of processes.

    An empty `only` selects all pools; it may also name the api.

    Raises:
        InvalidArgument: unknown pool, number of replicas out of range, or nothing left to start.
        ControlFailed: all pools have 0 replicas.
    """
    names = [pool.name for pool in topology.pools]
    for name in (*scale, *only):
        if name not in names and not (name == API and topology.api and name not in scale):
            raise InvalidArgument(_no_such_pool(name, topology.name, names))
    for name, count in scale.items():
        if not 0 <= count <= MAX_REPLICAS:
            raise InvalidArgument(
                f'expected 0 to {MAX_REPLICAS} replicas for pool "{name}", got {count}'
            )
    selected = [
        (pool, scale.get(pool.name, pool.replicas))
        for pool in topology.pools
        if not only or pool.name in only
    ]
    if not any(count for _, count in selected) and select_api(topology, only) is None:
        reason = InvalidArgument if scale or only else ControlFailed
        raise reason(
            f'nothing to start in topology "{topology.name}": '
            "expected at least one pool with 1 or more replicas"
        )
    return tuple(selected)


def select_api(topology: Topology, only: Collection[str]) -> Api | None:
    """Return the api if the topology has one and it is selected."""
    return topology.api if not only or API in only else None


def unset_variables(
    pools: Collection[tuple[Pool, int]], api: Api | None, environ: Mapping[str, str]
) -> dict[str, tuple[str, ...]]:
    """Secrets and references without a value in the environment, with the pools that need them."""
    owners = [(pool.name, pool.shell_variables) for pool, count in pools if count]
    if api is not None:
        owners.append((API, api.shell_variables))
    unset: dict[str, tuple[str, ...]] = {}
    for owner, names in owners:
        for name in names:
            if not environ.get(name):
                unset[name] = (*unset.get(name, ()), owner)
    return unset


def plan_children(
    topology: Topology, pools: Collection[tuple[Pool, int]], host: Host
) -> tuple[ChildPlan, ...]:
    """Expand pools into children: ``worker-high-0``, ``worker-high-1`` and so on."""
    plans: list[ChildPlan] = []
    for pool, count in pools:
        launch = launch_for(topology, pool)
        names = [f"{pool.name}-{index}" for index in range(count)]
        plans += [
            _child(topology, host, launch, name, pool.name, pool.log_format, pool.worker.log_color)
            for name in names
        ]
    return tuple(plans)


def plan_replica(
    topology: Topology, counts: Mapping[str, int], pool: str, index: int, host: Host
) -> ChildPlan:
    """Plan one process of a pool, or the api; `counts` as in `plan_api`.

    Raises:
        ControlFailed: the topology has no such pool.
    """
    if pool == API and topology.api is not None:
        return plan_api(topology, topology.api, counts, host)
    for each in topology.pools:
        if each.name == pool:
            launch = launch_for(topology, each)
            name, color = f"{pool}-{index}", each.worker.log_color
            return _child(topology, host, launch, name, pool, each.log_format, color)
    raise ControlFailed(_no_such_pool(pool, topology.name, [each.name for each in topology.pools]))


def plan_api(topology: Topology, api: Api, counts: Mapping[str, int], host: Host) -> ChildPlan:
    """Plan the api: a single process, because local replicas would share one port.

    `counts` are the processes by pool that it compares with those that live.
    """
    launch = launch_for_api(topology, api, counts)
    return _child(topology, host, launch, f"{API}-0", API, api.log_format, api.config.log_color)


def _child(
    topology: Topology,
    host: Host,
    launch: Launch,
    name: str,
    pool: str,
    log_format: str | None,
    log_color: bool,
) -> ChildPlan:
    # Worker variables set in the shell must not leak into the child.
    contract = {setting.variable for setting in WORKER_SETTINGS}
    inherited = {name: text for name, text in host.environ.items() if name not in contract}
    local = {
        "REDIS_URL": host.redis_url,
        "WORKER_ID": name,
        "LOG_FORMAT": host.log_format or log_format or "text",
        "LOG_COLOR": str(log_color and host.log_color).lower(),
    }
    if host.log_level is not None:
        local["LOG_LEVEL"] = host.log_level
    if host.shows_jobs and local["LOG_FORMAT"] == "text":
        local[JOBS_VARIABLE] = "true"
    if host.serves_metrics:
        local[METRICS_VARIABLE] = "true"
    return ChildPlan(
        name=name,
        pool=pool,
        argv=(sys.executable, "-m", launch.module),
        env={**inherited, **launch.env, **local},
        cwd=topology.path.absolute().parent,
        grace_ms=launch.grace_ms,
        drain_signal=_DRAIN_SIGNALS.get(launch.module, signal.SIGTERM),
    )


def _no_such_pool(name: str, topology: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1)
    hint = f'did you mean "{near[0]}"?' if near else f"expected one of {', '.join(names)}"
    return f'topology "{topology}" has no pool "{name}": {hint}'
