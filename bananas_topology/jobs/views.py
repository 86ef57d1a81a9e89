"""Jobs, queues and workers as JSON: one shape for `--format json` and for the HTTP API.

Pure. The types are the schema that OpenAPI publishes, so they cannot drift from the values.
Timestamps are RFC 3339 in UTC, as in the wire format; anything unknown or not applicable is null.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, TypedDict

import msgspec

from bananas_topology.jobs.dead import DeadJob
from bananas_topology.jobs.depths import QueueDepth, ReadyList
from bananas_topology.jobs.inspect import JobView, Overview, WorkerView
from bananas_topology.system.clock import format_timestamp

Timestamp = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]


class JobJson(TypedDict):
    """A job and its latest run. `failure` is its last failed run: type, message, traceback."""

    id: str
    name: str | None
    status: str
    priority: str | None
    payload: Any
    attempts: int | None
    max_retries: int | None
    created_at: Timestamp | None
    due_at: Timestamp | None
    worker_id: str | None
    started_at: Timestamp | None
    completed_at: Timestamp | None
    duration_ms: int | None
    result: Any
    error: str | None
    failure: Any


class DeadJobJson(TypedDict):
    """A dead job. `is_readable` is false if the stored job is corrupt and cannot be retried."""

    id: str
    name: str | None
    priority: str
    attempts: int
    died_at: Timestamp | None
    error: str
    traceback: str
    is_readable: bool


class BacklogJson(TypedDict):
    """Number of jobs by state, over all priorities."""

    ready: int
    scheduled: int
    running: int
    dead: int
    completed: int


class QueueJson(TypedDict):
    """Ready jobs of one priority.

    `ready` counts the shared queue. `parked` (no handler when first seen) and `suspects` (isolated
    after worker crashes) count by job type. `unhandled` lists the types without a running handler.
    `omitted_types` is the number of types beyond the first 10,000, which are not listed.
    """

    ready: int
    parked: dict[str, int]
    suspects: dict[str, int]
    unhandled: list[str]
    omitted_types: int
    oldest: Timestamp | None


class WorkerJson(TypedDict):
    """A live worker. `stuck`: slots held by handlers that ignore their timeout."""

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


class QueuesJson(TypedDict):
    """Queue depths by priority, and the live workers."""

    backlog: BacklogJson
    queues: dict[str, QueueJson]
    workers: list[WorkerJson]


def job_json(view: JobView) -> JobJson:
    """Describe one job."""
    body = view.body or {}
    return {
        "id": view.job_id,
        "name": body.get("name"),
        "status": view.status,
        "priority": body.get("priority"),
        "payload": body.get("payload"),
        "attempts": body.get("attempts"),
        "max_retries": body.get("max_retries"),
        "created_at": body.get("created_at"),
        "due_at": _timestamp(view.due_at),
        "worker_id": view.worker_id,
        "started_at": _timestamp(view.started_at),
        "completed_at": _timestamp(view.completed_at),
        "duration_ms": view.duration_ms,
        "result": view.result,
        "error": view.error,
        "failure": view.failure,
    }


def dead_job_json(job: DeadJob) -> DeadJobJson:
    """Describe one dead job."""
    return {
        "id": job.job_id,
        "name": job.job_type,
        "priority": job.priority,
        "attempts": job.attempts,
        "died_at": _timestamp(job.died_at),
        "error": job.error,
        "traceback": job.traceback,
        "is_readable": job.is_readable,
    }


def queues_json(overview: Overview) -> QueuesJson:
    """Describe all queues and workers."""
    backlog = overview.backlog
    return {
        "backlog": {
            "ready": backlog.ready,
            "scheduled": backlog.scheduled,
            "running": backlog.running,
            "dead": backlog.dead,
            "completed": backlog.completed,
        },
        "queues": {depth.priority: _queue(depth) for depth in overview.depths},
        "workers": [_worker(worker) for worker in overview.workers],
    }


def _queue(depth: QueueDepth) -> QueueJson:
    return {
        "ready": depth.shared.count,
        "parked": _counts(depth.parked),
        "suspects": _counts(depth.suspects),
        "unhandled": list(depth.unhandled),
        "omitted_types": depth.omitted,
        "oldest": _timestamp(depth.oldest),
    }


def _counts(lists: Mapping[str, ReadyList]) -> dict[str, int]:
    return {job_type: each.count for job_type, each in lists.items()}


def _worker(worker: WorkerView) -> WorkerJson:
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
        "started_at": _timestamp(worker.started_at),
    }


def _timestamp(moment: datetime | None) -> str | None:
    return None if moment is None else format_timestamp(moment)
