"""Events for subscribers: finished jobs, workers that join and leave, and counters.

While there is a subscriber, scripts and workers append events to one stream. Redis assigns their
ids, so these are valid for all readers. The stream keeps the newest events: a subscriber that
returns receives those that it missed, or the information that some are lost. Counters are not in
the stream; every reader reads them itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, Self, TypedDict

import redis

from bananas_topology.jobs import scripts
from bananas_topology.jobs.calls import Call, ScriptClient
from bananas_topology.jobs.inspect import Overview
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.stored import parse_fields
from bananas_topology.jobs.timestamps import Timestamp, timestamp
from bananas_topology.jobs.views import BacklogJson, backlog_json
from bananas_topology.system.clock import format_timestamp

#: Milliseconds for which events are still published after the last subscriber has gone. One that
#: returns within this time can resume.
SUBSCRIBED_MS = 60_000


class EventId(NamedTuple):
    """The id of an event: when it was published, in Unix milliseconds, and its number then."""

    at_ms: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """An id as `str` writes it; None if the text is not one."""
        match = re.fullmatch(r"(\d{1,15})-(\d{1,15})", text, re.ASCII)
        return cls(int(match[1]), int(match[2])) if match else None

    def __str__(self) -> str:
        return f"{self.at_ms}-{self.number}"


@dataclass(frozen=True, slots=True)
class Event:
    """An event of the stream. `kind`: "job" or "worker"."""

    id: EventId
    kind: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class EventPage:
    """The `events` after some id, up to `newest`, at a time by the server's clock.

    Events have been published without a gap since `since_ms`, in Unix milliseconds. The stream
    holds `kept` events; if it `is_full`, older ones may have been dropped.
    """

    at: datetime
    since_ms: int
    newest: EventId
    kept: int
    is_full: bool
    events: tuple[Event, ...]

    def after(self, event_id: EventId) -> tuple[Event, ...] | None:
        """The events after an id; None if some may be lost.

        The id must not be before the one that this page was read from.
        """
        if not _before(self.since_ms) <= event_id <= self.newest:
            return None
        later = tuple(event for event in self.events if event.id > event_id)
        return None if self.is_full and len(later) == self.kept else later


class EventReader:
    """Reads the events of one prefix; each call keeps the subscription alive. Thread-safe."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._keys = keys
        self._scripts = ScriptClient(client)

    def read(self, after: EventId | None) -> EventPage:
        """Read the events after an id; with None, only the id of the newest one.

        Raises:
            RedisUnavailable, RedisUnsuitable: see connection.py.
        """
        keys = (self._keys.subscribed, self._keys.events, self._keys.stats)
        arguments = (SUBSCRIBED_MS, "" if after is None else str(after))
        now_ms, since_ms, newest, kept, is_full, *entries = self._scripts.run_one(
            Call(scripts.READ_EVENTS, keys, arguments)
        )
        return EventPage(
            at=datetime.fromtimestamp(int(now_ms) / 1000, UTC),
            since_ms=int(since_ms),
            newest=EventId.parse(newest.decode()) or _before(int(since_ms)),
            kept=kept,
            is_full=is_full == 1,
            events=tuple(event for entry in entries if (event := _event(*entry))),
        )

    def close(self) -> None:
        """Close the connections."""
        self._scripts.close()


def _event(entry_id: bytes, fields: list[bytes]) -> Event | None:
    """An entry of the stream; None if it was not written by these scripts."""
    event_id, data = EventId.parse(entry_id.decode()), parse_fields(fields[1])
    kind = fields[0].decode(errors="replace")
    if event_id is None or data is None or kind not in ("job", "worker"):
        return None
    return Event(event_id, kind, {"at": _at(event_id), **data})


def _before(at_ms: int) -> EventId:
    """An id before those of all events since a time."""
    return EventId(at_ms - 1, 0)


def _at(event_id: EventId) -> str:
    return format_timestamp(datetime.fromtimestamp(event_id.at_ms / 1000, UTC))


class JobEventJson(TypedDict):
    """Event `job`: a run has ended. At high rates these are a sample, failures first.

    `dead`: the job does not run again; `retried`: it does. `error` is why it failed.
    """

    at: Timestamp
    id: str
    name: str | None
    outcome: Literal["completed", "retried", "dead"]
    duration_ms: int
    attempt: int
    worker_id: str
    pool: str
    error: str | None


class WorkerEventJson(TypedDict):
    """Event `worker`: a worker has joined or left, by itself or because its lease has expired."""

    at: Timestamp
    id: str
    pool: str
    change: Literal["joined", "left"]


class CountersJson(TypedDict):
    """Event `counters`: queues and workers now.

    By priority: the number of `ready` jobs, and when the `oldest` was created. `slots` and
    `running` are sums over the live `workers`. `completed` jobs and `failed` runs are counted since
    the prefix was first used.
    """

    at: Timestamp
    backlog: BacklogJson
    ready: dict[str, int]
    oldest: dict[str, Timestamp | None]
    workers: int
    slots: int
    running: int
    completed: int
    failed: int


def counters_json(overview: Overview, at: datetime) -> CountersJson:
    """Describe the state at a time."""
    return {
        "at": format_timestamp(at),
        "backlog": backlog_json(overview.backlog),
        "ready": {depth.priority: depth.total for depth in overview.depths},
        "oldest": {depth.priority: timestamp(depth.oldest) for depth in overview.depths},
        "workers": len(overview.workers),
        "slots": sum(worker.concurrency for worker in overview.workers),
        "running": sum(worker.running for worker in overview.workers),
        "completed": overview.backlog.completed,
        "failed": overview.failed,
    }
