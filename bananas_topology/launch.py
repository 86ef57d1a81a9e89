"""How to start one worker process of a pool, or the api: the same for every target.

A worker never reads the topology: its settings are in the variables made here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from bananas_topology.contract.api import Replicas, api_to_env
from bananas_topology.contract.jobs import JobSettings
from bananas_topology.contract.worker import to_env
from bananas_topology.spec.model import Api, Pool, Topology

#: Run with the current interpreter by `up`; the entrypoint of an image.
WORKER_MODULE = "bananas_topology.worker"
API_MODULE = "bananas_topology.api"


@dataclass(frozen=True, slots=True)
class Launch:
    """One process: what to run, with which variables, and how long it may take to stop.

    `env` has neither REDIS_URL nor WORKER_ID, which are set where the process is started.
    `grace_ms` is how long to wait after SIGTERM; a SIGKILL after that loses no job.
    """

    module: str
    env: Mapping[str, str]
    grace_ms: int


#: Milliseconds a worker gets on top of its grace, to release its claims and deregister.
STOP_MARGIN_MS = 5_000


def launch_for(topology: Topology, pool: Pool) -> Launch:
    """Make the launch of one worker of `pool`. Pure, and the only source of its variables."""
    config = replace(
        pool.worker,
        pool=pool.name,
        handlers=topology.handlers,
        key_prefix=topology.redis.key_prefix,
        jobs=_job_settings(topology, pool),
        schedules=topology.schedules if pool.worker.enable_scheduler else {},
    )
    env = {**pool.env, **to_env(config)}
    return Launch(WORKER_MODULE, env, pool.worker.grace_ms + STOP_MARGIN_MS)


#: Milliseconds the api may take to stop: requests in progress, and closing connections.
API_GRACE_MS = 15_000


def launch_for_api(topology: Topology, api: Api, counts: Mapping[str, int] | None = None) -> Launch:
    """Make the launch of one api process. Its API_TOKEN is set where it is started. Pure.

    `counts` are the numbers of workers by pool where there are no autoscalers.
    """
    pools = {pool.name: wanted_replicas(pool) for pool in topology.pools}
    if counts is not None:
        pools = {name: Replicas(counts.get(name, 0), counts.get(name, 0)) for name in pools}
    config = replace(api.config, key_prefix=topology.redis.key_prefix, pools=pools)
    return Launch(API_MODULE, {**api.env, **api_to_env(config)}, API_GRACE_MS)


def wanted_replicas(pool: Pool) -> Replicas:
    """How many workers a pool is to have, by its autoscaler if it has one."""
    if pool.autoscale is not None:
        return Replicas(pool.autoscale.min_replicas, pool.autoscale.max_replicas)
    return Replicas(pool.replicas, pool.replicas)


def _job_settings(topology: Topology, pool: Pool) -> dict[str, JobSettings]:
    """The per-job settings that a worker needs, and no others: a change of them restarts it.

    These are those of the jobs that it runs. A job's priority is for its producers.
    """
    if not pool.worker.concurrency:
        return {}
    # Not all jobs for each pool: with a pool for each job type, both may be thousands.
    names = pool.worker.job_types or topology.jobs
    jobs = {name: topology.jobs[name] for name in names if name in topology.jobs}
    settings = {name: replace(job, priority=None) for name, job in jobs.items()}
    return {name: each for name, each in settings.items() if each != JobSettings()}
