"""Where the ids of jobs are, and how to read them in parts while jobs come and go."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import redis

from bananas_topology.contract.values import PRIORITIES
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.stored import read_all

#: A position within a place, as a JSON value: bytes are text of one character per byte.
Position = int | str | tuple[str, str]


class Entry(NamedTuple):
    """An id, and the position after it; None if only whole parts have one."""

    job_id: bytes
    position: Position | None


class Part(NamedTuple):
    """Some ids of a place, and the position after them; None at the end."""

    entries: Sequence[Entry]
    position: Position | None


class Place(Protocol):
    """Something that holds ids. Names sort in the order in which places are searched."""

    @property
    def name(self) -> str: ...

    def read(self, client: redis.Redis, position: Position | None, count: int) -> Part:
        """Read about `count` ids, from the start or from a position.

        Raises:
            TypeError, ValueError: the position is not one of this place.
        """
        ...


@dataclass(frozen=True, slots=True)
class ListPlace:
    """A list, newest first. A position is the distance from its end.

    Ids are pushed at its start, so positions stay right; those removed at its end shift the rest
    towards the end, so that some are read again and none is left out.
    """

    name: str

    def read(self, client: redis.Redis, position: Position | None, count: int) -> Part:
        length: Any = client.llen(_raw(self.name))
        distance = length if position is None else min(int(_as(int, position)), length)
        if distance <= 0:
            return Part((), None)
        ids: Any = client.lrange(_raw(self.name), -distance, min(count - distance, 0) - 1)
        entries = [Entry(each, distance - n) for n, each in enumerate(ids, 1)]
        return Part(entries, distance - count if distance > count else None)


@dataclass(frozen=True, slots=True)
class ScheduledPlace:
    """The zset of delayed jobs, next due first. A position is the score and the id before it."""

    name: str

    def read(self, client: redis.Redis, position: Position | None, count: int) -> Part:
        start = 0 if position is None else self._rank_after(client, *_as(tuple, position))
        found: Any = client.zrange(_raw(self.name), start, start + count - 1, withscores=True)
        entries = [Entry(job_id, (repr(score), _text(job_id))) for job_id, score in found]
        return Part(entries, entries[-1].position if len(entries) == count else None)

    def _rank_after(self, client: redis.Redis, score: str, job_id: str) -> int:
        """The rank of the first entry after this one, which need not be there any more."""
        first: Any = client.zcount(_raw(self.name), "-inf", f"({float(score)!r}")
        last: Any = client.zcount(_raw(self.name), "-inf", repr(float(score)))

        def id_at(rank: int) -> bytes:
            ids: Any = client.zrange(_raw(self.name), rank, rank)
            return bytes(ids[0]) if ids else b"\xff"

        # Equal scores are in the order of their ids.
        return bisect_right(range(last), _raw(job_id), lo=first, hi=last, key=id_at)


@dataclass(frozen=True, slots=True)
class ClaimsPlace:
    """What one worker holds, by id: no more than its slots and what it prefetches."""

    name: str

    def read(self, client: redis.Redis, position: Position | None, count: int) -> Part:
        pipeline: Any = client.pipeline(transaction=False)
        pipeline.hkeys(_raw(self.name))
        [ids] = read_all(pipeline)
        after = b"" if position is None else _raw(_as(str, position))
        rest = sorted(each for each in ids or () if each > after)
        entries = [Entry(each, _text(each)) for each in rest[:count]]
        return Part(entries, entries[-1].position if len(rest) > count else None)


@dataclass(frozen=True, slots=True)
class AllJobs:
    """Every stored job, unordered. A position is a cursor of Redis, known only between pages."""

    name: str

    def read(self, client: redis.Redis, position: Position | None, count: int) -> Part:
        cursor = 0 if position is None else int(_as(str, position))
        pattern = re.sub(r"([*?\[\]\\])", r"\\\1", self.name) + "*"
        reply: Any = client.scan(cursor, match=pattern, count=count)
        following, keys = reply
        entries = [Entry(each[len(_raw(self.name)) :], None) for each in keys]
        return Part(entries, str(following) if following else None)


def places_of(client: redis.Redis, keys: Keys, state: str | None) -> list[Place]:
    """The places to search for jobs in a state, in the order of their names."""
    if state == "failed":
        return [ListPlace(keys.dead)]
    if state == "scheduled":
        return [ScheduledPlace(keys.scheduled)]
    if state == "processing":
        workers: Any = client.zrange(keys.workers, 0, -1)
        return _sorted(ClaimsPlace, (keys.claims("") + _text(each) for each in workers))
    if state == "pending":
        return _sorted(ListPlace, _ready_lists(client, keys))
    return [AllJobs(keys.job(""))]


def _ready_lists(client: redis.Redis, keys: Keys) -> Iterator[str]:
    for priority in PRIORITIES:
        yield keys.queue(priority)
        types: Any = client.smembers(keys.parked(priority))
        yield from (keys.parked_queue(priority, _text(each)) for each in types)
    sources: Any = client.smembers(keys.suspects)
    yield from (keys.suspect_queue(_text(each)) for each in sources)


def _sorted(kind: Callable[[str], Place], names: Iterator[str]) -> list[Place]:
    return [kind(name) for name in sorted(names)]


def _text(value: bytes) -> str:
    return value.decode("latin-1")


def _raw(text: str) -> bytes:
    return text.encode("latin-1")


def _as(kind: type[Any], position: Position) -> Any:
    if not isinstance(position, kind):
        raise TypeError(f"expected a position of type {kind.__name__}")
    return position
