"""The job types that live workers handle, and the JSON Schema of each one's payload.

A worker stores the schemas of its handlers under the digest of their text, so that workers with the
same handlers share them. Its heartbeats keep them, and show when they must be stored again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec
import redis

from bananas_topology.jobs.connection import translate_errors
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.stored import integer_in, parse_fields, read_all

#: Maximum size in bytes of one schema, and of all those of a worker; larger ones are left out.
MAX_SCHEMA_BYTES, MAX_TOTAL_BYTES = 16 * 2**10, 256 * 2**10

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class EncodedSchemas:
    """Schemas by job type, as JSON, and the digest under which they are stored; "" for none."""

    digest: str
    text: bytes


@dataclass(frozen=True, slots=True)
class JobType:
    """A job type with the pools whose live workers handle it.

    `schema` is None if its handler takes any payload or none.
    """

    name: str
    pools: tuple[str, ...]
    schema: Schema | None


def encode_schemas(schemas: Mapping[str, Schema | None]) -> EncodedSchemas:
    """Encode the schemas of a worker's job types."""
    kept: dict[str, msgspec.Raw] = {}
    size = 0
    for name, schema in sorted(schemas.items()):
        text = msgspec.json.encode(schema) if schema else b""
        if text and len(text) <= MAX_SCHEMA_BYTES and size + len(text) <= MAX_TOTAL_BYTES:
            kept[name] = msgspec.Raw(text)
            size += len(text)
    if not kept:
        return EncodedSchemas("", b"")
    encoded = msgspec.json.encode(kept)
    return EncodedSchemas(hashlib.sha256(encoded).hexdigest()[:16], encoded)


def encode_timeouts(default_ms: int, timeouts_ms: Mapping[str, int]) -> str:
    """Encode how long a worker's jobs may run, by type, as the worker publishes it.

    >>> encode_timeouts(5000, {"add": 5000, "send_email": 30000})
    '{"":5000,"send_email":30000}'
    """
    others = {name: each for name, each in timeouts_ms.items() if each != default_ms}
    return msgspec.json.encode({"": default_ms} | others).decode()


def timeout_ms(published: bytes | str, job_type: str) -> int | None:
    """How long a job of this type may run in a worker, by what it has published; None: unknown."""
    timeouts = _decode_timeouts(published)
    return integer_in(timeouts, job_type if job_type in timeouts else "")


@lru_cache(maxsize=256)
def _decode_timeouts(published: bytes | str) -> Mapping[str, Any]:
    return parse_fields(published) or {}


class JobTypes:
    """Reads the job types of one prefix.

    Raises (every method):
        RedisUnavailable, RedisUnsuitable: see connection.py.
    """

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self._known: dict[str, Mapping[str, Schema]] = {}

    def read(self) -> list[JobType]:
        """Read what live workers handle, by name. A schema is read once."""
        pools: dict[str, set[str]] = {}
        schemas: dict[str, Schema] = {}
        workers = self._workers()
        known = self._schemas({digest for *_, digest in workers if digest})
        for pool, job_types, digest in workers:
            described = known.get(digest, {})
            for name in job_types:
                pools.setdefault(name, set()).add(pool)
                if name in described:
                    schemas.setdefault(name, described[name])
        return [
            JobType(name, tuple(sorted(members)), schemas.get(name))
            for name, members in sorted(pools.items())
        ]

    def _workers(self) -> list[tuple[str, list[str], str]]:
        """Pool, job types and digest of each live worker that runs jobs."""
        keys = self._keys
        with translate_errors(self._client):
            seconds, _ = self._client.time()
            live: Any = self._client.zrangebyscore(keys.workers, f"({seconds * 1000}", "+inf")
            pipeline = self._client.pipeline(transaction=False)
            for worker_id in live:
                name = keys.worker("").encode() + worker_id
                pipeline.hmget(name, "pool", "job_types", "schemas", "concurrency")
            replies = read_all(pipeline)
        decoded = [
            [(each or b"").decode(errors="replace") for each in fields or (None,) * 4]
            for fields in replies
        ]
        return [
            (pool, list(filter(None, job_types.split(","))), digest)
            for pool, job_types, digest, concurrency in decoded
            if concurrency != "0"  # a scheduler loads the handlers, but runs none
        ]

    def _schemas(self, digests: set[str]) -> Mapping[str, Mapping[str, Schema]]:
        """The stored schemas: what is stored under a digest never changes."""
        known = {digest: found for digest, found in self._known.items() if digest in digests}
        missing = sorted(digests - known.keys())
        if missing:
            with translate_errors(self._client):
                stored: Any = self._client.mget([self._keys.schemas(each) for each in missing])
            for digest, text in zip(missing, stored, strict=True):
                if fields := parse_fields(text):
                    known[digest] = {
                        name: each for name, each in fields.items() if isinstance(each, dict)
                    }
        self._known = known
        return known
