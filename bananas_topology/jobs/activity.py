"""The jobs running now, and the counters. Read-only.

Cheap enough to be read every second: four round trips, and a bounded number of claims and bytes
however many jobs run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import redis

from bananas_topology.jobs.connection import translate_errors
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.stored import (
    HEAD_BYTES,
    claimed_at,
    field_of_head,
    parse_number,
    printable,
    read_all,
    server_time,
    to_bytes,
    to_text,
)

#: Maximum number of claims that one reading returns.
JOB_LIMIT = 1_000


@dataclass(frozen=True, slots=True)
class RunningJob:
    """A job that a worker holds. `job_type` is "" if it cannot be read from the job's first bytes.

    `claimed_at` is by the server's clock; None if it is unknown, as an unknown `priority` is "".
    """

    job_id: str
    job_type: str
    priority: str
    worker_id: str
    claimed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Activity:
    """What runs. `at` is the server's time.

    `jobs` is a random sample if there are more than `JOB_LIMIT`. `completed` and `failed` (dead)
    count since the prefix was first used.
    """

    at: datetime
    jobs: tuple[RunningJob, ...]
    running: int
    scheduled: int
    dead: int
    newest_dead: str | None
    completed: int
    failed: int


class ActivityReader:
    """Reads the activity of one prefix repeatedly; job types are read once per job. Thread-safe.

    Raises (every method):
        RedisUnavailable, RedisUnsuitable: see connection.py.
    """

    def __init__(self, client: redis.Redis, keys: Keys, limit: int = JOB_LIMIT) -> None:
        self._client = client
        self._keys = keys
        self._limit = limit
        self._types: dict[bytes, str] = {}

    def read(self) -> Activity:
        """Read what runs now."""
        keys = self._keys
        with translate_errors(self._client):
            pipeline = self._client.pipeline(transaction=False)
            pipeline.time()
            pipeline.zrange(keys.workers, 0, -1)
            pipeline.hmget(keys.stats, "completed", "failed")
            pipeline.zcard(keys.scheduled)
            pipeline.llen(keys.dead)
            pipeline.lindex(keys.dead, 0)
            clock, workers, (completed, failed), scheduled, dead, newest = pipeline.execute()
            held = self._held(workers)
            jobs = self._jobs(held)
        return Activity(
            at=server_time(clock),
            jobs=jobs,
            running=sum(held.values()),
            scheduled=scheduled,
            dead=dead,
            newest_dead=None if newest is None else to_text(newest),
            completed=parse_number(completed) or 0,
            failed=parse_number(failed) or 0,
        )

    def running(self) -> tuple[RunningJob, ...]:
        """Read the jobs that run now; random ones if these are more than the limit."""
        with translate_errors(self._client):
            members: Any = self._client.zrange(self._keys.workers, 0, -1)
            return self._jobs(self._held(members))

    def _held(self, workers: Sequence[bytes]) -> dict[str, int]:
        """How many jobs each worker holds."""
        pipeline = self._client.pipeline(transaction=False)
        for worker_id in workers:
            pipeline.hlen(self._keys.claims("").encode() + worker_id)
        counts = [count or 0 for count in read_all(pipeline)]
        return dict(zip(map(to_text, workers), counts, strict=True))

    def _jobs(self, held: dict[str, int]) -> tuple[RunningJob, ...]:
        claims = self._claims(held)
        types = self._types = self._read_types(claims)
        return tuple(_running_job(*claim, types) for claim in claims)

    def _claims(self, held: dict[str, int]) -> list[tuple[str, bytes, bytes]]:
        """Worker id, job id and fence of each claim; the limit is divided among the workers."""
        share = min(1.0, self._limit / max(1, sum(held.values())))
        busy = [worker_id for worker_id, count in held.items() if count]
        pipeline = self._client.pipeline(transaction=False)
        for worker_id in busy:
            count = max(1, int(held[worker_id] * share))
            pipeline.hrandfield(to_bytes(self._keys.claims(worker_id)), count, withvalues=True)
        return [
            (worker_id, reply[i], reply[i + 1])
            for worker_id, reply in zip(busy, read_all(pipeline), strict=True)
            for i in range(0, len(reply or ()), 2)
        ]

    def _read_types(self, claims: list[tuple[str, bytes, bytes]]) -> dict[bytes, str]:
        """The types by id of the claimed jobs, known from the last reading or read now."""
        types = {job_id: self._types.get(job_id) for _, job_id, _ in claims}
        unknown = [job_id for job_id, job_type in types.items() if job_type is None]
        pipeline = self._client.pipeline(transaction=False)
        for job_id in unknown:
            pipeline.getrange(to_bytes(self._keys.job(to_text(job_id))), 0, HEAD_BYTES - 1)
        for job_id, head in zip(unknown, read_all(pipeline), strict=True):
            types[job_id] = field_of_head(head or b"", "name")
        return {job_id: job_type or "" for job_id, job_type in types.items()}


def _running_job(
    worker_id: str, job_id: bytes, fence: bytes, types: Mapping[bytes, str]
) -> RunningJob:
    source = to_text(fence.partition(b"|")[2].rpartition(b"|")[0])
    priority, _, parked_type = source.partition(":")
    return RunningJob(
        job_id=to_text(job_id),
        job_type=parked_type or types[job_id],
        priority=printable(priority),
        worker_id=printable(worker_id),
        claimed_at=claimed_at(fence),
    )
