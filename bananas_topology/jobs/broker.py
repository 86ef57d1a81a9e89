"""One method a transition: builds keys and arguments, calls the script, names what came back.

Everything a worker settles and claims at one time goes in one exchange. Nothing here decides
anything about jobs, and nothing is repeated: after RedisUnavailable the caller does not know
whether the scripts ran, and every one of them may be called again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import redis

from bananas_topology.contract.worker import WorkerConfig
from bananas_topology.jobs import scripts
from bananas_topology.jobs.calls import Call, Caller, Value
from bananas_topology.jobs.connection import translate_errors
from bananas_topology.jobs.crashes import KEEP_CRASHES_S
from bananas_topology.jobs.exchange import (
    Ack,
    Bury,
    ClaimRequest,
    PendingExchange,
    Release,
    Retry,
    Settlement,
    in_groups,
    settlement_args,
)
from bananas_topology.jobs.job import KEEP_COMPLETED_S, KEEP_DEAD_S, EncodedJob
from bananas_topology.jobs.keys import Keys

#: Foreign jobs that one claim moves aside at the most: some milliseconds of the server's time.
PARK_LIMIT = 1_000

#: Due jobs that one promotion moves at the most, likewise.
PROMOTE_LIMIT = 1_000

#: Claims that one call of a recovery returns at the most, likewise.
RECOVER_LIMIT = 1_000

#: Settlements from which on a claim goes before them.
CLAIM_FIRST = 16

#: Workers that a sign of life learns of at the most whose lease has run out.
EXPIRED_LIMIT = 100


@dataclass(frozen=True, slots=True)
class Beat:
    """What a sign of life brought. `held` False: the worker's id is another process's now.

    `expired`: workers to `reap`; `next_expiry_ms`: until the next lease of any worker runs out.
    """

    held: bool
    expired: tuple[str, ...]
    next_expiry_ms: int


@dataclass(frozen=True, slots=True)
class Recovery:
    """Claims that were returned; `crashed`: those that were with a worker which went down."""

    returned: int
    crashed: int


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
    max_crashes: int = 3

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
            max_crashes=config.max_crashes,
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

    def close(self) -> None:
        """Close the connections; the next call opens another."""
        self._caller.close()

    def enqueue(self, jobs: Sequence[EncodedJob]) -> list[bool]:
        """Put jobs into queues or the schedule; False for each whose id was taken."""
        arguments: list[Value] = [self.keys.prefix]
        for job in jobs:
            arguments += (job.job_id, job.body, job.priority, job.job_type, job.due)
        call = Call(scripts.ENQUEUE, (self.keys.stats,), arguments)
        return [reply == 1 for reply in self._caller.run_one(call)]

    def exchange(
        self,
        consumer: Consumer,
        settlements: Sequence[Settlement],
        request: ClaimRequest | None,
    ) -> PendingExchange:
        """Send what is done and a claim for what there is to do; the replies are read from it.

        Where much is settled, the claim goes first, and the worker works while the server settles.
        Not so with a job that ran alone: nothing is claimed while it is held.
        """
        groups = in_groups(settlements)
        calls = [self._settle(group, consumer) for group in groups]
        if request is None:
            return PendingExchange(self._caller.send(calls), groups, None)
        claim = self.claim_call(consumer, request)
        is_alone = any(settlement.claim.crashes for settlement in settlements)
        if is_alone or len(settlements) < CLAIM_FIRST:
            return PendingExchange(self._caller.send([*calls, claim]), groups, -1)
        return PendingExchange(self._caller.send([claim, *calls]), groups, 0)

    def recover(self, consumer: Consumer, incarnation: str, known: Iterable[bytes]) -> Recovery:
        """Return the claims under the worker's own id that it does not work on.

        Those of its earlier incarnations went down with it; those of this one are lost replies.
        """
        return self._recover(consumer.worker_id, incarnation, consumer.max_crashes, list(known))

    def reap(self, consumer: Consumer, expired: Iterable[str]) -> dict[str, Recovery]:
        """Return the claims of other workers whose lease has run out, and forget these."""
        return {
            worker_id: self._recover(worker_id, "", consumer.max_crashes, [])
            for worker_id in expired
        }

    def _recover(
        self, worker_id: str, incarnation: str, max_crashes: int, known: list[bytes]
    ) -> Recovery:
        arguments: list[Value] = [self.keys.prefix, worker_id, incarnation, RECOVER_LIMIT]
        arguments += (max_crashes, KEEP_CRASHES_S, *known)
        returned = crashed = 0
        while True:
            call = Call(scripts.RECOVER, (self.keys.claims(worker_id),), arguments)
            batch, of_these = self._caller.run_one(call)
            returned, crashed = returned + batch, crashed + of_these
            if batch < RECOVER_LIMIT:
                return Recovery(returned, crashed)

    def promote(self) -> int:
        """Move due scheduled jobs into their queues; `PROMOTE_LIMIT` moved: there may be more."""
        call = Call(scripts.PROMOTE, (self.keys.scheduled,), (self.keys.prefix, PROMOTE_LIMIT))
        return int(self._caller.run_one(call))

    def now(self) -> datetime:
        """Read the server's clock."""
        with translate_errors(self.client):
            seconds, micros = self.client.time()
        return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=micros)

    def schedule(self, name: str) -> ScheduleState:
        """Read where a schedule is."""
        with translate_errors(self.client):
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
        call = Call(scripts.FIRE_SCHEDULE, (self.keys.schedule(name),), arguments)
        return bool(self._caller.run_one(call))

    def beat(
        self, consumer: Consumer, incarnation: str, presence: Mapping[str, Value], *, boot: bool
    ) -> Beat:
        """Renew the worker's lease, say who it is, and learn whose lease has run out.

        `boot` takes the id over from whatever process had it.
        """
        keys = (self.keys.workers, self.keys.worker(consumer.worker_id))
        how = "boot" if boot else "beat"
        arguments: list[Value] = [consumer.worker_id, consumer.lease_ms, incarnation, how]
        arguments.append(EXPIRED_LIMIT)
        for name, value in presence.items():
            arguments += (name, value)
        held, next_expiry_ms, *expired = self._caller.run_one(
            Call(scripts.HEARTBEAT, keys, arguments)
        )
        return Beat(held == 1, tuple(worker_id.decode() for worker_id in expired), next_expiry_ms)

    def deregister(self, worker_id: str, incarnation: str) -> bool:
        """Forget a worker that holds nothing; False when it does, or is another process's."""
        keys = (self.keys.workers, self.keys.worker(worker_id), self.keys.claims(worker_id))
        return bool(self._caller.run_one(Call(scripts.DEREGISTER, keys, (worker_id, incarnation))))

    def claim_call(self, consumer: Consumer, request: ClaimRequest) -> Call:
        """The call that claims, for who sends it on a connection of its own (see wake.py)."""
        arguments: list[Value] = [
            self.keys.prefix,
            consumer.worker_id,
            consumer.lease_ms,
            request.token,
            request.count,
            request.max_bytes,
            PARK_LIMIT,
            PROMOTE_LIMIT if request.promote else 0,
            len(consumer.priorities),
            *consumer.priorities,
            *consumer.job_types,
        ]
        return Call(scripts.CLAIM, (self.keys.claims(consumer.worker_id),), arguments)

    def _settle(self, group: Sequence[Settlement], consumer: Consumer) -> Call:
        """Settle up to `SETTLE_LIMIT` claims in one and the same way."""
        script, head = {
            Ack: (scripts.ACK, (KEEP_COMPLETED_S, consumer.result_ttl_success_ms)),
            Retry: (scripts.RETRY, (KEEP_DEAD_S,)),
            Bury: (scripts.BURY, (KEEP_DEAD_S, consumer.result_ttl_failure_ms)),
            Release: (scripts.RELEASE, ()),
        }[type(group[0])]
        arguments: list[Value] = [self.keys.prefix, *head]
        for settlement in group:
            claim = settlement.claim
            arguments += (claim.job_id.encode(errors="surrogateescape"), claim.fence)
            arguments += settlement_args(settlement)
        return Call(script, (self.keys.claims(consumer.worker_id),), arguments)
