"""The read side: where jobs are, what one job is, who works. Changes nothing in Redis.

What several keys say is read one after the other, so figures of a moving system may be a few
milliseconds apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import redis

from bananas_topology.contract.worker import PRIORITIES
from bananas_topology.errors import JobNotFound
from bananas_topology.jobs.connection import translate_errors
from bananas_topology.jobs.keys import Keys
from bananas_topology.system.clock import parse_timestamp

#: What Redis hands over at a time when many results are read.
_BATCH = 500


@dataclass(frozen=True, slots=True)
class Backlog:
    """How many jobs are where. `completed` counts since the prefix was first used."""

    ready: int
    scheduled: int
    running: int
    dead: int
    completed: int


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """The ready jobs of one priority.

    `ready` are those in the common queue, whose types nobody has looked at yet; `parked` by type
    those that some worker met and had no handler for; `suspects` by type those that run alone,
    because workers went down with them. `unhandled` are the types, of both, for which no living
    worker of this priority has a handler. `oldest` is when the oldest of the next in line was
    created.
    """

    priority: str
    ready: int
    parked: dict[str, int]
    oldest: datetime | None
    suspects: dict[str, int] = field(default_factory=dict)
    unhandled: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """All ready jobs of this priority."""
        return self.ready + sum(self.parked.values()) + sum(self.suspects.values())


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A worker that has shown a sign of life within its lease; `running` jobs are under it."""

    worker_id: str
    pool: str
    host: str
    pid: int
    concurrency: int
    running: int
    job_types: tuple[str, ...]
    started_at: datetime | None
    priorities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JobView:
    """Everything known about one job. `status`: pending, scheduled, processing, completed, failed.

    `body` holds the job's JSON fields, or is None if the stored value cannot be parsed. `due_at` is
    when a delayed job becomes ready. `started_at` is when the latest attempt started: while it
    runs, the time it was claimed; afterwards, the completion time less the run time.
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


class Inspector:
    """Reads what is under one prefix.

    Raises (every method):
        RedisUnavailable, RedisUnsuitable: see connection.py.
    """

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    def backlog(self) -> Backlog:
        """Count the jobs everywhere."""
        with translate_errors(self._client):
            depths = [self._depth(priority, []) for priority in PRIORITIES]
            pipeline = self._client.pipeline(transaction=False)
            pipeline.zcard(self._keys.scheduled)
            pipeline.llen(self._keys.dead)
            pipeline.hget(self._keys.stats, "completed")
            for worker_id in self._worker_ids():
                pipeline.hlen(self._keys.claims(worker_id))
            scheduled, dead, completed, *claims = pipeline.execute()
        return Backlog(
            sum(depth.total for depth in depths), scheduled, sum(claims), dead, int(completed or 0)
        )

    def depths(self) -> list[QueueDepth]:
        """Count the ready jobs of each priority."""
        living = self.workers()
        with translate_errors(self._client):
            return [self._depth(priority, living) for priority in PRIORITIES]

    def workers(self) -> list[WorkerView]:
        """List the workers that live, by id."""
        with translate_errors(self._client):
            seconds, _ = self._client.time()
            living: Any = self._client.zrangebyscore(self._keys.workers, seconds * 1000, "+inf")
            pipeline = self._client.pipeline(transaction=False)
            ids = sorted(worker_id.decode() for worker_id in living)
            for worker_id in ids:
                pipeline.hgetall(self._keys.worker(worker_id))
                pipeline.hlen(self._keys.claims(worker_id))
            replies = pipeline.execute()
        return [
            _worker_view(worker_id, replies[2 * i], replies[2 * i + 1])
            for i, worker_id in enumerate(ids)
        ]

    def job(self, job_id: str) -> JobView:
        """Gather all that is known of one job.

        Raises:
            JobNotFound: nothing is.
        """
        keys = self._keys
        with translate_errors(self._client):
            workers = self._worker_ids()
            pipeline = self._client.pipeline(transaction=False)
            pipeline.get(_bytes(keys.job(job_id)))
            pipeline.hgetall(_bytes(keys.result(job_id)))
            pipeline.zscore(keys.scheduled, _bytes(job_id))
            pipeline.get(_bytes(keys.failure(job_id)))
            for worker_id in workers:
                pipeline.hget(keys.claims(worker_id), _bytes(job_id))
            stored, result, due, failure, *fences = pipeline.execute()
        if not (stored or result or failure):
            raise JobNotFound(f'no job has the id "{job_id}", or its retention has run out')
        held = [(w, fence) for w, fence in zip(workers, fences, strict=True) if fence]
        return _job_view(job_id, stored, _text_of(result), due, failure, held)

    def results(self, job_ids: list[str]) -> dict[str, Any]:
        """Read the results of those of the jobs that have completed, by id."""
        found: dict[str, Any] = {}
        for start in range(0, len(job_ids), _BATCH):
            batch = job_ids[start : start + _BATCH]
            with translate_errors(self._client):
                pipeline = self._client.pipeline(transaction=False)
                for job_id in batch:
                    pipeline.hmget(_bytes(self._keys.result(job_id)), "status", "result")
                replies = pipeline.execute()
            for job_id, (status, text) in zip(batch, replies, strict=True):
                if status == b"completed":
                    found[job_id] = _decoded(text)
        return found

    def _worker_ids(self) -> list[str]:
        members: Any = self._client.zrange(self._keys.workers, 0, -1)
        return [worker_id.decode() for worker_id in members]

    def _depth(self, priority: str, living: list[WorkerView]) -> QueueDepth:
        client, keys = self._client, self._keys
        types: Any = client.smembers(keys.parked(priority))
        sources: Any = client.smembers(keys.suspects)
        own = f"{priority}:"
        parked = {name: keys.parked_queue(priority, name) for name in _texts(types)}
        suspects = {
            source.removeprefix(own): keys.suspect_queue(source)
            for source in _texts(sources)
            if source.startswith(own)
        }
        waiting = {name: key for name, key in parked.items() if client.exists(_bytes(key))}
        handled = {
            name for worker in living if priority in worker.priorities for name in worker.job_types
        }
        return QueueDepth(
            priority=priority,
            ready=int(client.llen(keys.queue(priority))),
            parked={_shown(name): int(client.llen(_bytes(key))) for name, key in waiting.items()},
            oldest=self._oldest([keys.queue(priority), *waiting.values(), *suspects.values()]),
            suspects={
                _shown(name): int(client.llen(_bytes(key))) for name, key in suspects.items()
            },
            unhandled=tuple(sorted(map(_shown, (waiting.keys() | suspects.keys()) - handled))),
        )

    def _oldest(self, lists: list[str]) -> datetime | None:
        """When the oldest of the jobs next in line was created, as far as their JSON says it."""
        moments: list[datetime] = []
        for key in lists:
            last: Any = self._client.lindex(_bytes(key), -1)
            stored: Any = last and self._client.get(self._keys.job("").encode() + last)
            body = _decoded(stored)
            moment = _moment(body.get("created_at")) if isinstance(body, dict) else None
            moments += [moment] if moment else []
        return min(moments, default=None)


def _job_view(
    job_id: str,
    stored: bytes | None,
    result: dict[str, str],
    due: float | None,
    failure: bytes | None,
    held: list[tuple[str, bytes]],
) -> JobView:
    body = _decoded(stored)
    body = body if isinstance(body, dict) else None
    worker_id, fence = held[0] if held else (None, b"")
    completed_at = _moment(result.get("completed_at"))
    duration_ms = int(result["duration_ms"]) if result.get("duration_ms") else None
    return JobView(
        job_id=job_id,
        status=_status(body, result, due, bool(held)),
        body=body,
        due_at=None if due is None else datetime.fromtimestamp(due, UTC),
        worker_id=worker_id,
        started_at=_claimed_at(fence) or _started_at(completed_at, duration_ms),
        result=_decoded(result["result"]) if "result" in result else None,
        error=result.get("error") or (body or {}).get("error") or None,
        completed_at=completed_at,
        duration_ms=duration_ms,
        failure=_decoded(failure),
    )


def _status(body: dict[str, Any] | None, result: dict[str, str], due: object, held: bool) -> str:
    """Where a job is tells more than what its JSON says, which others may leave out of date."""
    if held:
        return "processing"
    if due is not None:
        return "scheduled"
    stored = result.get("status") or (body or {}).get("status")
    if stored in ("completed", "failed"):
        return str(stored)
    return "pending" if body else "failed"


def _worker_view(worker_id: str, stored: dict[bytes, bytes], running: int) -> WorkerView:
    fields = _text_of(stored)
    return WorkerView(
        worker_id=worker_id,
        pool=fields.get("pool", ""),
        host=fields.get("host", ""),
        pid=int(fields.get("pid", 0)),
        concurrency=int(fields.get("concurrency", 0)),
        running=running,
        job_types=tuple(filter(None, fields.get("job_types", "").split(","))),
        started_at=_moment(fields.get("started_at")),
        priorities=tuple(filter(None, fields.get("priorities", "").split(","))),
    )


def _claimed_at(fence: bytes) -> datetime | None:
    claimed_ms = fence.rpartition(b"|")[2]
    return datetime.fromtimestamp(int(claimed_ms) / 1000, UTC) if claimed_ms else None


def _started_at(completed_at: datetime | None, duration_ms: int | None) -> datetime | None:
    if completed_at is None or duration_ms is None:
        return None
    return completed_at - timedelta(milliseconds=duration_ms)


def _texts(members: Iterable[bytes]) -> list[str]:
    return sorted(member.decode(errors="surrogateescape") for member in members)


def _shown(name: str) -> str:
    """A name for people: bytes that are no text are no part of it."""
    return _bytes(name).decode(errors="replace")


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def _text_of(fields: dict[bytes, bytes]) -> dict[str, str]:
    return {name.decode(): value.decode(errors="replace") for name, value in fields.items()}


def _decoded(text: bytes | str | None) -> Any:
    """A JSON value, or None where there is none or it cannot be read."""
    if not text:
        return None
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _moment(text: object) -> datetime | None:
    try:
        return parse_timestamp(text) if isinstance(text, str) else None
    except ValueError:
        return None
