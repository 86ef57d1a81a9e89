"""Finding jobs: by state, type, pool or text, a page at a time.

A page examines a bounded number of jobs and bytes, and may be empty although more follow. A job
that does not change its state meanwhile is on at least one page, and on another one only if older
jobs have left the list that it is in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, Literal

import msgspec
import redis

from bananas_topology.errors import InvalidCursor
from bananas_topology.jobs.connection import translate_errors
from bananas_topology.jobs.inspect import job_status
from bananas_topology.jobs.job import DECODE_ERRORS
from bananas_topology.jobs.job_types import timeout_ms
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.places import Part, Place, Position, places_of
from bananas_topology.jobs.stored import (
    claimed_at,
    error_of,
    integer_in,
    moment_at,
    parse_fields,
    parse_moment,
    printable,
    read_all,
    text_in,
    to_bytes,
    to_text,
)

#: Maximum number of jobs that one page examines, and returns.
MAX_EXAMINED, MAX_PAGE = 2_000, 200

#: Jobs read in one round trip, and the total size at which a page ends.
_BATCH, _MAX_BYTES = 100, 16 * 2**20

#: Minimum cost of reading a place, in jobs examined: bounds the round trips of a page.
_MIN_COST = 25

#: Bytes of a job that are read and searched: its payload may have megabytes.
_HEAD_BYTES = 64 * 2**10

#: What may be searched for: a job's `status`.
State = Literal["pending", "scheduled", "processing", "completed", "failed"]


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Selects the jobs that match all given criteria.

    `pool` selects jobs running in it now. `text`
    matches anywhere in the id, the payload (as JSON) or the error, ignoring case.
    """

    state: str | None = None
    job_type: str | None = None
    pool: str | None = None
    text: str | None = None

    def matches(self, job: JobSummary, payload: str) -> bool:
        """Whether a job is selected; `payload` as JSON."""
        if self.state is not None and job.status != self.state:
            return False
        if self.job_type is not None and job.job_type != self.job_type:
            return False
        if self.pool is not None and job.pool != self.pool:
            return False
        if self.text is None:
            return True
        wanted = self.text.casefold()
        return any(wanted in each.casefold() for each in (job.job_id, payload, job.error or ""))


@dataclass(frozen=True, slots=True)
class JobSummary:
    """A job in a list; None is unknown or not applicable. `pool` and `worker_id` run it now."""

    job_id: str
    job_type: str | None
    status: str
    priority: str | None
    attempts: int | None
    created_at: datetime | None
    due_at: datetime | None
    worker_id: str | None
    pool: str | None
    started_at: datetime | None
    timeout_ms: int | None
    completed_at: datetime | None
    error: str | None


@dataclass(frozen=True, slots=True)
class JobPage:
    """Some of the selected jobs. `cursor` continues after them; None at the end."""

    jobs: tuple[JobSummary, ...]
    cursor: str | None


class _Cursor(msgspec.Struct, array_like=True):
    """Where a search continues: a place, and a position there (None: its start)."""

    place: str
    position: Position | None


class Search:
    """Finds jobs of one prefix.

    Raises (every method):
        RedisUnavailable, RedisUnsuitable: see connection.py.
    """

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    def page(self, selected: JobFilter, limit: int, cursor: str | None = None) -> JobPage:
        """Find up to `limit` jobs, from the start or from where an earlier page ended.

        Raises:
            InvalidCursor: the cursor is not one of an earlier page.
        """
        where = _Cursor("", None) if cursor is None else _decode(cursor)
        state = "processing" if selected.pool is not None else selected.state
        with translate_errors(self._client):
            places = places_of(self._client, self._keys, state)
            following = [each for each in places if each.name >= where.place]
            return self._fill(selected, min(limit, MAX_PAGE), following, where)

    def _fill(
        self, selected: JobFilter, limit: int, places: Sequence[Place], where: _Cursor
    ) -> JobPage:
        found: list[JobSummary] = []
        examined = size = 0
        for place in places:
            position = where.position if place.name == where.place else None
            while True:
                if len(found) >= limit or examined >= MAX_EXAMINED or size >= _MAX_BYTES:
                    return JobPage(tuple(found), _encode(_Cursor(place.name, position)))
                entries, following = self._read_part(place, position)
                examined += max(len(entries), _MIN_COST)
                stored = self._read([each.job_id for each in entries])
                for (_, after), (job, payload, read_bytes) in zip(entries, stored, strict=True):
                    size += read_bytes
                    if job is not None and selected.matches(job, payload):
                        found.append(job)
                        if len(found) == limit and after is not None and entries[-1][1] != after:
                            return JobPage(tuple(found), _encode(_Cursor(place.name, after)))
                if following is None:
                    break
                position = following
        return JobPage(tuple(found), None)

    def _read_part(self, place: Place, position: Position | None) -> Part:
        try:
            return place.read(self._client, position, _BATCH)
        except (TypeError, ValueError) as error:
            cursor = _encode(_Cursor(place.name, position))
            raise InvalidCursor(f'cursor: expected one of this search, got "{cursor}"') from error

    def _read(self, ids: Sequence[bytes]) -> Iterator[tuple[JobSummary | None, str, int]]:
        """Yield for each id its job, None if there is none, its payload, and the bytes read."""
        if not ids:
            return
        keys, client = self._keys, self._client
        members: Any = client.zrange(keys.workers, 0, -1)
        workers = [to_text(each) for each in members]
        pipeline = client.pipeline(transaction=False)
        names: Any = list(ids)
        for job_id in ids:
            pipeline.getrange(keys.job("").encode() + job_id, 0, _HEAD_BYTES - 1)
            pipeline.hmget(keys.result("").encode() + job_id, "status", "completed_at", "error")
            pipeline.getrange(keys.failure("").encode() + job_id, 0, _HEAD_BYTES - 1)
        pipeline.zmscore(keys.scheduled, names)
        for worker_id in workers:
            pipeline.hmget(to_bytes(keys.claims(worker_id)), names)
            pipeline.hmget(to_bytes(keys.worker(worker_id)), "pool", "timeouts")
        replies = iter(read_all(pipeline))
        stored = [tuple(islice(replies, 3)) for _ in ids]
        none = (None,) * len(ids)
        dues = next(replies) or none
        claims = [
            (worker_id, next(replies) or none, next(replies) or (None, None))
            for worker_id in workers
        ]
        for n, job_id in enumerate(ids):
            body, result, failure = stored[n]
            holders = [(w, fences[n], *about) for w, fences, about in claims if fences[n]]
            if body or failure or (result and result[0]):
                yield _summary(job_id, body or b"", result, failure, dues[n], holders)
            else:
                yield None, "", 0


def _summary(
    job_id: bytes,
    body: bytes,
    result: list[bytes | None] | None,
    failure: bytes | None,
    due: float | None,
    holders: list[tuple[str, bytes, bytes | None, bytes | None]],
) -> tuple[JobSummary, str, int]:
    fields = parse_fields(body)
    payload = body.decode(errors="replace")
    if fields is None:
        fields = _fields_of_head(body) if len(body) == _HEAD_BYTES else {}
    elif "payload" in fields:
        payload = msgspec.json.encode(fields["payload"]).decode(errors="replace")
    outcome, completed_at, error = (
        each.decode(errors="replace") if each else None for each in result or (None,) * 3
    )
    last = parse_fields(failure) or {}
    worker_id, fence, pool, timeouts = holders[0] if holders else (None, b"", None, None)
    job_type = text_in(fields, "name")
    status = job_status(fields, {"status": outcome or ""}, due, bool(fence))
    summary = JobSummary(
        job_id=to_text(job_id),
        job_type=job_type,
        status=status,
        priority=text_in(fields, "priority"),
        attempts=integer_in(fields, "attempts"),
        created_at=parse_moment(fields.get("created_at")),
        due_at=None if due is None else moment_at(due),
        worker_id=None if worker_id is None else printable(worker_id),
        pool=pool.decode(errors="replace") if pool else None,
        started_at=claimed_at(fence) if fence else None,
        timeout_ms=timeout_ms(timeouts or b"", job_type or ""),
        completed_at=parse_moment(completed_at),
        error=None
        if status == "completed"
        else error_of(last) or error or text_in(fields, "error"),
    )
    return summary, payload, len(body) + len(failure or b"")


#: The fields before the payload, in a body that is too long to be parsed.
_HEAD_FIELD = re.compile(
    rb'[{,] ?"(name|priority|status|created_at|attempts)": ?("[^"\\]*"|\d+)(?=[,}])'
)


def _fields_of_head(head: bytes) -> dict[str, Any]:
    """The fields that a long body begins with."""
    start = head.partition(b'"payload"')[0]
    return {name.decode(): msgspec.json.decode(value) for name, value in _HEAD_FIELD.findall(start)}


def _encode(cursor: _Cursor) -> str:
    return msgspec.json.encode(cursor).hex()


def _decode(text: str) -> _Cursor:
    try:
        return msgspec.json.decode(bytes.fromhex(text), type=_Cursor)
    except (ValueError, *DECODE_ERRORS) as error:
        raise InvalidCursor(f'cursor: expected one of an earlier page, got "{text}"') from error
