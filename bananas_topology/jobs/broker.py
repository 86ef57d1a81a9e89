"""The transitions of jobs: each method builds arguments, calls a script and decodes the reply.

A worker's settlements and its claim go in one exchange. Nothing here decides anything about jobs,
and nothing is retried: after RedisUnavailable the caller does not know whether the scripts ran, and
every one of them is safe to call again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import redis

from bananas_topology.errors import BananasTopologyError, RedisAccessDenied
from bananas_topology.jobs import scripts
from bananas_topology.jobs.calls import Call, Channel, ScriptClient, Value
from bananas_topology.jobs.connection import check_server, translate_errors
from bananas_topology.jobs.consumer import Consumer
from bananas_topology.jobs.crashes import KEEP_CRASHES_S
from bananas_topology.jobs.exchange import ClaimRequest, PendingExchange
from bananas_topology.jobs.history import PERIODS, HistoryFlush
from bananas_topology.jobs.job import EncodedJob
from bananas_topology.jobs.job_types import EncodedSchemas
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.replies import (
    Announcement,
    Election,
    HeartbeatReply,
    Recovery,
    ScheduleState,
    SeenSchedule,
)
from bananas_topology.jobs.settlements import Settlement, group_settlements
from bananas_topology.jobs.stored import server_time, to_bytes, to_text
from bananas_topology.jobs.waiting import OnWait, call_in_slices
from bananas_topology.system.clock import format_timestamp

#: Maximum number of jobs that one claim parks: bounds how long it blocks the server.
PARK_LIMIT = 1_000

#: Maximum number of due jobs that one promotion moves, for the same reason.
PROMOTE_LIMIT = 1_000

#: Maximum number of claims that one call of a recovery returns, for the same reason.
RECOVER_LIMIT = 1_000

#: Number of settlements from which the claim is sent ahead of them.
CLAIM_FIRST = 16

#: Maximum number of expired workers that one heartbeat reports.
EXPIRED_LIMIT = 100


class Broker:
    """The transitions of jobs under one prefix. Thread-safe; every method may block for a reply.

    Raises (every method):
        RedisUnavailable: the server did not answer, or is not ready.
        RedisUnsuitable: the server rejects the request.
    """

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self.client = client
        self.keys = keys
        self._scripts = ScriptClient(client)

    def attend(self, on_wait: OnWait) -> None:
        """Have `on_wait` called while the server does not answer (see waiting.py).

        To be called before anything else, for a broker that one thread uses.
        """
        self._scripts.on_wait = on_wait

    def check_server(self) -> list[str]:
        """Check the server's version, settings and permissions; returns warnings for the operator.

        Raises:
            RedisUnavailable, RedisUnsuitable: as `connection.check_server`.
        """
        return call_in_slices(self._check_server, self._scripts.on_wait)

    def _check_server(self) -> list[str]:
        warnings = check_server(self.client)
        try:
            with translate_errors(self.client):
                self.client.publish(self.keys.notify(""), "")
        except RedisAccessDenied as error:
            warnings.append(f"clients notice up to a second late that their job has ended: {error}")
        return warnings

    def open_channel(self) -> Channel:
        """Open a connection that is not shared: for the wake listener, and to watch a queue."""
        return self._scripts.open()

    def close(self) -> None:
        """Close the connections; the next call opens another."""
        self._scripts.close()

    def enqueue(self, jobs: Sequence[EncodedJob]) -> list[bool]:
        """Put jobs into queues or the schedule; False for each whose id already existed."""
        arguments: list[Value] = [self.keys.prefix]
        for job in jobs:
            arguments += (job.job_id, job.body, job.priority, job.job_type, job.due)
        call = Call(scripts.ENQUEUE, (self.keys.stats,), arguments)
        return [reply == 1 for reply in self._scripts.run_one(call)]

    def cancel(self, job_id: str) -> bool:
        """Delete a job that has not started; False if there is none that waits to start."""
        arguments = (self.keys.prefix, to_bytes(job_id))
        call = Call(scripts.CANCEL, (self.keys.scheduled,), arguments)
        return bool(self._scripts.run_one(call))

    def exchange(
        self,
        consumer: Consumer,
        settlements: Sequence[Settlement],
        request: ClaimRequest | None,
    ) -> PendingExchange:
        """Send settlements and a claim in one round trip.

        With many settlements the claim goes first, so that the worker can start while the server
        settles. Not after a job that ran alone: nothing may be claimed while it is held.
        """
        groups = group_settlements(settlements)
        calls = [self._settle(group, consumer) for group in groups]
        if request is None:
            return PendingExchange(self._scripts.send(calls), groups, None)
        claim = self.claim_call(consumer, request)
        is_alone = any(settlement.claim.crashes for settlement in settlements)
        if is_alone or len(settlements) < CLAIM_FIRST:
            return PendingExchange(self._scripts.send([*calls, claim]), groups, -1)
        return PendingExchange(self._scripts.send([claim, *calls]), groups, 0)

    def _settle(self, group: Sequence[Settlement], consumer: Consumer) -> Call:
        """Settle up to `SETTLE_LIMIT` claims by the same script."""
        first = group[0]
        arguments: list[Value] = [self.keys.prefix, *first.shared_args(consumer), len(group)]
        for settlement in group:
            claim = settlement.claim
            arguments += (to_bytes(claim.job_id), claim.fence, *settlement.job_args())
        for settlement in group:
            if settlement.run:
                arguments += (to_bytes(settlement.claim.job_id), settlement.run)
        return Call(first.script, (self.keys.claims(consumer.worker_id),), arguments)

    def claim_call(self, consumer: Consumer, request: ClaimRequest) -> Call:
        """The call that claims, to be sent on a connection of the caller's (see wake.py)."""
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

    def recover(self, consumer: Consumer, token: str, known: Iterable[bytes]) -> Recovery:
        """Return the claims under the worker's own id that are not `known` to it.

        Claims of its earlier incarnations crashed with them; those of this one are lost replies.
        `token` is as that of a `ClaimRequest`: earlier requests that arrive from now on claim
        nothing.
        """
        recovery, _ = self._recover(consumer.worker_id, token, consumer.max_crashes, list(known))
        return recovery

    def reap(self, consumer: Consumer, expired: Iterable[str]) -> dict[str, Recovery]:
        """Return the claims of other workers whose lease has expired, and deregister these.

        Left out are those that are alive after all, or that another worker has reaped already.
        """
        reaped: dict[str, Recovery] = {}
        for worker_id in expired:
            recovery, is_removed = self._recover(worker_id, "", consumer.max_crashes, [])
            if is_removed or recovery.returned:
                reaped[worker_id] = recovery
        return reaped

    def _recover(
        self, worker_id: str, token: str, max_crashes: int, known: list[bytes]
    ) -> tuple[Recovery, bool]:
        """Return claims; also whether that has removed the worker."""
        arguments: list[Value] = [self.keys.prefix, worker_id, token, RECOVER_LIMIT]
        arguments += (max_crashes, KEEP_CRASHES_S, *known)
        returned = crashed = 0
        while True:
            call = Call(scripts.RECOVER, (self.keys.claims(worker_id),), arguments)
            batch, crashed_in_batch, removed = self._scripts.run_one(call)
            returned, crashed = returned + batch, crashed + crashed_in_batch
            if batch < RECOVER_LIMIT:
                return Recovery(returned, crashed), removed == 1

    def promote(self) -> int:
        """Move due jobs into their queues; `PROMOTE_LIMIT` moved means that more may be due."""
        call = Call(scripts.PROMOTE, (self.keys.scheduled,), (self.keys.prefix, PROMOTE_LIMIT))
        return int(self._scripts.run_one(call))

    def elect(self, worker_id: str, term_ms: int) -> Election:
        """Elect one worker, this or another, to watch the queues for `term_ms` (watch.py)."""
        call = Call(scripts.ELECT, (self.keys.watcher,), (worker_id, term_ms))
        is_elected, left_ms = self._scripts.run_one(call)
        return Election(is_elected == 1, left_ms)

    def resign(self, worker_id: str) -> None:
        """Resign, so that another worker is elected at once."""
        self._scripts.run_one(Call(scripts.RESIGN, (self.keys.watcher,), (worker_id,)))

    def announce(self, priority: str) -> Announcement:
        """Notify idle workers of the jobs in a queue."""
        keys = (self.keys.queue(priority),)
        call = Call(scripts.ANNOUNCE, keys, (self.keys.prefix, priority))
        is_notified, length = self._scripts.run_one(call)
        return Announcement(is_notified == 1, length)

    def now(self) -> datetime:
        """Read the server's clock."""
        return server_time(self._scripts.command("TIME"))

    def see_schedules(
        self, own: Mapping[str, tuple[str, str]], now: datetime, *, is_stopping: bool
    ) -> dict[str, SeenSchedule]:
        """Register the caller's definitions of schedules as seen, and read the state of these.

        `own` has an id of each definition and its expression (see `ScheduleState.cron`). `now` is
        the server's clock.
        """
        arguments: list[Value] = [_unix_ms(now), format_timestamp(now), int(is_stopping)]
        for name, definition in own.items():
            arguments += (name, *definition)
        shared = (self.keys.schedule_seen, self.keys.schedule_definitions)
        keys = (*shared, *map(self.keys.schedule, own))
        replies = self._scripts.run_one(Call(scripts.SEE_SCHEDULES, keys, arguments))
        return {
            name: SeenSchedule(
                ScheduleState(to_text(next_run), to_text(cron)),
                is_current == 1,
                datetime.fromtimestamp(int(since_ms) / 1000, UTC),
                to_text(defined) == own[name][0],
            )
            for name, (next_run, cron, is_current, since_ms, defined) in zip(
                own, replies, strict=True
            )
        }

    def define_schedule(self, name: str, definition: str, text: str) -> None:
        """Store a definition, by its id, as JSON; for the caller with the effective definition."""
        keys = (self.keys.schedule_definitions, self.keys.schedule(name))
        self._scripts.run_one(Call(scripts.DEFINE_SCHEDULE, keys, (name, definition, text)))

    def fire(
        self,
        name: str,
        scheduler: tuple[str, bool],
        now: datetime,
        before: ScheduleState,
        after: ScheduleState,
        job: EncodedJob | None,
    ) -> bool:
        """Move a schedule from one state to the next and enqueue `job`, if any, in the same step.

        `scheduler` is the caller's definition and whether it is stopping, as in `see_schedules`.
        False if another scheduler was first, or has a newer definition.
        """
        definition, is_stopping = scheduler
        seen_as = f"{definition}:stopping" if is_stopping else definition
        arguments: list[Value] = [self.keys.prefix, seen_as, _unix_ms(now)]
        arguments += (to_bytes(before.next_run), after.next_run, after.cron)
        if job is None:
            arguments.append("")
        else:
            arguments += (
                job.job_id,
                job.body,
                job.priority,
                job.job_type,
                to_bytes(before.next_run),
            )
        call = Call(scripts.FIRE_SCHEDULE, (self.keys.schedule(name),), arguments)
        return bool(self._scripts.run_one(call))

    def heartbeat(
        self,
        consumer: Consumer,
        incarnation: str,
        info: Mapping[str, Value],
        *,
        boot: bool,
        schemas: str = "",
        flush: HistoryFlush | None = None,
    ) -> HeartbeatReply:
        """Renew the worker's lease, store what it reports, and learn whose lease has expired.

        Crashes that were recorded because this process seemed to be gone are withdrawn. `boot`
        takes over the id from any process that had it. `schemas` is the digest of those that were
        stored by `store_schemas`, which are kept. `flush` is added to the history by the same round
        trip.
        """
        keys = (
            self.keys.workers,
            self.keys.worker(consumer.worker_id),
            self.keys.heartbeat,
            self.keys.crashed(incarnation),
        )
        mode = "boot" if boot else "beat"
        arguments: list[Value] = [self.keys.prefix, consumer.worker_id, consumer.lease_ms]
        arguments += (incarnation, mode, EXPIRED_LIMIT, schemas)
        for name, value in info.items():
            arguments += (name, value)
        call = Call(scripts.HEARTBEAT, keys, arguments)
        reply, flush_error = self._run_with(flush, consumer.worker_id, call)
        is_ours, lost, expiry_ms, sharing, lacks_schemas, *expired = reply
        worker_ids = tuple(worker_id.decode() for worker_id in expired)
        return HeartbeatReply(
            is_ours != 1, worker_ids, expiry_ms, lost, sharing, lacks_schemas == 1, flush_error
        )

    def store_schemas(self, schemas: EncodedSchemas, keep_ms: int) -> None:
        """Store the schemas of a worker's job types, to be kept by its heartbeats."""
        key = self.keys.schemas(schemas.digest)
        self._scripts.command("SET", key, schemas.text, "PX", keep_ms)

    def deregister(
        self, worker_id: str, incarnation: str, flush: HistoryFlush | None = None
    ) -> bool:
        """Remove a worker that holds no claims. `flush` as with a heartbeat.

        False if it holds some, or if another process has taken over its id.
        """
        keys = (self.keys.workers, self.keys.worker(worker_id), self.keys.claims(worker_id))
        call = Call(scripts.DEREGISTER, keys, (worker_id, incarnation, self.keys.prefix))
        is_removed, _ = self._run_with(flush, worker_id, call)
        return bool(is_removed)

    def _run_with(
        self, flush: HistoryFlush | None, worker_id: str, call: Call
    ) -> tuple[Any, BananasTopologyError | None]:
        """Send a call together with a flush; returns its reply, and why the flush failed, if so."""
        if flush is None:
            return self._scripts.run_one(call), None
        arguments: list[Value] = [self.keys.prefix, flush.token, flush.pool, flush.counts]
        for period in PERIODS.values():
            arguments += (period.step_s, period.keep_s)
        keys = (self.keys.history_flushed(worker_id),)
        added = Call(scripts.ADD_HISTORY, keys, arguments)
        reply, flushed = self._scripts.send([call, added]).outcomes()
        if isinstance(reply, BananasTopologyError):
            raise reply
        return reply, flushed if isinstance(flushed, BananasTopologyError) else None

    def publish_jobs(self, jobs: Sequence[bytes]) -> int:
        """Publish finished jobs, each a JSON object; see events.py.

        Returns the number of workers that share the rate of events; 0 if there is no subscriber, so
        nothing was published.
        """
        call = Call(scripts.PUBLISH_JOBS, (self.keys.workers,), (self.keys.prefix, *jobs))
        return int(self._scripts.run_one(call))


def _unix_ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
