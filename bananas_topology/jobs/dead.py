"""The dead list: jobs that will not be retried automatically. List, retry or purge them.

All operations read the list in bounded batches, so neither the server nor this process holds more
than one batch at a time. Jobs buried during a call are left for the next one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, NamedTuple

import redis

from bananas_topology.contract.values import PRIORITIES
from bananas_topology.errors import InvalidJob, RequestRejected
from bananas_topology.jobs import scripts
from bananas_topology.jobs.calls import Call, ScriptClient, Value
from bananas_topology.jobs.connection import translate_errors
from bananas_topology.jobs.job import decode, rewrite
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.stored import (
    error_of,
    integer_in,
    parse_fields,
    parse_moment,
    text_in,
    to_bytes,
    to_text,
)
from bananas_topology.system.clock import format_timestamp, wall_now

#: Number of dead jobs read in one round trip.
BATCH = 100

#: Maximum number of dead jobs that one page examines.
PAGE_EXAMINED = 2_000

#: A job to requeue: id, body, priority, type.
_NewEntry = tuple[bytes, bytes, str, str]

# Statuses in the body of a job that is not dead.
_LIVE_STATUSES = ("pending", "scheduled", "processing", "completed")


@dataclass(frozen=True, slots=True)
class DeadJob:
    """A dead job. `job_type` and `died_at` are None if unknown.

    `error` is the failure as ``Type: message``; `traceback` its end, "" if there is none.
    `is_readable`: the stored value is a job, which can be retried.
    """

    job_id: str
    job_type: str | None
    priority: str
    error: str
    traceback: str
    attempts: int
    died_at: datetime | None
    is_readable: bool


@dataclass(frozen=True, slots=True)
class DeadFilter:
    """Selects the dead jobs that match all given criteria; without any, all of them.

    `error` matches anywhere in the error, ignoring case. `older_than_ms` is the minimum time since
    the job died; a job without a known time of death matches.
    """

    job_ids: frozenset[str] | None = None
    job_type: str | None = None
    error: str | None = None
    older_than_ms: int | None = None

    def matches(self, job: DeadJob, now: datetime) -> bool:
        """Whether a job is selected."""
        if self.job_ids is not None and job.job_id not in self.job_ids:
            return False
        if self.job_type is not None and job.job_type != self.job_type:
            return False
        if self.error is not None and self.error.casefold() not in job.error.casefold():
            return False
        if self.older_than_ms is None or job.died_at is None:
            return True
        return now - job.died_at >= timedelta(milliseconds=self.older_than_ms)


class DeadPage(NamedTuple):
    """Some of the selected dead jobs, and the number of all dead jobs.

    `following` is the `distance` of the next page; None at the end.
    """

    jobs: Sequence[DeadJob]
    total: int
    following: int | None


#: Selects every dead job.
EVERYTHING = DeadFilter()


@dataclass(frozen=True, slots=True)
class RetriedDead:
    """The outcome of a retry: number of jobs requeued, and those that were not.

    `unreadable`: their ids. `rejected`: why the server rejects a job, for its size for example, by
    its id.
    """

    jobs: int
    unreadable: tuple[str, ...]
    rejected: Mapping[str, str]


class DeadJobs:
    """The dead jobs of one prefix.

    Raises (every method):
        RedisUnavailable, RedisUnsuitable: see connection.py. After RedisUnavailable, part of the
            work may have been done; all methods are safe to call again.
    """

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._scripts = ScriptClient(client)

    def close(self) -> None:
        """Close the connections; the next call opens another."""
        self._scripts.close()

    def count(self) -> int:
        """The number of dead jobs."""
        with translate_errors(self._client):
            return int(self._client.llen(self._keys.dead))

    def list(self, selected: DeadFilter = EVERYTHING) -> Iterator[DeadJob]:
        """Yield the selected dead jobs, newest first, reading them as they are consumed.

        Of jobs selected by id, no others are read.
        """
        now = wall_now()
        for entry in self._everything() if selected.job_ids is None else self._by_id(selected):
            if not entry.is_id_reused and selected.matches(entry.job, now):
                yield entry.job

    def _everything(self) -> Iterator[_Entry]:
        start = -self.count()
        while start < 0:
            stop = min(start + BATCH, 0)
            yield from self._read_range(start, stop - 1)
            start = stop

    def _by_id(self, selected: DeadFilter) -> Iterator[_Entry]:
        wanted = iter(map(to_bytes, selected.job_ids or ()))
        found: list[tuple[int, bytes]] = []
        while batch := list(islice(wanted, BATCH)):
            with translate_errors(self._client):
                pipeline: Any = self._client.pipeline(transaction=False)
                for job_id in batch:
                    pipeline.lpos(self._keys.dead, job_id)
                positions = pipeline.execute()
            found += [
                (at, each) for at, each in zip(positions, batch, strict=True) if at is not None
            ]
        newest_first = iter(each for _, each in sorted(found))
        while batch := list(islice(newest_first, BATCH)):
            yield from self._read(batch)

    def page(self, selected: DeadFilter, limit: int, distance: int | None = None) -> DeadPage:
        """Read up to `limit` of the selected dead jobs, newest first.

        `distance` counts from the end of the list, where burying moves nothing. If older jobs leave
        the list between two pages, some jobs are on both. Examines up to `PAGE_EXAMINED` jobs.
        """
        found: list[DeadJob] = []
        now, total = wall_now(), self.count()
        distance = total if distance is None else min(distance, total)
        last = max(distance - PAGE_EXAMINED, 0)
        while distance > last:
            stop = max(distance - BATCH, 0)
            for entry in self._read_range(-distance, -stop - 1):
                distance -= 1
                if not entry.is_id_reused and selected.matches(entry.job, now):
                    found.append(entry.job)
                    if len(found) == limit:
                        return DeadPage(found, total, distance or None)
            distance = min(distance, stop)
        return DeadPage(found, total, distance or None)

    def retry(self, selected: DeadFilter = EVERYTHING) -> RetriedDead:
        """Requeue the selected dead jobs, oldest first.

        Attempts, error, crashes, result, due time and expiry are reset; everything else, including
        id and priority, is kept.
        """
        now, jobs = wall_now(), 0
        unreadable: list[str] = []
        rejected: dict[str, str] = {}
        for section, entries in self._batches(selected, now):
            batch: list[_NewEntry] = []
            for job, body, is_id_reused in entries:
                if is_id_reused:
                    continue
                if job.is_readable and body is not None:
                    fresh = rewrite(
                        body, status="pending", attempts=0, updated_at=format_timestamp(now)
                    )
                    batch.append((to_bytes(job.job_id), fresh, job.priority, job.job_type or ""))
                else:
                    unreadable.append(job.job_id)
            jobs += self._retry(section, batch, rejected)
        return RetriedDead(jobs, tuple(unreadable), rejected)

    def _retry(
        self, section: _ListSection, batch: Sequence[_NewEntry], rejected: dict[str, str]
    ) -> int:
        """Requeue a batch or, if the server rejects it, smaller and smaller parts of it."""
        arguments = [value for entry in batch for value in entry]
        try:
            return self._run(scripts.RETRY_DEAD, section, arguments)
        except RequestRejected as error:
            if len(batch) == 1:
                rejected[to_text(batch[0][0])] = str(error)
                return 0
        middle, jobs = len(batch) // 2, 0
        for half in (batch[:middle], batch[middle:]):
            everywhere = _ListSection("", "")
            jobs += self._retry(everywhere, half, rejected)
            section.removed += everywhere.removed
        return jobs

    def purge(self, selected: DeadFilter = EVERYTHING) -> int:
        """Delete the selected dead jobs permanently; returns how many there were."""
        purged = 0
        for section, entries in self._batches(selected, wall_now()):
            arguments: list[Value] = []
            for job, body, is_id_reused in entries:
                scope = "" if is_id_reused else "rest" if body is None else "all"
                arguments += (to_bytes(job.job_id), scope)
            purged += self._run(scripts.PURGE_DEAD, section, arguments)
        return purged

    def _batches(
        self, selected: DeadFilter, now: datetime
    ) -> Iterator[tuple[_ListSection, Sequence[_Entry]]]:
        """Yield the selected entries, oldest first, and the section of the list they are in.

        Entries that `_run` removes are accounted for before the next batch is read.
        """
        if selected.job_ids is not None:
            ids = iter(sorted(map(to_bytes, selected.job_ids)))
            while batch := list(islice(ids, BATCH)):
                entries = self._read(batch)
                yield _ListSection("", ""), _select(entries, selected, now)
            return
        # No more than there were at the start: a retried job may fail and return at once.
        stop, left = -1, self.count()
        while left > 0 and (entries := self._read_range(stop - min(BATCH, left) + 1, stop)[::-1]):
            section = _ListSection(stop - len(entries) + 1, stop)
            left -= len(entries)
            if matching := _select(entries, selected, now):
                yield section, matching
            stop -= len(entries) - section.removed

    def _run(
        self, script: scripts.Script, section: _ListSection, arguments: Sequence[Value]
    ) -> int:
        if not arguments:
            return 0
        all_arguments = (self._keys.prefix, section.start, section.stop, *arguments)
        call = Call(script, (self._keys.dead,), all_arguments)
        jobs, section.removed = self._scripts.run_one(call)
        return int(jobs)

    def _read_range(self, start: int, stop: int) -> Sequence[_Entry]:
        """Read a range of the list, newest first."""
        with translate_errors(self._client):
            ids: Any = self._client.lrange(self._keys.dead, start, stop)
        return self._read(ids)

    def _read(self, ids: Sequence[bytes]) -> Sequence[_Entry]:
        if not ids:
            return []
        with translate_errors(self._client):
            bodies: Any = self._client.mget(_names(self._keys.job(""), ids))
            failures: Any = self._client.mget(_names(self._keys.failure(""), ids))
        jobs = [
            _dead_job(to_text(job_id), body, failure)
            for job_id, body, failure in zip(ids, bodies, failures, strict=True)
        ]
        return [
            _Entry(job, body, self._is_id_reused(job, body))
            for job, body in zip(jobs, bodies, strict=True)
        ]

    def _is_id_reused(self, job: DeadJob, body: bytes | None) -> bool:
        """Whether the id now belongs to a live job, although it is still in the dead list.

        The body of a dead job says so, or was unreadable when buried: its failure never expires.
        """
        if not job.is_readable or (parse_fields(body) or {}).get("status") not in _LIVE_STATUSES:
            return False
        with translate_errors(self._client):
            return self._client.ttl(to_bytes(self._keys.failure(job.job_id))) != -1


class _Entry(NamedTuple):
    """An entry of the dead list and what is stored under its id.

    `is_id_reused`: everything about the dead job has expired and a new job was enqueued with its
    id, which must be left alone.
    """

    job: DeadJob
    body: bytes | None
    is_id_reused: bool


@dataclass(slots=True)
class _ListSection:
    """A section of the list, counted from its end, or "" for all of it.

    `removed` is the number of entries removed from it.
    """

    start: int | str
    stop: int | str
    removed: int = 0


def _select(entries: Iterable[_Entry], selected: DeadFilter, now: datetime) -> list[_Entry]:
    return [entry for entry in entries if selected.matches(entry.job, now)]


def _names(prefix: str, ids: Iterable[bytes]) -> list[bytes]:
    return [prefix.encode() + job_id for job_id in ids]


def _dead_job(job_id: str, body: bytes | None, stored_failure: bytes | None) -> DeadJob:
    fields, failure = parse_fields(body) or {}, parse_fields(stored_failure) or {}
    priority = text_in(fields, "priority")
    return DeadJob(
        job_id=job_id,
        job_type=text_in(fields, "name"),
        priority=priority if priority in PRIORITIES else "normal",
        error=error_of(failure)
        or str(fields.get("error") or "unknown: its failure is no longer stored"),
        traceback=str(failure.get("traceback", "")),
        attempts=integer_in(fields, "attempts") or 0,
        died_at=parse_moment(failure.get("at")) or parse_moment(fields.get("updated_at")),
        is_readable=_is_job(body),
    )


def _is_job(body: bytes | None) -> bool:
    try:
        return body is not None and bool(decode(body).name)
    except InvalidJob:
        return False
