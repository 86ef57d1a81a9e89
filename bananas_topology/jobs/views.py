"""Jobs and queues as JSON: one shape for `--format json` and for the HTTP API.

Pure. The types are the schema that OpenAPI publishes, so they cannot drift from the values.
Timestamps are RFC 3339 in UTC, as in the wire format; anything unknown or not applicable is null.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from bananas_topology.jobs.dead import DeadJob, DeadPage
from bananas_topology.jobs.depths import QueueDepth, ReadyList
from bananas_topology.jobs.fleet_views import WorkerJson, worker_json
from bananas_topology.jobs.inspect import Backlog, JobView, Overview
from bananas_topology.jobs.runs import JobRun, RunOutcome
from bananas_topology.jobs.search import JobPage, JobSummary
from bananas_topology.jobs.stored import integer_in, parse_moment, printable, text_in
from bananas_topology.jobs.timestamps import Timestamp, timestamp
from bananas_topology.system.clock import format_timestamp


class RunJson(TypedDict):
    """One run of a job. `error` is shortened.

    `attempt` counts from 1; after a run that was interrupted or crashed, the next one has the same
    number. The worker of a job that completed at its first attempt is not known, and neither is the
    duration of a run that crashed.
    """

    attempt: int
    worker_id: str | None
    started_at: Timestamp | None
    duration_ms: int | None
    outcome: RunOutcome
    error: str | None


class JobJson(TypedDict):
    """A job and its latest run. `failure` is its last failed run: type, message, traceback.

    `timeout_ms` is how long it may run, while it does.

    `runs` has the run in progress and the latest ones, oldest first.
    """

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
    timeout_ms: int | None
    completed_at: Timestamp | None
    duration_ms: int | None
    result: Any
    error: str | None
    failure: Any
    runs: list[RunJson]


class JobSummaryJson(TypedDict):
    """A job in a list. `worker_id` and `pool` run it now; `error` is its last failure."""

    id: str
    name: str | None
    status: str
    priority: str | None
    attempts: int | None
    created_at: Timestamp | None
    due_at: Timestamp | None
    worker_id: str | None
    pool: str | None
    started_at: Timestamp | None
    timeout_ms: int | None
    completed_at: Timestamp | None
    error: str | None


class JobPageJson(TypedDict):
    """Some jobs. `next` is the `cursor` of the next page; null at the end."""

    jobs: list[JobSummaryJson]
    next: str | None


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


class DeadPageJson(TypedDict):
    """Some dead jobs, newest first, and the number of all dead jobs.

    `next` is the `cursor` of the next page; null at the end.
    """

    jobs: list[DeadJobJson]
    total: int
    next: int | None


class DeadChangeJson(TypedDict):
    """How many dead jobs were retried or purged, or would be: `dry_run`.

    Of those to retry, `unreadable` lists the ids of jobs whose JSON cannot be read, `rejected` why
    the server rejects a job, by its id.
    """

    count: int
    dry_run: bool
    unreadable: list[str]
    rejected: dict[str, str]


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
    after worker crashes) count by job type, and `oldest_by_type` says since when each type waits.
    `unhandled` lists the types without a running handler.
    `omitted_types` is the number of types beyond the first 10,000, which are not listed.
    """

    ready: int
    parked: dict[str, int]
    suspects: dict[str, int]
    unhandled: list[str]
    omitted_types: int
    oldest: Timestamp | None
    oldest_by_type: dict[str, Timestamp]


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
        "name": text_in(body, "name"),
        "status": view.status,
        "priority": text_in(body, "priority"),
        "payload": body.get("payload"),
        "attempts": integer_in(body, "attempts"),
        "max_retries": integer_in(body, "max_retries"),
        "created_at": timestamp(parse_moment(body.get("created_at"))),
        "due_at": timestamp(view.due_at),
        "worker_id": view.worker_id,
        "started_at": timestamp(view.started_at),
        "timeout_ms": view.timeout_ms,
        "completed_at": timestamp(view.completed_at),
        "duration_ms": view.duration_ms,
        "result": view.result,
        "error": view.error,
        "failure": view.failure,
        "runs": [_run(run) for run in view.runs],
    }


def _run(run: JobRun) -> RunJson:
    return {
        "attempt": run.attempt,
        "worker_id": run.worker_id,
        "started_at": timestamp(run.started_at),
        "duration_ms": run.duration_ms,
        "outcome": run.outcome,
        "error": run.error,
    }


def job_page_json(page: JobPage) -> JobPageJson:
    """Describe a page of a search."""
    return {"jobs": [_summary(job) for job in page.jobs], "next": page.cursor}


def _summary(job: JobSummary) -> JobSummaryJson:
    return {
        "id": printable(job.job_id),
        "name": job.job_type,
        "status": job.status,
        "priority": job.priority,
        "attempts": job.attempts,
        "created_at": timestamp(job.created_at),
        "due_at": timestamp(job.due_at),
        "worker_id": job.worker_id,
        "pool": job.pool,
        "started_at": timestamp(job.started_at),
        "timeout_ms": job.timeout_ms,
        "completed_at": timestamp(job.completed_at),
        "error": job.error,
    }


def dead_job_json(job: DeadJob) -> DeadJobJson:
    """Describe one dead job."""
    return {
        "id": printable(job.job_id),
        "name": job.job_type,
        "priority": job.priority,
        "attempts": job.attempts,
        "died_at": timestamp(job.died_at),
        "error": job.error,
        "traceback": job.traceback,
        "is_readable": job.is_readable,
    }


def dead_page_json(page: DeadPage) -> DeadPageJson:
    """Describe a page of dead jobs."""
    jobs = [dead_job_json(job) for job in page.jobs]
    return {"jobs": jobs, "total": page.total, "next": page.following}


def queues_json(overview: Overview) -> QueuesJson:
    """Describe all queues and workers."""
    return {
        "backlog": backlog_json(overview.backlog),
        "queues": {depth.priority: _queue(depth) for depth in overview.depths},
        "workers": [worker_json(worker) for worker in overview.workers],
    }


def backlog_json(backlog: Backlog) -> BacklogJson:
    """Describe the number of jobs by state."""
    return {
        "ready": backlog.ready,
        "scheduled": backlog.scheduled,
        "running": backlog.running,
        "dead": backlog.dead,
        "completed": backlog.completed,
    }


def _queue(depth: QueueDepth) -> QueueJson:
    return {
        "ready": depth.shared.count,
        "parked": _counts(depth.parked),
        "suspects": _counts(depth.suspects),
        "unhandled": list(depth.unhandled),
        "omitted_types": depth.omitted,
        "oldest": timestamp(depth.oldest),
        "oldest_by_type": {
            job_type: format_timestamp(oldest) for job_type, oldest in depth.oldest_by_type.items()
        },
    }


def _counts(lists: Mapping[str, ReadyList]) -> dict[str, int]:
    return {job_type: each.count for job_type, each in lists.items()}
