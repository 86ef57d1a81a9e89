"""A snapshot of everything under a prefix that shows whether the system works: for diagnosis.

Read-only, and bounded however much is stored: no KEYS, at most `MAX_TYPES` lists per set,
`MAX_WORKERS` workers and `MAX_FAILURES` failures of dead and of delayed jobs each. Keys are read
one after the other, so counts of a busy system may be milliseconds apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import redis

from bananas_topology.contract.values import PRIORITIES
from bananas_topology.jobs.connection import translate_errors
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.stored import (
    parse_fields,
    parse_moment,
    parse_number,
    read_all,
    text_in,
    to_bytes,
)

#: Maximum job types read per set of parked or suspect lists.
MAX_TYPES = 500

#: Maximum workers read.
MAX_WORKERS = 2000

#: Most recent dead jobs, and delayed jobs due next, whose failures are read.
MAX_FAILURES = 100

#: Bytes read of the job at the head of a list: enough for all fields but a large payload.
_HEAD_BYTES = 65_536

#: A lease that ends later counts as ending then, in Unix milliseconds.
_ENDLESS_MS = 10**15

#: Seconds after which a delayed job that has not been promoted counts as overdue.
OVERDUE_S = 30


@dataclass(frozen=True, slots=True)
class WaitingList:
    """One list of ready jobs. `job_type` is None for the shared queue of a priority.

    `head` is the id of the next job. `waiting_since` is when it became ready, if known: for a
    delayed or retried job it is not.
    """

    priority: str
    job_type: str | None
    is_suspect: bool
    length: int
    head: bytes | None
    waiting_since: datetime | None


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """A worker with a lease, expired or not. `None`: workers of this version do not report it.

    `settings` is a digest of its settings; `clock_ms` its host's clock at its last heartbeat, in
    Unix milliseconds, as `seen_ms` is Redis's. `finished`, `failed` and `busy_ms` count runs since
    it started.
    """

    worker_id: str
    pool: str
    host: str
    pid: int
    concurrency: int
    priorities: tuple[str, ...]
    job_types: tuple[str, ...]
    running: int
    seen_ms: int
    lease_until_ms: int
    started_at: datetime | None
    version: str | None = None
    settings: str | None = None
    clock_ms: int | None = None
    finished: int | None = None
    failed: int | None = None
    busy_ms: int | None = None
    stuck: int = 0
    schedules: int = 0

    @property
    def busy(self) -> int:
        """Slots that take no job now: they run one, or are held by a handler that timed out."""
        return min(self.running + self.stuck, self.concurrency)

    def is_alive(self, now_ms: int) -> bool:
        """Whether its lease is valid at a time, in Unix milliseconds on Redis's clock."""
        return self.lease_until_ms > now_ms


@dataclass(frozen=True, slots=True)
class RecentFailure:
    """The latest failure of a job: the exception's type, and when it failed, if known."""

    type: str
    at: datetime | None


@dataclass(frozen=True, slots=True)
class ScheduleStatus:
    """A schedule's state; None for what is not stored. `is_locked`: a Go scheduler holds it."""

    next_run: datetime | None
    last_run: datetime | None
    is_locked: bool


@dataclass(frozen=True, slots=True)
class Survey:
    """The snapshot, taken at `now_ms` on Redis's clock, in Unix milliseconds.

    `completed`, `retried` and `failed` count jobs since the prefix was first used.
    `recent_failures` are of the most recent dead jobs, `retry_failures` of the delayed jobs that
    are due next.
    """

    now_ms: int
    lists: tuple[WaitingList, ...]
    workers: tuple[WorkerStatus, ...]
    scheduled: int
    overdue: int
    dead: int
    processing: int
    completed: int
    retried: int
    failed: int
    quarantine: str | None
    recent_failures: tuple[RecentFailure, ...] = ()
    retry_failures: tuple[RecentFailure, ...] = ()
    schedules: Mapping[str, ScheduleStatus] = field(default_factory=dict)

    @property
    def at(self) -> datetime:
        """When it was taken."""
        return datetime.fromtimestamp(self.now_ms / 1000, UTC)

    @property
    def ready(self) -> int:
        """Ready jobs of all priorities."""
        return sum(each.length for each in self.lists)

    @property
    def finished(self) -> int:
        """Runs that have ended, whatever their outcome."""
        return self.completed + self.retried + self.failed

    @property
    def live_workers(self) -> tuple[WorkerStatus, ...]:
        """Workers whose lease is valid."""
        return tuple(worker for worker in self.workers if worker.is_alive(self.now_ms))


class Surveyor:
    """Surveys one prefix; `schedules` names those to look up.

    Raises (every method):
        RedisUnavailable, RedisUnsuitable: see connection.py.
    """

    def __init__(self, client: redis.Redis, keys: Keys, schedules: Iterable[str] = ()) -> None:
        self._client = client
        self._keys = keys
        self._schedules = tuple(schedules)

    def survey(self) -> Survey:
        """Read everything once: four round trips."""
        keys = self._keys
        with translate_errors(self._client):
            pipeline: Any = self._client.pipeline(transaction=False)
            pipeline.time()
            for priority in PRIORITIES:
                pipeline.srandmember(keys.parked(priority), MAX_TYPES)
            pipeline.srandmember(keys.suspects, MAX_TYPES)
            pipeline.zrange(keys.workers, 0, MAX_WORKERS - 1, withscores=True)
            pipeline.zcard(keys.scheduled)
            pipeline.llen(keys.dead)
            pipeline.llen(keys.processing)
            pipeline.hmget(keys.stats, "completed", "retried", "failed")
            pipeline.get(keys.quarantine)
            pipeline.lrange(keys.dead, 0, MAX_FAILURES - 1)
            pipeline.zrange(keys.scheduled, 0, MAX_FAILURES - 1)
            time, *sets, leases, scheduled, dead, processing, stats, quarantine, dead_ids, due = (
                pipeline.execute()
            )
            now_ms = time[0] * 1000 + time[1] // 1000
            overdue: Any = self._client.zcount(
                keys.scheduled, "-inf", f"{now_ms / 1000 - OVERDUE_S:f}"
            )
            lists = self._lists(*sets)
            workers = self._workers(leases)
            failures, retry_failures = self._failures(dead_ids), self._failures(due)
            schedules = self._schedule_states()
        completed, retried, failed = (parse_number(count) or 0 for count in stats)
        return Survey(
            now_ms=now_ms,
            lists=lists,
            workers=workers,
            scheduled=scheduled,
            overdue=int(overdue),
            dead=dead,
            processing=processing,
            completed=completed,
            retried=retried,
            failed=failed,
            quarantine=quarantine.decode(errors="replace") if quarantine else None,
            recent_failures=failures,
            retry_failures=retry_failures,
            schedules=schedules,
        )

    def _lists(self, *sets: list[bytes]) -> tuple[WaitingList, ...]:
        *parked, suspects = sets
        names: list[tuple[str, str | None, bool, bytes]] = []
        for priority, types in zip(PRIORITIES, parked, strict=True):
            names.append((priority, None, False, self._keys.queue(priority).encode()))
            head = self._keys.parked_queue(priority, "").encode()
            names += [(priority, _shown(name), False, head + name) for name in types]
        for source in suspects:
            priority, _, job_type = _shown(source).partition(":")
            key = self._keys.suspect_queue("").encode() + source
            names.append((priority, job_type, True, key))
        pipeline: Any = self._client.pipeline(transaction=False)
        for *_, key in names:
            pipeline.llen(key)
            pipeline.lindex(key, -1)
        replies = pipeline.execute()
        lengths, heads = replies[::2], replies[1::2]
        since = self._waiting_since(heads)
        return tuple(
            WaitingList(priority, job_type, is_suspect, length, head, since.get(head))
            for (priority, job_type, is_suspect, _), length, head in zip(
                names, lengths, heads, strict=True
            )
        )

    def _waiting_since(self, heads: Iterable[bytes | None]) -> dict[bytes | None, datetime | None]:
        ids = [head for head in heads if head is not None]
        pipeline: Any = self._client.pipeline(transaction=False)
        for job_id in ids:
            pipeline.getrange(self._keys.job("").encode() + job_id, 0, _HEAD_BYTES - 1)
        bodies = read_all(pipeline)
        return {job_id: _ready_since(body) for job_id, body in zip(ids, bodies, strict=True)}

    def _workers(self, leases: list[tuple[bytes, float]]) -> tuple[WorkerStatus, ...]:
        pipeline: Any = self._client.pipeline(transaction=False)
        for worker_id, _ in leases:
            pipeline.hgetall(self._keys.worker("").encode() + worker_id)
            pipeline.hlen(self._keys.claims("").encode() + worker_id)
        replies = read_all(pipeline)
        return tuple(
            _worker_status(_shown(worker_id), until_ms, fields or {}, running or 0)
            for (worker_id, until_ms), fields, running in zip(
                leases, replies[::2], replies[1::2], strict=True
            )
        )

    def _failures(self, ids: list[bytes]) -> tuple[RecentFailure, ...]:
        if not ids:
            return ()
        head = self._keys.failure("").encode()
        stored: Any = self._client.mget([head + job_id for job_id in ids])
        decoded = [parse_fields(text) for text in stored]
        return tuple(
            RecentFailure(text_in(fields, "type") or "", parse_moment(fields.get("at")))
            for fields in decoded
            if fields
        )

    def _schedule_states(self) -> dict[str, ScheduleStatus]:
        pipeline: Any = self._client.pipeline(transaction=False)
        for name in self._schedules:
            pipeline.hmget(to_bytes(self._keys.schedule(name)), "next_run", "last_run")
            pipeline.exists(to_bytes(self._keys.schedule_lock(name)))
        replies = read_all(pipeline)
        times = [[parse_moment(each) for each in found or (None,) * 2] for found in replies[::2]]
        return {
            name: ScheduleStatus(next_run, last_run, is_locked == 1)
            for name, (next_run, last_run), is_locked in zip(
                self._schedules, times, replies[1::2], strict=True
            )
        }


def _ready_since(body: bytes | None) -> datetime | None:
    """When a job became ready; unknown for a delayed or retried one."""
    fields = parse_fields(body) or {}
    if fields.get("status") != "pending" or fields.get("attempts") or fields.get("scheduled_for"):
        return None
    return parse_moment(fields.get("updated_at")) or parse_moment(fields.get("created_at"))


def _worker_status(
    worker_id: str, until_ms: float, stored: dict[bytes, bytes], running: int
) -> WorkerStatus:
    fields = {_shown(name): _shown(value) for name, value in stored.items()}
    return WorkerStatus(
        worker_id=worker_id,
        pool=fields.get("pool", ""),
        host=fields.get("host", ""),
        pid=parse_number(fields.get("pid")) or 0,
        concurrency=parse_number(fields.get("concurrency")) or 0,
        priorities=tuple(filter(None, fields.get("priorities", "").split(","))),
        job_types=tuple(filter(None, fields.get("job_types", "").split(","))),
        running=running,
        seen_ms=parse_number(fields.get("seen_ms")) or 0,
        lease_until_ms=int(min(until_ms, _ENDLESS_MS)) if until_ms > 0 else 0,
        started_at=parse_moment(fields.get("started_at")),
        version=fields.get("version"),
        settings=fields.get("settings"),
        clock_ms=parse_number(fields.get("clock_ms")),
        finished=parse_number(fields.get("finished")),
        failed=parse_number(fields.get("failed")),
        busy_ms=parse_number(fields.get("busy_ms")),
        stuck=parse_number(fields.get("stuck")) or 0,
        schedules=parse_number(fields.get("schedules")) or 0,
    )


def _shown(value: bytes) -> str:
    """Text for people: bytes that are not UTF-8 are replaced."""
    return value.decode(errors="replace")
