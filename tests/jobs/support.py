"""Shared by the tests of jobs/: a worker as the broker sees it, and jobs for it."""

from __future__ import annotations

import itertools
import json
import select
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
import redis

from bananas_topology.contract.values import PRIORITIES
from bananas_topology.jobs.broker import Broker
from bananas_topology.jobs.consumer import Consumer
from bananas_topology.jobs.exchange import Claimed, ClaimRequest
from bananas_topology.jobs.job import Claim, EncodedJob, encode_new, rewrite
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.settlements import AckJob, BuryJob, RetryJob, Settlement
from bananas_topology.system.clock import wall_now


def encoded(job_id: str, job_type: str = "add", payload: Any = None, **more: Any) -> EncodedJob:
    """A job as a producer sends it; `due` as EncodedJob has it."""
    due, priority = more.pop("due", ""), more.pop("priority", "normal")
    body = encode_new(
        job_id=job_id,
        job_type=job_type,
        payload=payload,
        priority=priority,
        max_retries=more.pop("max_retries", None),
        scheduled_for=wall_now() if due else None,
        now=wall_now(),
    )
    return EncodedJob(job_id, body, priority, job_type, due)


AT = "2026-11-24T12:00:00.000000Z"


def ack(claim: Claim, result: bytes = b'{"sum":3}') -> AckJob:
    """The settlement of a completed job."""
    body = rewrite(claim.body or b"", status="completed", attempts=1, updated_at=AT)
    return AckJob(claim, body, result, AT, 12)


def bury(claim: Claim) -> BuryJob:
    """The settlement of a job that failed for the last time."""
    body = rewrite(claim.body or b"", status="failed", attempts=1, error="no", updated_at=AT)
    return BuryJob(claim, body, b'{"type":"E","message":"no","traceback":""}', "no", AT, 12)


def retry(claim: Claim, delay_ms: int = 60_000) -> RetryJob:
    """The settlement of a job that is to run again."""
    body = rewrite(claim.body or b"", status="pending", attempts=1, error="no", updated_at=AT)
    return RetryJob(claim, body, b'{"type":"E","message":"no","traceback":""}', delay_ms)


def store_dead(
    client: redis.Redis, keys: Keys, job_id: str, message: str = "no", body: str | None = None
) -> None:
    """Store a dead job of type `add`, which has failed with this message."""
    fields = {"id": job_id, "name": "add", "attempts": 4, "status": "failed"}
    client.lpush(keys.dead, job_id)
    client.set(keys.job(job_id), body or json.dumps(fields))
    client.set(keys.failure(job_id), json.dumps({"type": "ValueError", "message": message}))


def is_readable(fd: int, seconds: float) -> bool:
    """Whether a descriptor becomes readable within a time."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


@dataclass(frozen=True)
class Exchange:
    """The outcome of one exchange. `lost`: settlements whose claim the worker had lost."""

    claims: tuple[Claim, ...]
    lost: tuple[Settlement, ...]
    more: bool
    promoted: int


class Worker:
    """One incarnation of a worker, as the broker sees it."""

    _incarnations = itertools.count(1)

    def __init__(self, broker: Broker, worker_id: str = "w-0", **changes: Any) -> None:
        self.broker = broker
        self.consumer = replace(
            Consumer(worker_id, 15_000, PRIORITIES, ("add", "sub")),
            **changes,
        )
        self.incarnation = f"inc{next(self._incarnations)}"
        self._calls = itertools.count(1)

    def boot(self) -> None:
        """Register this incarnation under its worker id."""
        self.broker.heartbeat(self.consumer, self.incarnation, {}, boot=True)

    def token(self) -> str:
        """The token of the next call."""
        return f"{self.incarnation}.{next(self._calls)}"

    def request(self, count: int, **more: Any) -> ClaimRequest:
        """A request for up to `count` jobs."""
        return ClaimRequest(count, self.token(), **more)

    def exchange(
        self, settlements: Sequence[Settlement] = (), count: int = 0, **more: Any
    ) -> Exchange:
        """Settle, and claim up to `count`."""
        request = self.request(count, **more) if count else None
        pending = self.broker.exchange(self.consumer, settlements, request)
        claimed = pending.claimed() or Claimed()
        return Exchange(claimed.claims, pending.settled().lost, claimed.more, claimed.promoted)

    def claim(self, count: int = 1, **more: Any) -> list[str]:
        """Claim up to `count` jobs and return their ids."""
        return [claim.job_id for claim in self.exchange(count=count, **more).claims]


def count_round_trips(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """A list that has an entry for everything that redis-py sends from now on."""
    sent: list[object] = []
    send: Any = redis.Connection.send_packed_command

    def count(connection: redis.Connection, command: object, check_health: bool = True) -> None:
        sent.append(command)
        send(connection, command, check_health)

    monkeypatch.setattr(redis.Connection, "send_packed_command", count)
    return sent
