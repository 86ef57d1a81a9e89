"""Where buried jobs lie: look at them, let them run again, forget them.

All of it goes through the dead in bounded batches, so neither the server nor this process holds
more than one batch at a time, however many there are. What is buried meanwhile is left for the
next time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec
import redis

from bananas_topology.contract.worker import PRIORITIES
from bananas_topology.errors import InvalidJob
from bananas_topology.jobs import scripts
from bananas_topology.jobs.calls import Call, Caller, Value
from bananas_topology.jobs.connection import translate_errors
from bananas_topology.jobs.job import decode, rewrite
from bananas_topology.jobs.keys import Keys
from bananas_topology.system.clock import format_timestamp, parse_timestamp, wall_now

#: Dead jobs that are looked at in one round trip.
BATCH = 100


@dataclass(frozen=True, slots=True)
class DeadJob:
    """A buried job. `job_type` and `died_at` are None where nothing says them.

    `error` is the failure as ``Type: message``; `traceback` its end, "" where there is none.
    `is_readable`: what is stored is a job, and could run again.
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
    """Which of the dead are meant: those that meet all that is given; nothing given means all.

    `error` is found anywhere in the error, in upper or lower case. `older_than_ms` is how long ago
    a job must have died at the least; one of which that is not known counts as old.
    """

    job_ids: frozenset[str] | None = None
    job_type: str | None = None
    error: str | None = None
    older_than_ms: int | None = None

    def takes(self, job: DeadJob, now: datetime) -> bool:
        """Whether a job is meant."""
        if self.job_ids is not None and job.job_id not in self.job_ids:
            return False
        if self.job_type is not None and job.job_type != self.job_type:
            return False
        if self.error is not None and self.error.casefold() not in job.error.casefold():
            return False
        if self.older_than_ms is None or job.died_at is None:
            return True
        return now - job.died_at >= timedelta(milliseconds=self.older_than_ms)


#: All of the dead.
EVERYTHING = DeadFilter()


@dataclass(frozen=True, slots=True)
class Revival:
    """What a retry did: jobs that run again, and ids that stay dead because they are no jobs."""

    jobs: int
    unreadable: tuple[str, ...]


class DeadJobs:
    """The dead of one prefix.

    Raises (every method):
        RedisUnavailable, RedisUnsuitable: see connection.py. After RedisUnavailable some may have
            been done; all methods may be called again.
    """

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._caller = Caller(client)

    def close(self) -> None:
        """Close the connections; the next call opens another."""
        self._caller.close()

    def count(self) -> int:
        """How many there are, in all."""
        with translate_errors(self._client):
            return int(self._client.llen(self._keys.dead))

    def list(self, chosen: DeadFilter = EVERYTHING) -> Iterator[DeadJob]:
        """Yield the dead that are meant, the latest first, read as they are asked for."""
        now, start = wall_now(), -self.count()
        while start < 0:
            stop = min(start + BATCH, 0)
            for job, _, lives in self._read(start, stop - 1):
                if not lives and chosen.takes(job, now):
                    yield job
            start = stop

    def retry(self, chosen: DeadFilter = EVERYTHING) -> Revival:
        """Let the dead that are meant run again at once, the oldest first.

        They start afresh: no attempts, error, crashes, result, due time or expiry; everything else,
        priority and id included, is as it was.
        """
        now, jobs = wall_now(), 0
        unreadable: list[str] = []
        for place, met in self._batches(chosen, now):
            arguments: list[Value] = []
            for job, body, lives in met:
                if lives:
                    continue
                if job.is_readable and body is not None:
                    fresh = rewrite(
                        body, status="pending", attempts=0, updated_at=format_timestamp(now)
                    )
                    arguments += (_bytes(job.job_id), fresh, job.priority, job.job_type or "")
                else:
                    unreadable.append(job.job_id)
            jobs += self._run(scripts.RETRY_DEAD, place, arguments)
        return Revival(jobs, tuple(unreadable))

    def purge(self, chosen: DeadFilter = EVERYTHING) -> int:
        """Forget the dead that are meant, for ever; how many there were."""
        purged = 0
        for place, met in self._batches(chosen, wall_now()):
            arguments: list[Value] = []
            for job, body, lives in met:
                forgotten = "" if lives else "rest" if body is None else "all"
                arguments += (_bytes(job.job_id), forgotten)
            purged += self._run(scripts.PURGE_DEAD, place, arguments)
        return purged

    def _batches(self, chosen: DeadFilter, now: datetime) -> Iterator[tuple[_Place, _Batch]]:
        """Yield those that are meant from the oldest on, and where in the list they lie.

        What `_run` takes out of the list is taken into account before the next batch is read.
        """
        if chosen.job_ids is not None:
            for ids in _batched(sorted(map(_bytes, chosen.job_ids)), BATCH):
                met = [each for each in self._look(ids) if chosen.takes(each.job, now)]
                yield _Place("", ""), met
            return
        # No more than lay there at first: what runs again may be back among them at once.
        to, left = -1, self.count()
        while left > 0 and (batch := self._read(to - min(BATCH, left) + 1, to)[::-1]):
            place = _Place(to - len(batch) + 1, to)
            left -= len(batch)
            met = [each for each in batch if chosen.takes(each.job, now)]
            if met:
                yield place, met
            to -= len(batch) - place.taken

    def _run(self, script: scripts.Script, place: _Place, arguments: Sequence[Value]) -> int:
        if not arguments:
            return 0
        head = (self._keys.prefix, place.start, place.stop)
        jobs, place.taken = self._caller.run_one(
            Call(script, (self._keys.dead,), (*head, *arguments))
        )
        return int(jobs)

    def _read(self, start: int, stop: int) -> _Batch:
        """Read the dead between two places, with their bodies, the latest first."""
        with translate_errors(self._client):
            ids: Any = self._client.lrange(self._keys.dead, start, stop)
        return self._look(ids)

    def _look(self, ids: Sequence[bytes]) -> _Batch:
        if not ids:
            return []
        with translate_errors(self._client):
            bodies: Any = self._client.mget(self._names(self._keys.job(""), ids))
            failures: Any = self._client.mget(self._names(self._keys.failure(""), ids))
        jobs = [
            _dead_job(_text(each[0]), *each[1:]) for each in zip(ids, bodies, failures, strict=True)
        ]
        return [
            _Met(job, body, self._lives(job, body)) for job, body in zip(jobs, bodies, strict=True)
        ]

    def _lives(self, job: DeadJob, body: bytes | None) -> bool:
        """Whether a job is not dead, whatever the list says.

        What is dead says so, or was set aside: then its failure is kept without end.
        """
        if not job.is_readable or _fields(body).get("status") not in _OF_THE_LIVING:
            return False
        with translate_errors(self._client):
            return self._client.ttl(_bytes(self._keys.failure(job.job_id))) != -1

    def _names(self, head: str, ids: Iterable[bytes]) -> _Names:
        return [head.encode() + job_id for job_id in ids]


# What the body of a job says that is not dead.
_OF_THE_LIVING = ("pending", "scheduled", "processing", "completed")

_Names = list[bytes]


class _Met(NamedTuple):
    """What is found in a place of the list; `lives`: a new job of the id, to be left alone.

    Such a one was enqueued when nothing was kept of the dead one any more but its place.
    """

    job: DeadJob
    body: bytes | None
    lives: bool


_Batch = list[_Met]


@dataclass(slots=True)
class _Place:
    """A piece of the list, counted from its end, or "" for all; `taken` is what went out of it."""

    start: int | str
    stop: int | str
    taken: int = 0


def _batched(ids: list[bytes], size: int) -> Iterator[list[bytes]]:
    """Cut a list into pieces."""
    return (ids[start : start + size] for start in range(0, len(ids), size))


def _dead_job(job_id: str, body: bytes | None, stored_failure: bytes | None) -> DeadJob:
    fields, failure = _fields(body), _fields(stored_failure)
    error = ": ".join(filter(None, (failure.get("type"), failure.get("message"))))
    priority = fields.get("priority")
    name = fields.get("name")
    return DeadJob(
        job_id=job_id,
        job_type=name if isinstance(name, str) else None,
        priority=priority if priority in PRIORITIES else "normal",
        error=error or str(fields.get("error") or "unknown: nothing is kept of its failure"),
        traceback=str(failure.get("traceback", "")),
        attempts=fields["attempts"] if isinstance(fields.get("attempts"), int) else 0,
        died_at=_moment(failure.get("at")) or _moment(fields.get("updated_at")),
        is_readable=_is_job(body),
    )


def _is_job(body: bytes | None) -> bool:
    try:
        return body is not None and bool(decode(body).name)
    except InvalidJob:
        return False


def _fields(text: bytes | None) -> dict[str, Any]:
    try:
        fields = msgspec.json.decode(text or b"{}")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def _moment(text: object) -> datetime | None:
    try:
        return parse_timestamp(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _text(job_id: bytes) -> str:
    return job_id.decode(errors="surrogateescape")


def _bytes(job_id: str) -> bytes:
    return job_id.encode(errors="surrogateescape")
