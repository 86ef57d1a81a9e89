"""Reads the schedules: what they enqueue, and when. Read-only.

Schedulers store the effective definitions (worker/scheduler.py), so no topology is needed. Those of
the Go implementation do not, so their schedules are not listed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypedDict

import msgspec
import redis

from bananas_topology.errors import ScheduleNotFound
from bananas_topology.jobs.connection import translate_errors
from bananas_topology.jobs.job import DECODE_ERRORS
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.stored import parse_moment, printable, read_all, to_text
from bananas_topology.jobs.timestamps import Timestamp, timestamp

#: Milliseconds after which a schedule counts as removed if schedulers still check others. They
#: check each one every few seconds. While no scheduler runs, all are listed.
UNSEEN_MS = 30_000


class Definition(msgspec.Struct, frozen=True):
    """A schedule as in `contract.jobs.Schedule`, with the payload as JSON."""

    cron: str
    job: str
    timezone: str = "UTC"
    payload: msgspec.Raw = msgspec.Raw(b"null")
    priority: str = "normal"


@dataclass(frozen=True, slots=True)
class ScheduleView:
    """A schedule with its next and last occurrence, if any."""

    name: str
    definition: Definition
    next_at: datetime | None
    last_at: datetime | None


@dataclass(frozen=True, slots=True)
class ScheduleList:
    """The schedules, sorted by name, and the number of live workers that run schedules."""

    schedules: tuple[ScheduleView, ...]
    schedulers: int


class ScheduleReader:
    """Reads the schedules of one prefix, in two round trips.

    Raises (every method):
        RedisUnavailable, RedisUnsuitable: see connection.py.
    """

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    def read(self) -> ScheduleList:
        """List the schedules."""
        keys = self._keys
        with translate_errors(self._client):
            pipeline: Any = self._client.pipeline(transaction=False)
            pipeline.time()
            pipeline.zrange(keys.workers, 0, -1, withscores=True)
            pipeline.zrange(keys.schedule_seen, 0, -1, withscores=True)
            pipeline.hgetall(keys.schedule_definitions)
            time, leases, seen, stored = pipeline.execute()
            alive = [worker_id for worker_id, until_ms in leases if until_ms > time[0] * 1000]
            names = sorted(_present(seen) & stored.keys())
            for worker_id in alive:
                pipeline.hget(keys.worker("").encode() + worker_id, "schedules")
            for name in names:
                pipeline.hmget(keys.schedule("").encode() + name, "next_run", "last_run")
            replies = read_all(pipeline)
        schedules = replies[: len(alive)]
        times = [found or [None, None] for found in replies[len(alive) :]]
        return ScheduleList(
            tuple(_views(names, stored, times)),
            schedulers=sum(count not in (None, b"0") for count in schedules),
        )

    def definition(self, name: str) -> Definition:
        """The definition of the schedule with this name.

        Raises:
            ScheduleNotFound: no scheduler runs one of this name.
        """
        for schedule in self.read().schedules:
            if schedule.name == name:
                return schedule.definition
        raise ScheduleNotFound(f'no schedule has the name "{name}"; see GET /schedules')


def _present(seen: list[tuple[bytes, float]]) -> set[bytes]:
    """The names of schedules that still exist; `seen` is sorted by time."""
    since = seen[-1][1] - UNSEEN_MS if seen else 0.0
    return {name for name, at_ms in seen if at_ms >= since}


def _views(
    names: list[bytes], stored: dict[bytes, bytes], times: list[list[bytes | None]]
) -> Iterator[ScheduleView]:
    for name, (next_run, last_run) in zip(names, times, strict=True):
        try:
            definition = msgspec.json.decode(stored[name], type=Definition)
        except DECODE_ERRORS:
            continue  # of another version; schedulers of this one replace it
        yield ScheduleView(
            to_text(name), definition, parse_moment(next_run), parse_moment(last_run)
        )


class ScheduleJson(TypedDict):
    """A schedule: the job that it enqueues, and its next and last occurrence."""

    name: str
    job: str
    cron: str
    timezone: str
    priority: str
    payload: Any
    next_at: Timestamp | None
    last_at: Timestamp | None


class SchedulesJson(TypedDict):
    """The schedules, sorted by name. `schedulers`: number of live workers that run schedules."""

    schedules: list[ScheduleJson]
    schedulers: int


def schedules_json(read: ScheduleList) -> SchedulesJson:
    """Describe the schedules."""
    return {
        "schedules": [_schedule(each) for each in read.schedules],
        "schedulers": read.schedulers,
    }


def _schedule(view: ScheduleView) -> ScheduleJson:
    definition = view.definition
    return {
        "name": printable(view.name),
        "job": definition.job,
        "cron": definition.cron,
        "timezone": definition.timezone,
        "priority": definition.priority,
        "payload": definition.payload,
        "next_at": timestamp(view.next_at),
        "last_at": timestamp(view.last_at),
    }
