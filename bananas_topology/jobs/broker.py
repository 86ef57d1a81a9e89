"""One method a transition: builds keys and arguments, calls the script, names what came back.

Everything a worker settles and claims at one time goes in one round trip. Nothing here decides
anything about jobs, and nothing is repeated: after RedisUnavailable the caller does not know
whether the scripts ran, and every one of them may be called again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from bananas_topology.contract import WorkerConfig
from bananas_topology.jobs import scripts
from bananas_topology.jobs.calls import Call, Caller, Value
from bananas_topology.jobs.connection import translated
from bananas_topology.jobs.job import KEEP_COMPLETED_S, KEEP_DEAD_S, Claim, EncodedJob
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.scripts import Script

#: Foreign jobs that one claim moves aside at the most: some milliseconds of the server's time.
PARK_LIMIT = 1_000

#: Due jobs that one promotion moves at the most, likewise.
PROMOTE_LIMIT = 1_000

#: Claims that one recovery returns at the most; a worker cannot hold many more.
RECOVER_LIMIT = 10_000


@dataclass(frozen=True, slots=True)
class Ack:
    """The job is done: its final body and its result as JSON."""

    claim: Claim
    body: bytes
    result: bytes
    completed_at: str
    duration_ms: int


@dataclass(frozen=True, slots=True)
class Retry:
    """The job runs again later: its body for then, and why."""

    claim: Claim
    body: bytes
    failure: bytes
    delay_ms: int


@dataclass(frozen=True, slots=True)
class Bury:
    """The job never runs again. `body` empty: what is stored is no job, and stays as it is."""

    claim: Claim
    body: bytes
    failure: bytes
    error: str
    completed_at: str
    duration_ms: int


@dataclass(frozen=True, slots=True)
class Release:
    """The job goes back untouched."""

    claim: Claim


Settlement = Ack | Retry | Bury | Release


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """Up to `count` jobs of the `job_types`, under fences that begin with `token`."""

    count: int
    token: str


@dataclass(frozen=True, slots=True)
class Exchange:
    """What one round trip brought. `lost`: settlements whose claim was no longer ours.

    `more`: the claim ended at its limit of jobs to move aside; another one would find more.
    """

    claims: tuple[Claim, ...] = ()
    lost: tuple[Settlement, ...] = ()
    more: bool = False


@dataclass(frozen=True, slots=True)
class ScheduleState:
    """When a schedule fires next, as stored text, and the expression that this comes from.

    Both are empty for a schedule that is new.
    """

    next_run: str
    cron: str


@dataclass(frozen=True, slots=True)
class Consumer:
    """Who claims: what the broker tells the scripts about a worker each time."""

    worker_id: str
    lease_ms: int
    priorities: tuple[str, ...]
    job_types: tuple[str, ...]
    result_ttl_success_ms: int
    result_ttl_failure_ms: int

    @classmethod
    def of(cls, config: WorkerConfig, job_types: tuple[str, ...]) -> Consumer:
        """Make it from a worker's settings and the types it has handlers for."""
        on = config.results_enabled
        return cls(
            worker_id=config.worker_id,
            lease_ms=config.lease_ms,
            priorities=config.priorities,
            job_types=job_types,
            result_ttl_success_ms=config.result_ttl_success_ms if on else 0,
            result_ttl_failure_ms=config.result_ttl_failure_ms if on else 0,
        )


class Broker:
    """The transitions of jobs under one prefix. Thread-safe; every method may block for a reply.

    Raises (every method):
        RedisUnavailable: the server did not answer, or not usefully.
        RedisUnsuitable: it refuses us.
    """

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self.client = client
        self.keys = keys
        self._caller = Caller(client)

    def enqueue(self, jobs: Sequence[EncodedJob]) -> list[bool]:
        """Put jobs into queues or the schedule; False for each whose id was taken."""
        arguments: list[Value] = [self.keys.prefix]
        for job in jobs:
            arguments += (job.job_id, job.body, job.priority, job.job_type, job.due)
        call = Call(scripts.ENQUEUE, (self.keys.stats,), arguments)
        return [bool(reply) for reply in self._caller.run_one(call)]

    def exchange(
        self, consumer: Consumer, settlements: Iterable[Settlement], request: ClaimRequest | None
    ) -> Exchange:
        """Settle what is done and claim what there is to do, in one round trip."""
        groups = _by_kind(settlements)
        calls = [self._settle(kind, group, consumer) for kind, group in groups.items()]
        if request is not None:
            calls.append(self._claim(consumer, request))
        replies = self._caller.run(calls) if calls else []
        lost = tuple(
            settlement
            for group, reply in zip(groups.values(), replies, strict=False)
            for settlement, done in zip(group, reply, strict=True)
            if not done
        )
        if request is None:
            return Exchange(lost=lost)
        more, *flat = replies[-1]
        claims = tuple(
            Claim(flat[i].decode(errors="surrogateescape"), flat[i + 1], flat[i + 2])
            for i in range(0, len(flat), 3)
        )
        return Exchange(claims, lost, bool(more))

    def recover(self, worker_id: str, known: Iterable[bytes]) -> int:
        """Return the claims under our own id that we do not work on; how many there were."""
        arguments: list[Value] = [self.keys.prefix, worker_id, "own", RECOVER_LIMIT, *known]
        call = Call(scripts.RECOVER, (self.keys.claims(worker_id),), arguments)
        return int(self._caller.run_one(call))

    def reap(self) -> dict[str, int]:
        """Return the claims of workers whose lease has run out; how many of each."""
        with translated(self.client):
            seconds, micros = self.client.time()
            now_ms = seconds * 1000 + micros // 1000
            expired = self.client.zrangebyscore(self.keys.workers, "-inf", now_ms, 0, 100)
        ids = [worker_id.decode() for worker_id in expired]  # type: ignore[union-attr]
        arguments = [(self.keys.prefix, each, "expired", RECOVER_LIMIT) for each in ids]
        calls = [
            Call(scripts.RECOVER, (self.keys.claims(each),), argument)
            for each, argument in zip(ids, arguments, strict=True)
        ]
        return dict(zip(ids, map(int, self._caller.run(calls)), strict=True)) if calls else {}

    def promote(self) -> int:
        """Move due scheduled jobs into their queues; `PROMOTE_LIMIT` moved: there may be more."""
        call = Call(scripts.PROMOTE, (self.keys.scheduled,), (self.keys.prefix, PROMOTE_LIMIT))
        return int(self._caller.run_one(call))

    def schedule(self, name: str) -> ScheduleState:
        """Read where a schedule is."""
        with translated(self.client):
            values: Any = self.client.hmget(self.keys.schedule(name), "next_run", "cron")
        next_run, cron = ((value or b"").decode() for value in values)
        return ScheduleState(next_run, cron)

    def fire(
        self, name: str, before: ScheduleState, after: ScheduleState, job: EncodedJob | None
    ) -> bool:
        """Move a schedule on from one state to the next, and enqueue `job` with it, if any.

        False when another scheduler was first.
        """
        arguments: list[Value] = [self.keys.prefix, before.next_run, after.next_run, after.cron]
        if job is None:
            arguments.append("")
        else:
            arguments += (job.job_id, job.body, job.priority, job.job_type, before.next_run)
        call = Call(scripts.FIRE, (self.keys.schedule(name),), arguments)
        return bool(self._caller.run_one(call))

    def beat(
        self, consumer: Consumer, incarnation: str, presence: Mapping[str, Value], *, boot: bool
    ) -> bool:
        """Renew the worker's lease and say who it is; False: its id is another process's now."""
        keys = (self.keys.workers, self.keys.worker(consumer.worker_id))
        how = "boot" if boot else "beat"
        arguments: list[Value] = [consumer.worker_id, consumer.lease_ms, incarnation, how]
        for name, value in presence.items():
            arguments += (name, value)
        return bool(self._caller.run_one(Call(scripts.BEAT, keys, arguments)))

    def leave(self, worker_id: str, incarnation: str) -> bool:
        """Forget a worker that holds nothing; False when it does, or is another process's."""
        keys = (self.keys.workers, self.keys.worker(worker_id), self.keys.claims(worker_id))
        return bool(self._caller.run_one(Call(scripts.LEAVE, keys, (worker_id, incarnation))))

    def _claim(self, consumer: Consumer, request: ClaimRequest) -> Call:
        arguments: list[Value] = [
            self.keys.prefix,
            consumer.worker_id,
            consumer.lease_ms,
            request.token,
            request.count,
            PARK_LIMIT,
            len(consumer.priorities),
            *consumer.priorities,
            *consumer.job_types,
        ]
        return Call(scripts.CLAIM, (self.keys.claims(consumer.worker_id),), arguments)

    def _settle(
        self, kind: type[Settlement], group: Sequence[Settlement], consumer: Consumer
    ) -> Call:
        heads: dict[type[Settlement], tuple[Script, tuple[Value, ...]]] = {
            Ack: (scripts.ACK, (KEEP_COMPLETED_S, consumer.result_ttl_success_ms)),
            Retry: (scripts.RETRY, (KEEP_DEAD_S,)),
            Bury: (scripts.BURY, (KEEP_DEAD_S, consumer.result_ttl_failure_ms)),
            Release: (scripts.RELEASE, ()),
        }
        script, head = heads[kind]
        arguments: list[Value] = [self.keys.prefix, *head]
        for settlement in group:
            arguments += _arguments(settlement)
        return Call(script, (self.keys.claims(consumer.worker_id),), arguments)


def _by_kind(settlements: Iterable[Settlement]) -> dict[type[Settlement], list[Settlement]]:
    groups: dict[type[Settlement], list[Settlement]] = {}
    for settlement in settlements:
        groups.setdefault(type(settlement), []).append(settlement)
    return groups


def _arguments(settlement: Settlement) -> tuple[Value, ...]:
    """One settlement as its script takes it (see the scripts' headers)."""
    claim = settlement.claim
    job_id = claim.job_id.encode(errors="surrogateescape")
    match settlement:
        case Ack(body=body, result=result, completed_at=completed_at, duration_ms=duration_ms):
            return (job_id, claim.fence, body, result, completed_at, duration_ms)
        case Retry(body=body, failure=failure, delay_ms=delay_ms):
            return (job_id, claim.fence, body, failure, delay_ms)
        case Bury():
            final = (settlement.error, settlement.completed_at, settlement.duration_ms)
            return (job_id, claim.fence, settlement.body, settlement.failure, *final)
        case Release():
            return (job_id, claim.fence)
