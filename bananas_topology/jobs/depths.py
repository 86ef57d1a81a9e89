"""The number of ready jobs, read at a cost that does not grow with the backlog.

Every job type with parked jobs has a list of its own. The lists are read a page at a time up to a
maximum, so that a producer of ten thousand job types delays neither the reader nor the server. Of a
job, only its creation time is read (see depths.lua).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bananas_topology.contract.values import PRIORITIES
from bananas_topology.jobs import scripts
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.stored import parse_moment, printable, to_text

#: Number of lists that one call reads: bounds how long it blocks the server.
PAGE = 250

#: Maximum number of lists read of each set.
MAX_TYPES = 10_000


@dataclass(frozen=True, slots=True)
class ReadyList:
    """A list of ready jobs. `oldest`: when its next job was created, if known."""

    count: int
    oldest: datetime | None


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """The ready jobs of one priority.

    `shared` is the priority's queue. `parked` are, by type, jobs that a worker without a handler
    for them moved out of it; `suspects`, by type, jobs that run alone because workers crashed with
    them. `unhandled` lists the types of both for which no running worker of this priority has a
    handler. `omitted` counts the types that were not read because there are too many.
    """

    priority: str
    shared: ReadyList
    parked: Mapping[str, ReadyList]
    suspects: Mapping[str, ReadyList] = field(default_factory=dict)
    unhandled: tuple[str, ...] = ()
    omitted: int = 0

    @property
    def lists(self) -> tuple[ReadyList, ...]:
        """All lists of this priority that were read."""
        return (self.shared, *self.parked.values(), *self.suspects.values())

    @property
    def total(self) -> int:
        """The number of ready jobs of this priority; a lower bound if types were omitted."""
        return sum(each.count for each in self.lists) + self.omitted

    @property
    def oldest(self) -> datetime | None:
        """Creation time of the oldest job among the next ones of all lists."""
        return min((each.oldest for each in self.lists if each.oldest), default=None)

    @property
    def oldest_by_type(self) -> dict[str, datetime]:
        """Creation time of the oldest job of each type that has a list of its own, if known."""
        found: dict[str, datetime] = {}
        for name, each in (*self.parked.items(), *self.suspects.items()):
            if each.oldest is not None:
                found[name] = min(each.oldest, found.get(name, each.oldest))
        return found


class _SetReading:
    """The lists that one set names, while they are being read."""

    def __init__(self, set_key: str, shared_key: str | None, infix: str) -> None:
        self._keys = [set_key] if shared_key is None else [set_key, shared_key]
        self._infix = infix
        self._cursor: bytes = b"0"
        self._names_in_set = self._names_read = 0
        self.is_complete = False
        self.shared = ReadyList(0, None)
        self.lists: dict[str, ReadyList] = {}

    @property
    def omitted(self) -> int:
        """Number of lists that were not read."""
        return 0 if self.is_complete else max(0, self._names_in_set - self._names_read)

    def wants(self, max_types: int) -> bool:
        """Whether there is more to read, up to a maximum."""
        return not self.is_complete and self._names_read < max_types

    def request(self, pipeline: Any, prefix: str, count: int) -> None:
        """Add the call that reads the next lists to a pipeline."""
        source = scripts.DEPTHS.source
        pipeline.eval(
            source, len(self._keys), *self._keys, prefix, self._infix, self._cursor, count
        )

    def receive(self, reply: list[Any]) -> None:
        """Receive the reply to that call."""
        is_first = self._cursor == b"0"
        self._cursor, self._names_in_set, shared, created_at, *rest = reply
        self.is_complete = self._cursor == b"0"
        self._names_read += len(rest) // 3
        if is_first:
            self.shared = _ready_list(shared, created_at)
        for name, count, created_at in zip(rest[::3], rest[1::3], rest[2::3], strict=True):
            if count:
                self.lists[to_text(name)] = _ready_list(count, created_at)


class DepthReading:
    """All ready jobs under a prefix, while they are being read; at most `max_types` of each set.

    Add the `request`s of each round trip to a pipeline, and pass the replies to `receive`.
    """

    def __init__(self, keys: Keys, max_types: int) -> None:
        self._prefix = keys.prefix
        self._max_types = max_types
        self._parked = {
            priority: _SetReading(keys.parked(priority), keys.queue(priority), f"queue:{priority}:")
            for priority in PRIORITIES
        }
        self._suspects = _SetReading(keys.suspects, None, "queue:suspect:")

    @property
    def _unfinished(self) -> list[_SetReading]:
        sets = (*self._parked.values(), self._suspects)
        return [each for each in sets if each.wants(self._max_types)]

    @property
    def is_unfinished(self) -> bool:
        """Whether another round trip is needed."""
        return bool(self._unfinished)

    def request(self, pipeline: Any) -> None:
        """Add the requests of the next round trip."""
        for each in self._unfinished:
            each.request(pipeline, self._prefix, min(PAGE, self._max_types))

    def receive(self, replies: list[Any]) -> None:
        """Receive the replies to the requests of the last round trip."""
        for each, reply in zip(self._unfinished, replies, strict=True):
            each.receive(reply)

    def depths(self, handled: Mapping[str, set[str]]) -> list[QueueDepth]:
        """What was read; `handled` are the types with a handler, by priority."""
        return [self._depth(priority, handled.get(priority, set())) for priority in PRIORITIES]

    def _depth(self, priority: str, handled: set[str]) -> QueueDepth:
        parked, suspects = self._parked[priority], self._suspects
        head = f"{priority}:"
        alone = {
            source.removeprefix(head): each
            for source, each in suspects.lists.items()
            if source.startswith(head)
        }
        unhandled = (parked.lists.keys() | alone.keys()) - handled
        return QueueDepth(
            priority=priority,
            shared=parked.shared,
            parked=_printable(parked.lists),
            suspects=_printable(alone),
            unhandled=tuple(sorted(map(printable, unhandled))),
            # The suspects that were not read are counted with one priority only.
            omitted=parked.omitted + suspects.omitted * (priority == PRIORITIES[0]),
        )


def _ready_list(count: int, created_at: bytes) -> ReadyList:
    return ReadyList(count, parse_moment(created_at))


def _printable(lists: Mapping[str, ReadyList]) -> dict[str, ReadyList]:
    return {printable(name): lists[name] for name in sorted(lists)}
