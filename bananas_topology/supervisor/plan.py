"""What `up` starts: each replica of each pool, and the api, as one child. Pure.

A child's environment is the one that Compose and Kubernetes get, but for the few variables that
`LOCAL_VARIABLES` lists.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from bananas_topology.contract.worker import VARIABLES
from bananas_topology.errors import ControlFailed
from bananas_topology.launch import Launch, launch_for, launch_for_api
from bananas_topology.spec.model import Api, ApiLogging, Logging, Pool, Topology

#: What a local child is told beside or instead of what a container is told.
LOCAL_VARIABLES = ("REDIS_URL", "WORKER_ID", "LOG_FORMAT", "LOG_COLOR")

#: What the api's child is called, in front of a dash and its number, and in `--only`.
API = "api"

#: The most replicas that `--scale` takes: beyond it, a typing error is the likelier explanation.
MAX_REPLICAS = 1000


@dataclass(frozen=True, slots=True)
class ChildPlan:
    """One process to start and keep running. `grace_ms` is how long it may take to stop."""

    name: str
    pool: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    grace_ms: int


@dataclass(frozen=True, slots=True)
class Host:
    """What the host adds to a topology: where Redis is, what is inherited, how logs look.

    `log_format` None leaves it to each pool, and to text where the pool says nothing.
    """

    environ: Mapping[str, str]
    redis_url: str
    log_format: str | None = None
    log_color: bool = False


def chosen_pools(
    topology: Topology, scale: Mapping[str, int], only: Collection[str]
) -> tuple[tuple[Pool, int], ...]:
    """The pools to start, in file order, each with its number of processes.

    `only` empty means all; it may also name the api.

    Raises:
        ControlFailed: a name is no pool of the topology, a number is out of range, or nothing
            is left to start.
    """
    names = [pool.name for pool in topology.pools]
    for name in (*scale, *only):
        if name not in names and not (name == API and topology.api and name not in scale):
            raise ControlFailed(_no_such_pool(name, topology.name, names))
    for name, count in scale.items():
        if not 0 <= count <= MAX_REPLICAS:
            raise ControlFailed(
                f'pool "{name}" is scaled to {count}; expected 0 to {MAX_REPLICAS} replicas'
            )
    chosen = [
        (pool, scale.get(pool.name, pool.replicas))
        for pool in topology.pools
        if not only or pool.name in only
    ]
    if not any(count for _, count in chosen) and chosen_api(topology, only) is None:
        raise ControlFailed(
            f'topology "{topology.name}" has no replica left to start; '
            "expected at least one pool with 1 or more"
        )
    return tuple(chosen)


def chosen_api(topology: Topology, only: Collection[str]) -> Api | None:
    """The api, if there is one and it is to be started."""
    return topology.api if not only or API in only else None


def plan_children(
    topology: Topology, pools: Collection[tuple[Pool, int]], host: Host
) -> tuple[ChildPlan, ...]:
    """Expand pools into children: ``worker-high-0``, ``worker-high-1`` and so on."""
    plans: list[ChildPlan] = []
    for pool, count in pools:
        launch = launch_for(topology, pool)
        names = [f"{pool.name}-{index}" for index in range(count)]
        plans += [_child(topology, host, launch, name, pool.name, pool.logging) for name in names]
    return tuple(plans)


def plan_api(topology: Topology, api: Api, host: Host) -> ChildPlan:
    """Plan the api: one process, whatever its replicas, for they would share one port."""
    launch = launch_for_api(topology, api)
    return _child(topology, host, launch, f"{API}-0", API, api.logging)


def _child(
    topology: Topology,
    host: Host,
    launch: Launch,
    name: str,
    pool: str,
    logging: Logging | ApiLogging,
) -> ChildPlan:
    # What a shell happens to have set for some other worker must not leak into this one.
    contract = {variable.name for variable in VARIABLES}
    inherited = {name: text for name, text in host.environ.items() if name not in contract}
    local = {
        "REDIS_URL": host.redis_url,
        "WORKER_ID": name,
        "LOG_FORMAT": host.log_format or logging.format or "text",
        "LOG_COLOR": str(logging.color and host.log_color).lower(),
    }
    return ChildPlan(
        name=name,
        pool=pool,
        argv=(sys.executable, "-m", launch.module),
        env={**inherited, **launch.env, **local},
        cwd=topology.path.absolute().parent,
        grace_ms=launch.grace_ms,
    )


def _no_such_pool(name: str, topology: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name, names, n=1)
    guess = f'did you mean "{near[0]}"?' if near else f"it has {', '.join(names)}"
    return f'topology "{topology}" has no pool "{name}": {guess}'
