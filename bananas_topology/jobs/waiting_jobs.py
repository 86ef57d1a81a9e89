"""Counts the waiting jobs by priority and type, to tell whether a change strands them.

Read-only. Yields after each batch of one or two round trips, so that the caller can do other things
in between. Only a job that is enqueued meanwhile may be missed; one that a worker parks meanwhile
may be counted twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from typing import Any

import redis

from bananas_topology.contract.values import PRIORITIES
from bananas_topology.jobs.connection import translate_errors
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.stored import HEAD_BYTES, field_of_head, parse_fields, to_text

#: Jobs whose type is read in one round trip.
BATCH = 500

#: Delayed jobs read in one round trip: their priority may come after a payload of any size.
_DELAYED_BATCH = 50

#: Number of jobs by priority and type; a job that cannot be read has the type "".
Counts = Counter[tuple[str, str]]


class WaitingJobs:
    """Counts under one prefix.

    Raises (every method):
        RedisUnavailable, RedisUnsuitable: see connection.py.
    """

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    def ready(self) -> Generator[None, None, Counts]:
        """Count ready jobs: those of the queues, parked ones, and those that run alone."""
        counts: Counts = Counter()
        for priority in PRIORITIES:
            yield from self._queue(priority, counts)
            self._parked(priority, counts)
            yield
        return counts

    def delayed(self) -> Generator[None, None, Counts]:
        """Count delayed jobs, including those that wait for a retry."""
        counts: Counts = Counter()
        cursor = 0
        while True:
            with translate_errors(self._client):
                reply: Any = self._client.zscan(self._keys.scheduled, cursor, count=_DELAYED_BATCH)
                cursor, members = reply
                ids = [member for member, _ in members]
                bodies: Any = self._client.mget(self._job_keys(ids)) if ids else []
            for body in bodies:
                fields = parse_fields(body) or {}
                name, priority = str(fields.get("name", "")), str(fields.get("priority", ""))
                counts[priority if priority in PRIORITIES else "normal", name] += 1
            if cursor == 0:
                return counts
            yield

    def _queue(self, priority: str, counts: Counts) -> Generator[None, None, None]:
        key, start = self._keys.queue(priority), 0
        # From the end where jobs are added, so that jobs added or taken meanwhile do not hide
        # others.
        while True:
            with translate_errors(self._client):
                ids: Any = self._client.lrange(key, start, start + BATCH - 1)
                if not ids:
                    return
                pipeline: Any = self._client.pipeline(transaction=False)
                for job_key in self._job_keys(ids):
                    pipeline.getrange(job_key, 0, HEAD_BYTES - 1)
                heads = pipeline.execute()
                counts.update(
                    (priority, self._type(each, head))
                    for each, head in zip(ids, heads, strict=True)
                )
            start += BATCH
            yield

    def _parked(self, priority: str, counts: Counts) -> None:
        with translate_errors(self._client):
            types: Any = self._client.smembers(self._keys.parked(priority))
            sources: Any = self._client.smembers(self._keys.suspects)
            lists = [
                (name, self._keys.parked_queue(priority, "").encode() + name) for name in types
            ]
            head = f"{priority}:".encode()
            lists += [
                (source.removeprefix(head), self._keys.suspect_queue("").encode() + source)
                for source in sources
                if source.startswith(head)
            ]
            pipeline: Any = self._client.pipeline(transaction=False)
            for _, key in lists:
                pipeline.llen(key)
            for (name, _), length in zip(lists, pipeline.execute(), strict=True):
                counts[priority, to_text(name)] += length

    def _type(self, job_id: bytes, head: bytes) -> str:
        found = field_of_head(head, "name")
        if found is not None or len(head) < HEAD_BYTES:
            return found or ""
        [key] = self._job_keys([job_id])
        stored: Any = self._client.get(key)
        return str((parse_fields(stored) or {}).get("name", ""))

    def _job_keys(self, ids: list[bytes]) -> list[bytes]:
        return [self._keys.job("").encode() + job_id for job_id in ids]
