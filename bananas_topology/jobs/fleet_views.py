"""Workers, pools and what they handle as JSON, for ``--format json`` and for the HTTP API. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, TypedDict

from bananas_topology.contract.api import Replicas
from bananas_topology.contract.values import PRIORITIES
from bananas_topology.jobs.activity import RunningJob
from bananas_topology.jobs.inspect import WorkerView
from bananas_topology.jobs.job_types import JobType, timeout_ms
from bananas_topology.jobs.stored import printable
from bananas_topology.jobs.timestamps import Timestamp, timestamp

_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class WorkerJson(TypedDict):
    """A live worker. `stuck`: slots held by handlers that ignore their timeout.

    `memory_bytes` is its resident memory at its last heartbeat.
    """

    id: str
    pool: str
    host: str
    pid: int
    concurrency: int
    running: int
    stuck: int
    priorities: list[str]
    job_types: list[str]
    started_at: Timestamp | None
    memory_bytes: int | None
    lease_expires_at: Timestamp | None


class RunningJobJson(TypedDict):
    """A job that a worker holds, since `started_at`. `timeout_ms`: how long it may run."""

    id: str
    name: str | None
    priority: str
    started_at: Timestamp | None
    timeout_ms: int | None


class BusyWorkerJson(WorkerJson):
    """A live worker with the jobs that it holds; some of these if very many jobs run."""

    jobs: list[RunningJobJson]


class WorkersJson(TypedDict):
    """The live workers, by id."""

    workers: list[BusyWorkerJson]


class ReplicasJson(TypedDict):
    """How many workers a pool should have; equal numbers without an autoscaler."""

    min: int
    max: int


class PoolJson(TypedDict):
    """The live workers of a pool, added up. `slots`: jobs that they can run at a time.

    `wanted` is null if the topology has no such pool, or is not known. `utilization` is the share
    of slots that hold a job, from 0 to 1; null without slots.
    """

    name: str
    wanted: ReplicasJson | None
    workers: int
    slots: int
    running: int
    utilization: float | None
    stuck: int
    priorities: list[str]
    job_types: list[str]


class PoolsJson(TypedDict):
    """The pools of the topology, and others that have live workers, by name."""

    pools: list[PoolJson]


class JobTypeJson(TypedDict):
    """A job type, and the pools whose live workers handle it.

    `schema` is the JSON Schema of its payload; null if the handler takes any payload or none.
    """

    name: str
    pools: list[str]
    schema: dict[str, Any] | None


class JobTypesJson(TypedDict):
    """The job types that live workers handle, by name."""

    types: list[JobTypeJson]


def worker_json(worker: WorkerView) -> WorkerJson:
    """Describe one live worker."""
    return {
        "id": worker.worker_id,
        "pool": worker.pool,
        "host": worker.host,
        "pid": worker.pid,
        "concurrency": worker.concurrency,
        "running": worker.running,
        "stuck": worker.stuck,
        "priorities": list(worker.priorities),
        "job_types": list(worker.job_types),
        "started_at": timestamp(worker.started_at),
        "memory_bytes": worker.memory_bytes,
        "lease_expires_at": timestamp(worker.lease_expires_at),
    }


def workers_json(workers: Iterable[WorkerView], running: Iterable[RunningJob]) -> WorkersJson:
    """Describe the live workers, and the jobs that run in them, those that run longest first."""
    jobs: dict[str, list[RunningJob]] = {}
    for job in sorted(running, key=lambda job: job.claimed_at or _LONG_AGO):
        jobs.setdefault(job.worker_id, []).append(job)
    return {
        "workers": [
            {
                **worker_json(worker),
                "jobs": [_running_job(job, worker) for job in jobs.get(worker.worker_id, ())],
            }
            for worker in workers
        ]
    }


def _running_job(job: RunningJob, worker: WorkerView) -> RunningJobJson:
    return {
        "id": printable(job.job_id),
        "name": printable(job.job_type) or None,
        "priority": job.priority,
        "started_at": timestamp(job.claimed_at),
        "timeout_ms": timeout_ms(worker.timeouts, job.job_type),
    }


def pools_json(workers: Iterable[WorkerView], wanted: Mapping[str, Replicas]) -> PoolsJson:
    """Describe the pools of the live workers, and those that are `wanted` by a topology."""
    by_pool: dict[str, list[WorkerView]] = {name: [] for name in wanted}
    for worker in workers:
        by_pool.setdefault(worker.pool, []).append(worker)
    return {
        "pools": [
            _pool(name, members, wanted.get(name)) for name, members in sorted(by_pool.items())
        ]
    }


def _pool(name: str, workers: list[WorkerView], wanted: Replicas | None) -> PoolJson:
    slots = sum(worker.concurrency for worker in workers)
    # A worker may hold a few jobs more, which wait for a slot.
    busy = sum(min(worker.running, worker.concurrency) for worker in workers)
    return {
        "name": name,
        "wanted": {"min": wanted.minimum, "max": wanted.maximum} if wanted else None,
        "workers": len(workers),
        "slots": slots,
        "running": sum(worker.running for worker in workers),
        "utilization": round(busy / slots, 4) if slots else None,
        "stuck": sum(worker.stuck for worker in workers),
        "priorities": [
            priority
            for priority in PRIORITIES
            if any(priority in worker.priorities for worker in workers)
        ],
        "job_types": sorted({name for worker in workers for name in worker.job_types}),
    }


def job_types_json(job_types: Iterable[JobType]) -> JobTypesJson:
    """Describe the job types that live workers handle."""
    return {
        "types": [
            {"name": each.name, "pools": list(each.pools), "schema": each.schema}
            for each in job_types
        ]
    }
