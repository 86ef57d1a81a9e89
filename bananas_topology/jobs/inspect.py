"""The read side: queue depths, single jobs, running workers. Read-only.

An overview takes two round trips whatever the backlog, and one more per page of job types with
parked jobs. Keys are read one after the other, so the numbers of a busy system may be a few
milliseconds apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import redis

from bananas_topology.contract.values import PRIORITIES
from bananas_topology.errors import JobNotFound
from bananas_topology.jobs.connection import translate_errors
from bananas_topology.jobs.depths import MAX_TYPES, DepthReading, QueueDepth
from bananas_topology.jobs.job_types import timeout_ms
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.runs import MAX_CRASHES, JobRun, RunOutcome, read_runs
from bananas_topology.jobs.stored import (
    claimed_at,
    integer_in,
    moment_after,
    moment_at,
    parse_fields,
    parse_json,
    parse_moment,
    parse_number,
    printable,
    read_all,
    text_in,
    to_bytes,
    to_text,
)

#: Number of results read in one round trip.
_BATCH = 500


@dataclass(frozen=True, slots=True)
class Backlog:
    """Number of jobs in each state. `completed` counts since the prefix was first used.

    `ready` is a lower bound if not all job types were read (see depths.py).
    """

    ready: int
    scheduled: int
    running: int
    dead: int
    completed: int


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A running worker: one whose lease has not expired. `running`: number of jobs it holds.

    `stuck`: slots held by handlers that have not ended although their jobs timed out. `timeouts`
    is for `timeout_ms` of job_types.py.
    """

    worker_id: str
    pool: str
    host: str
    pid: int
    concurrency: int
    running: int
    job_types: tuple[str, ...]
    started_at: datetime | None
    priorities: tuple[str, ...] = ()
    stuck: int = 0
    memory_bytes: int | None = None
    lease_expires_at: datetime | None = None
    timeouts: str = ""


@dataclass(frozen=True, slots=True)
class Overview:
    """All queues and running workers at one moment.

    `failed` counts failed runs since the prefix was first used, those that were retried as well.
    """

    backlog: Backlog
    depths: tuple[QueueDepth, ...]
    workers: tuple[WorkerView, ...]
    failed: int


@dataclass(frozen=True, slots=True)
class JobView:
    """Everything known about one job. `status`: pending, scheduled, processing, completed, failed.

    `body` holds the job's JSON fields, or is None if the stored value cannot be parsed. `due_at` is
    when a delayed job becomes ready. `started_at` is when the latest attempt started: while it
    runs, the time it was claimed; afterwards, the completion time less the run time. `has_result`
    distinguishes a result that is null from one that is not, or no longer, stored.
    `runs` are oldest first. `timeout_ms` is how long it may run, while it does.
    """

    job_id: str
    status: str
    body: dict[str, Any] | None
    due_at: datetime | None
    worker_id: str | None
    started_at: datetime | None
    result: Any
    error: str | None
    completed_at: datetime | None
    duration_ms: int | None
    failure: dict[str, str] | None
    has_result: bool
    runs: tuple[JobRun, ...] = ()
    timeout_ms: int | None = None


class Inspector:
    """Reads the state of one prefix.

    Raises (every method):
        RedisUnavailable, RedisUnsuitable: see connection.py.
    """

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    def overview(self, max_types: int = MAX_TYPES) -> Overview:
        """Count the jobs in each state, and list the running workers.

        Reads at most `max_types` lists of each kind; every further one counts as one ready job.
        """
        reading, keys = DepthReading(self._keys, max_types), self._keys
        with translate_errors(self._client):
            pipeline: Any = self._client.pipeline(transaction=False)
            pipeline.time()
            pipeline.zrange(keys.workers, 0, -1, withscores=True)
            pipeline.zcard(keys.scheduled)
            pipeline.llen(keys.dead)
            pipeline.hmget(keys.stats, "completed", "retried", "failed")
            reading.request(pipeline)
            time, leases, scheduled, dead, stats, *pages = pipeline.execute()
            reading.receive(pages)
            workers, running = self._workers(time, leases)
            while reading.is_unfinished:
                pipeline = self._client.pipeline(transaction=False)
                reading.request(pipeline)
                reading.receive(pipeline.execute())
        depths = tuple(reading.depths(_handled(workers)))
        ready = sum(depth.total for depth in depths)
        completed, retried, failed = (parse_number(count) or 0 for count in stats)
        backlog = Backlog(ready, scheduled, running, dead, completed)
        return Overview(backlog, depths, tuple(workers), retried + failed)

    def backlog(self) -> Backlog:
        """Count the jobs in each state."""
        return self.overview().backlog

    def depths(self) -> tuple[QueueDepth, ...]:
        """Count the ready jobs of each priority."""
        return self.overview().depths

    def workers(self) -> list[WorkerView]:
        """List the running workers, by id."""
        with translate_errors(self._client):
            pipeline: Any = self._client.pipeline(transaction=False)
            pipeline.time()
            pipeline.zrange(self._keys.workers, 0, -1, withscores=True)
            workers, _ = self._workers(*pipeline.execute())
        return workers

    def check(self) -> None:
        """Read one key: whether the server answers."""
        with translate_errors(self._client):
            self._client.zcard(self._keys.workers)

    def job(self, job_id: str) -> JobView:
        """Read everything known about one job.

        Raises:
            JobNotFound: no job has this id, or its retention has expired.
        """
        keys = self._keys
        with translate_errors(self._client):
            workers = self._worker_ids()
            pipeline = self._client.pipeline(transaction=False)
            pipeline.get(to_bytes(keys.job(job_id)))
            pipeline.hgetall(to_bytes(keys.result(job_id)))
            pipeline.zscore(keys.scheduled, to_bytes(job_id))
            pipeline.get(to_bytes(keys.failure(job_id)))
            pipeline.lrange(to_bytes(keys.runs(job_id)), 0, -1)
            pipeline.lrange(to_bytes(keys.crashes(job_id)), -MAX_CRASHES, -1)
            for worker_id in workers:
                pipeline.hget(to_bytes(keys.claims(worker_id)), to_bytes(job_id))
            stored, result, due, failure, runs, crashes, *fences = read_all(pipeline)
            claims = [(w, fence) for w, fence in zip(workers, fences, strict=True) if fence]
            timeouts: bytes | None = None
            if claims:
                pipeline = self._client.pipeline(transaction=False)
                pipeline.hget(to_bytes(keys.worker(claims[0][0])), "timeouts")
                [timeouts] = read_all(pipeline)
        if not (stored or result or failure):
            raise JobNotFound(f'no job has the id "{job_id}", or its retention has expired')
        view = _job_view(job_id, stored, _decode_hash(result or {}), due, failure, claims)
        attempts = _attempts(view)
        return replace(
            view,
            timeout_ms=timeout_ms(timeouts or b"", str((view.body or {}).get("name"))),
            runs=read_runs(runs or (), crashes or (), _latest_run(view, attempts), attempts),
        )

    def some_ids(self, limit: int = 50) -> list[str]:
        """Ids of jobs: up to `limit` of each worker's, each queue's, delayed and dead ones."""
        keys = self._keys
        with translate_errors(self._client):
            workers = self._worker_ids()
            pipeline = self._client.pipeline(transaction=False)
            for priority in PRIORITIES:
                pipeline.srandmember(keys.parked(priority), limit)
            parked = zip(PRIORITIES, pipeline.execute(), strict=True)
            pipeline = self._client.pipeline(transaction=False)
            for worker_id in workers:
                pipeline.hkeys(to_bytes(keys.claims(worker_id)))
            for priority, job_types in parked:
                pipeline.lrange(keys.queue(priority), -limit, -1)
                for job_type in job_types:
                    parked_queue = to_bytes(keys.parked_queue(priority, to_text(job_type)))
                    pipeline.lrange(parked_queue, -limit, -1)
            pipeline.zrange(keys.scheduled, 0, limit - 1)
            pipeline.lrange(keys.dead, 0, limit - 1)
            found = read_all(pipeline)
        return [to_text(job_id) for ids in found for job_id in (ids or ())[:limit]]

    def results(self, job_ids: list[str]) -> dict[str, Any]:
        """Read the results, by id, of the jobs among these that have completed."""
        found: dict[str, Any] = {}
        for start in range(0, len(job_ids), _BATCH):
            batch = job_ids[start : start + _BATCH]
            with translate_errors(self._client):
                pipeline = self._client.pipeline(transaction=False)
                for job_id in batch:
                    pipeline.hmget(to_bytes(self._keys.result(job_id)), "status", "result")
                replies = read_all(pipeline)
            for job_id, reply in zip(batch, replies, strict=True):
                status, text = reply or (None, None)
                if status == b"completed":
                    found[job_id] = parse_json(text)
        return found

    def _workers(
        self, time: tuple[int, int], leases: list[tuple[bytes, float]]
    ) -> tuple[list[WorkerView], int]:
        """Read the workers that are running at a time; and how many jobs all of them hold."""
        pipeline: Any = self._client.pipeline(transaction=False)
        for worker_id, _ in leases:
            pipeline.hgetall(self._keys.worker("").encode() + worker_id)
            pipeline.hlen(self._keys.claims("").encode() + worker_id)
        replies = read_all(pipeline)
        stored, claims = replies[::2], [held or 0 for held in replies[1::2]]
        views = [
            _worker_view(worker_id, until_ms, fields or {}, held)
            for (worker_id, until_ms), fields, held in zip(leases, stored, claims, strict=True)
            if until_ms > time[0] * 1000
        ]
        return sorted(views, key=lambda view: view.worker_id), sum(claims)

    def _worker_ids(self) -> list[str]:
        members: Any = self._client.zrange(self._keys.workers, 0, -1)
        return [to_text(worker_id) for worker_id in members]


def _handled(workers: Iterable[WorkerView]) -> dict[str, set[str]]:
    """The job types that any of these workers has a handler for, by priority."""
    handled: dict[str, set[str]] = {}
    for worker in workers:
        for priority in worker.priorities:
            handled.setdefault(priority, set()).update(worker.job_types)
    return handled


def _job_view(
    job_id: str,
    stored: bytes | None,
    result: dict[str, str],
    due: float | None,
    failure: bytes | None,
    claims: list[tuple[str, bytes]],
) -> JobView:
    body = parse_fields(stored)
    worker_id, fence = claims[0] if claims else (None, b"")
    completed_at = parse_moment(result.get("completed_at"))
    duration_ms = parse_number(result.get("duration_ms"))
    return JobView(
        job_id=job_id,
        status=job_status(body, result, due, bool(claims)),
        body=body,
        due_at=None if due is None else moment_at(due),
        worker_id=None if worker_id is None else printable(worker_id),
        started_at=claimed_at(fence) if fence else _started_at(completed_at, duration_ms),
        result=parse_json(result["result"]) if "result" in result else None,
        error=result.get("error") or text_in(body or {}, "error") or None,
        completed_at=completed_at,
        duration_ms=duration_ms,
        failure=parse_json(failure),
        has_result=result.get("status") == "completed",
    )


def _attempts(view: JobView) -> int:
    return integer_in(view.body or {}, "attempts") or 0


def _latest_run(view: JobView, attempts: int) -> JobRun | None:
    """The run in progress, or the one that completed the job."""
    started_at = view.started_at
    if view.status == "processing":
        return JobRun(attempts + 1, view.worker_id, started_at, None, RunOutcome.RUNNING)
    if view.status == "completed":
        attempt = max(attempts, 1)
        return JobRun(attempt, None, started_at, view.duration_ms, RunOutcome.COMPLETED)
    return None


def job_status(
    body: dict[str, Any] | None, result: dict[str, str], due: object, is_claimed: bool
) -> str:
    """The status by where the job is: the one in its JSON may be out of date."""
    if is_claimed:
        return "processing"
    if due is not None:
        return "scheduled"
    stored = result.get("status") or (body or {}).get("status")
    if stored in ("completed", "failed"):
        return str(stored)
    return "pending" if body else "failed"


def _worker_view(
    worker_id: bytes, until_ms: float, stored: dict[bytes, bytes], running: int
) -> WorkerView:
    fields = _decode_hash(stored)
    return WorkerView(
        worker_id=worker_id.decode(errors="replace"),
        pool=fields.get("pool", ""),
        host=fields.get("host", ""),
        pid=parse_number(fields.get("pid")) or 0,
        concurrency=parse_number(fields.get("concurrency")) or 0,
        running=running,
        job_types=tuple(filter(None, fields.get("job_types", "").split(","))),
        started_at=parse_moment(fields.get("started_at")),
        priorities=tuple(filter(None, fields.get("priorities", "").split(","))),
        stuck=parse_number(fields.get("stuck")) or 0,
        memory_bytes=parse_number(fields.get("memory_bytes")),
        lease_expires_at=moment_at(until_ms / 1000),
        timeouts=fields.get("timeouts", ""),
    )


def _started_at(completed_at: datetime | None, duration_ms: int | None) -> datetime | None:
    if completed_at is None or duration_ms is None:
        return None
    return moment_after(completed_at, -duration_ms)


def _decode_hash(fields: dict[bytes, bytes]) -> dict[str, str]:
    return {
        name.decode(errors="replace"): value.decode(errors="replace")
        for name, value in fields.items()
    }
