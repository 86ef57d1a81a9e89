"""Jobs left in ``queue:processing`` by workers of the Go implementation that died.

Those workers move an id there when they take a job and remove it when they are done. They send no
heartbeat, so a dead worker's jobs look like running ones; only their age tells them apart. A job
counts as stranded once it has been there for longer than any job may run:

- A body with status ``processing`` has the time in `updated_at`.
- Any other body has none: the job may have waited in its queue for days. A time in the future, by a
  clock that is wrong, is none either. The time when it was first seen in the list is recorded in
  ``rescue:seen`` with the digest of its body, and its age counts from then.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import redis

from bananas_topology.contract.values import PRIORITIES
from bananas_topology.jobs import scripts
from bananas_topology.jobs.calls import Call, ScriptClient, Value
from bananas_topology.jobs.connection import translate_errors
from bananas_topology.jobs.job import rewrite
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.stored import (
    moment_at,
    parse_fields,
    parse_moment,
    server_time,
    to_bytes,
    to_text,
)
from bananas_topology.system.clock import format_timestamp

#: Jobs that are read, or requeued, in one round trip.
BATCH = 100

#: Seconds for which the time when a job was first seen is kept.
_KEEP_SEEN_S = 7 * 86_400


class Action(StrEnum):
    """What a rescue does with a job.

    `REMOVE` applies to a job that is completed, waits to be retried, or is no longer stored. `BURY`
    adds to the dead list a failed job whose worker died before it could, and one that cannot be
    read. `WAIT`: it may still be running.
    """

    REQUEUE = "requeue"
    REMOVE = "remove"
    BURY = "bury"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class ProcessingJob:
    """A job in ``queue:processing``, and what a rescue would do with it.

    `since` is when it was put there, if known; `is_observed`: that is only when it was first seen
    there. `is_stored`: there is a body, whose SHA-1 is `digest`; without a `job_type`, it cannot be
    read.
    """

    job_id: str
    job_type: str | None
    priority: str
    status: str
    since: datetime
    is_observed: bool
    action: Action
    is_stored: bool
    digest: str


@dataclass(frozen=True, slots=True)
class Rescue:
    """Number of jobs requeued, cleared from the list, and left because they changed meanwhile."""

    requeued: int
    cleared: int
    left: int


class StrandedJobs:
    """The jobs in ``queue:processing`` of one prefix.

    Raises (every method):
        RedisUnavailable, RedisUnsuitable: see connection.py. After RedisUnavailable some of the
            jobs may have been requeued; all methods may be called again.
    """

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._scripts = ScriptClient(client)

    def close(self) -> None:
        """Close the connections; the next call opens another."""
        self._scripts.close()

    def count(self) -> int:
        """How many jobs are in the list."""
        with translate_errors(self._client):
            return int(self._client.llen(self._keys.processing))

    def peek(self, older_than_ms: int, limit: int) -> list[ProcessingJob]:
        """Read the oldest jobs in the list without recording when they were seen."""
        ids = self._ids(limit)
        with translate_errors(self._client):
            notes: Any = self._client.hmget(self._keys.rescue_seen, ids) if ids else []
        seen = {job_id: note for job_id, note in zip(ids, notes, strict=True) if note is not None}
        return list(self._classify(ids, older_than_ms, seen))

    def observe(self, older_than_ms: int) -> list[ProcessingJob]:
        """Read all jobs in the list, and record when those without a time were first seen."""
        with translate_errors(self._client):
            seen: Any = self._client.hgetall(self._keys.rescue_seen)
        jobs = list(self._classify(self._ids(), older_than_ms, seen))
        notes = {
            to_bytes(job.job_id): f"{job.digest}|{job.since.timestamp():.6f}"
            for job in jobs
            if job.is_observed
        }
        with translate_errors(self._client):
            pipeline: Any = self._client.pipeline()
            pipeline.delete(self._keys.rescue_seen)
            if notes:
                pipeline.hset(self._keys.rescue_seen, mapping=notes)
                pipeline.expire(self._keys.rescue_seen, _KEEP_SEEN_S)
            pipeline.execute()
        return jobs

    def rescue(self, jobs: Sequence[ProcessingJob]) -> Rescue:
        """Carry out each job's action, atomically and only if the job has not changed since."""
        requeued = cleared = left = 0
        # Each goes to the front of its queue, the oldest last, so that it runs next.
        acting = [job for job in reversed(jobs) if job.action is not Action.WAIT]
        for start in range(0, len(acting), BATCH):
            batch = acting[start : start + BATCH]
            arguments: list[Value] = [self._keys.prefix]
            now = self._now()
            for job, body in zip(batch, self._bodies(batch), strict=True):
                arguments += _arguments(job, body, now)
            call = Call(scripts.RESCUE, (self._keys.processing,), arguments)
            for job, done in zip(batch, self._scripts.run_one(call), strict=True):
                requeued += bool(done) and job.action is Action.REQUEUE
                cleared += bool(done) and job.action is not Action.REQUEUE
                left += not done
        return Rescue(requeued, cleared, left)

    def _bodies(self, jobs: Sequence[ProcessingJob]) -> list[bytes | None]:
        with translate_errors(self._client):
            bodies: Any = self._client.mget([to_bytes(self._keys.job(job.job_id)) for job in jobs])
        return list(bodies)

    def _now(self) -> datetime:
        with translate_errors(self._client):
            return server_time(self._client.time())

    def _ids(self, limit: int = 0) -> list[bytes]:
        """The distinct ids in the list, oldest first."""
        with translate_errors(self._client):
            ids: Any = self._client.lrange(self._keys.processing, -limit, -1)
        return list(dict.fromkeys(reversed(ids)))

    def _classify(
        self, ids: Sequence[bytes], older_than_ms: int, seen: dict[bytes, bytes]
    ) -> Iterator[ProcessingJob]:
        now = self._now()
        for start in range(0, len(ids), BATCH):
            batch = ids[start : start + BATCH]
            with translate_errors(self._client):
                bodies: Any = self._client.mget([to_bytes(self._keys.job("")) + i for i in batch])
                pipeline = self._client.pipeline(transaction=False)
                for job_id in batch:
                    pipeline.zscore(self._keys.scheduled, job_id)
                due = pipeline.execute()
            for job_id, body, due_at in zip(batch, bodies, due, strict=True):
                job = _processing_job(job_id, body, seen.get(job_id), now)
                is_old = now - job.since >= timedelta(milliseconds=older_than_ms)
                yield replace(job, action=_action(job, is_old, due_at is not None))


def _action(job: ProcessingJob, is_old: bool, is_scheduled: bool) -> Action:
    if not is_old:
        return Action.WAIT
    if is_scheduled or job.status == "completed" or not job.is_stored:
        return Action.REMOVE
    if job.job_type is None or job.status == "failed":
        return Action.BURY
    return Action.REQUEUE


def _processing_job(
    job_id: bytes, body: bytes | None, seen: bytes | None, now: datetime
) -> ProcessingJob:
    fields = parse_fields(body) or {}
    name, priority = fields.get("name"), fields.get("priority")
    status = str(fields.get("status", ""))
    since = parse_moment(fields.get("updated_at")) if status != "pending" else None
    if since is not None and since > now:
        since = None
    digest, _, first_seen = (seen or b"").decode(errors="replace").partition("|")
    observed = now
    if since is None and digest == _digest(body):
        with suppress(ValueError):
            observed = moment_at(float(first_seen)) or now
    return ProcessingJob(
        job_id=to_text(job_id),
        job_type=name if isinstance(name, str) and name else None,
        priority=priority if priority in PRIORITIES else "normal",
        status=status,
        since=since or observed,
        is_observed=since is None,
        action=Action.WAIT,
        is_stored=body is not None,
        digest=_digest(body),
    )


def _arguments(job: ProcessingJob, body: bytes | None, now: datetime) -> tuple[Value, ...]:
    fresh = b""
    # If the body has changed since, the script finds that the digest differs, and leaves the job.
    if job.action is Action.REQUEUE and _digest(body) == job.digest:
        fresh = rewrite(body or b"{}", status="pending", updated_at=format_timestamp(now))
    action = job.action.value
    return (to_bytes(job.job_id), job.digest, action, fresh, job.priority, job.job_type or "")


def _digest(body: bytes | None) -> str:
    """How the script recognizes a body; SHA-1 because that is what Redis offers to scripts."""
    return hashlib.sha1(body or b"", usedforsecurity=False).hexdigest()
