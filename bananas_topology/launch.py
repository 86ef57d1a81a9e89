"""How one worker process of a pool, or the api, is started: the same for every target.

A worker never reads the topology: what it has to know is in the variables made here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bananas_topology.contract.api import ApiConfig, api_to_env
from bananas_topology.contract.worker import CronJob, JobLimits, WorkerConfig, to_env
from bananas_topology.spec.model import Api, Pool, Topology

#: Run with the interpreter of whoever starts it; an image has it as its entrypoint.
WORKER_MODULE = "bananas_topology.worker"
API_MODULE = "bananas_topology.api"


@dataclass(frozen=True, slots=True)
class Launch:
    """One process: what to run, with which variables, and how to stop it.

    `env` has neither REDIS_URL nor WORKER_ID: whoever starts the process knows those. `grace_ms`
    is how long a stop may take after SIGTERM until SIGKILL loses nothing but time.
    """

    module: str
    env: Mapping[str, str]
    grace_ms: int


#: Milliseconds that a worker gets on top of its grace, to hand back what it holds and to leave.
STOP_MARGIN_MS = 5_000


def launch_for(topology: Topology, pool: Pool) -> Launch:
    """Make the launch of one worker of `pool`. Pure, and the only maker of a worker's variables."""
    config = WorkerConfig(
        mode=pool.mode.value,
        concurrency=pool.concurrency,
        priorities=pool.priorities,
        job_types=pool.job_types,
        enable_scheduler=pool.enable_scheduler,
        scheduler_interval_ms=pool.scheduler_interval_ms,
        job_timeout_ms=pool.job_timeout_ms,
        max_retries=pool.max_retries,
        max_crashes=pool.max_crashes,
        key_prefix=topology.redis.key_prefix,
        handlers=topology.handlers,
        pool=pool.name,
        lease_ms=pool.lease_ms,
        grace_ms=pool.grace_ms,
        results_enabled=pool.results.enabled,
        result_ttl_success_ms=pool.results.ttl_success_ms,
        result_ttl_failure_ms=pool.results.ttl_failure_ms,
        log_level=pool.logging.level,
        log_format=pool.logging.format or "json",
        log_console=pool.logging.console,
        log_color=pool.logging.color,
        log_file_enabled=pool.logging.file.enabled,
        log_file_path=pool.logging.file.path,
        log_file_max_size_mb=pool.logging.file.max_size_mb,
        log_file_max_backups=pool.logging.file.max_backups,
        log_file_max_age_days=pool.logging.file.max_age_days,
        log_file_compress=pool.logging.file.compress,
        jobs=_job_limits(topology),
        schedules=_cron_jobs(topology) if pool.enable_scheduler else {},
    )
    env = {**pool.env, **to_env(config)}
    return Launch(WORKER_MODULE, env, pool.grace_ms + STOP_MARGIN_MS)


#: Milliseconds that the api may take to stop: its requests under way, and leaving.
API_GRACE_MS = 15_000


def launch_for_api(topology: Topology, api: Api) -> Launch:
    """Make the launch of one api process; its API_TOKEN is a secret of whoever starts it. Pure."""
    config = ApiConfig(
        port=api.port,
        key_prefix=topology.redis.key_prefix,
        log_level=api.logging.level,
        log_format=api.logging.format or "json",
        log_color=api.logging.color,
    )
    return Launch(API_MODULE, {**api.env, **api_to_env(config)}, API_GRACE_MS)


def _job_limits(topology: Topology) -> dict[str, JobLimits]:
    """The per-job settings that a worker needs; a job's priority is its producer's business."""
    limits = {
        name: JobLimits(job.timeout_ms, job.max_retries, job.backoff_base_ms, job.backoff_cap_ms)
        for name, job in topology.jobs.items()
    }
    return {name: each for name, each in limits.items() if each != JobLimits()}


def _cron_jobs(topology: Topology) -> dict[str, CronJob]:
    return {
        schedule.name: CronJob(
            cron=schedule.cron,
            job=schedule.job,
            timezone=schedule.timezone,
            payload=schedule.payload,
            priority=schedule.priority,
            catch_up=schedule.catch_up,
        )
        for schedule in topology.schedules
    }
