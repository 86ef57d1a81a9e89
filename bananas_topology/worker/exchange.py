"""All that a worker says to Redis: settling, claiming, its sign of life, the scheduler's duties.

One exchange settles what is done and claims what there are slots for. Whatever Redis does, outcomes
are kept until it takes them (see settlement.py).
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from bananas_topology.contract.worker import WorkerConfig
from bananas_topology.errors import BananasTopologyError, RedisUnavailable
from bananas_topology.jobs.broker import PROMOTE_LIMIT, Broker, Consumer
from bananas_topology.jobs.connection import check_server
from bananas_topology.jobs.crashes import is_poison
from bananas_topology.jobs.exchange import Claimed, ClaimRequest
from bananas_topology.jobs.job import Claim
from bananas_topology.jobs.wake import WakeListener
from bananas_topology.system.clock import monotonic, sleep
from bananas_topology.worker.claiming import Pace
from bananas_topology.worker.heartbeat import Presence
from bananas_topology.worker.metrics import Tally
from bananas_topology.worker.periodic import Duty, next_due, run_due
from bananas_topology.worker.run import Run
from bananas_topology.worker.settlement import Outbox, poisoned, settlement_of
from bananas_topology.worker.slots import Slots

if TYPE_CHECKING:
    from bananas_topology.worker.scheduler import Scheduler

#: Seconds between two exchanges while the slots have enough to do.
TALK_S = 0.001

#: Seconds that started jobs have the processor to themselves, and may end, before the worker waits
#: for the next ring: a lone short job is settled sooner so.
BREATH_S = 0.001

#: Seconds for which the loop leaves the interpreter to the thread that a ring's job has woken.
YIELD_S = 0.00005

#: Milliseconds behind the end of another worker's lease at which it is looked at.
_EXPIRY_MARGIN_MS = 20

log = logging.getLogger(__name__)


class Fetcher:
    """Fetches work for the slots and brings the outcomes back. All methods are the loop's."""

    def __init__(
        self, config: WorkerConfig, job_types: tuple[str, ...], broker: Broker, slots: Slots
    ) -> None:
        self._broker = broker
        self._slots = slots
        self._consumer = Consumer.of(config, job_types)
        self._incarnation = uuid.uuid4().hex[:12]
        self._presence = Presence(config, job_types, self._incarnation)
        self._listener = WakeListener(broker, self._consumer, by_type=bool(config.job_types))
        self._listening = ClaimRequest(0, "")
        self._ranks = {priority.encode(): n for n, priority in enumerate(config.priorities)}
        self._pace = Pace(config.concurrency)
        self._claim_number = 0
        self._talked_at = self._started_at = 0.0
        self._must_look = self._must_recover = True
        self._must_promote = False
        self._promotes = config.enable_scheduler
        self._promote_s = config.scheduler_interval_ms / 1000
        self._promoted_at = 0.0
        self.tally = Tally(config.concurrency, is_scraped=config.metrics_port > 0)
        self._outbox = Outbox(self.tally)
        self.link = Link()
        self._duties = self._make_duties(config)
        self.is_booted = False
        #: Set once no more shall be taken.
        self.is_quiet = False
        #: Set when another process has taken this worker's id.
        self.is_deposed = False

    def _make_duties(self, config: WorkerConfig) -> list[Duty]:
        duties = [Duty(config.lease_ms / 3000, self._beat)]
        if config.enable_scheduler:
            duties.append(Duty(self._promote_s, self._promote))
            if config.schedules:
                duties.append(Duty(self._promote_s, self._make_scheduler(config).run))
        return duties

    def _make_scheduler(self, config: WorkerConfig) -> Scheduler:
        # Imported here: a worker without schedules is spared calendars and time zones.
        from bananas_topology.worker.scheduler import Scheduler

        broker = self._broker
        return Scheduler(broker, config.schedules, broker.now, self.tally.count_enqueued)

    @property
    def has_unsettled(self) -> bool:
        """Whether outcomes are left that Redis does not know of."""
        return bool(self._outbox.runs)

    @property
    def enough(self) -> int:
        """How many waiting jobs keep the slots at work until more are fetched."""
        return self._pace.ahead * 3 // 4

    def filenos(self) -> list[int]:
        """What to select on; then call `hear`."""
        return [fd for fd in (self._outbox.fileno(), self._listener.fileno()) if fd >= 0]

    def quiet(self) -> None:
        """Take nothing more; what a listener may have claimed is given back."""
        self.is_quiet = True
        self._must_recover |= self._listener.close() and self.is_booted

    def finished(self, runs: list[Run]) -> None:
        """Have runs that have ended settled, and learn from them how far to claim ahead."""
        last = runs[-1]
        total_s = sum([run.duration_s for run in runs])
        self._pace.note(len(runs), total_s, last.started_at - last.submitted_at)
        self.settle(runs)

    def late(self, runs: list[Run], waited_s: float) -> None:
        """Give back runs that waited too long for a thread, and claim less far ahead."""
        self._pace.slow(waited_s)
        self.settle(runs)

    def settle(self, runs: list[Run]) -> None:
        """Have runs settled by the next exchange."""
        self._outbox.put(runs)

    def next_talk(self) -> float:
        """When there is something to say to Redis: at once, if slots might run dry."""
        if self._must_recover:
            return self.link.next_try
        at = min(next_due(self._duties), self._outbox.due)
        if self._slots.waiting > self.enough:
            # While the server is still at what was sent, more gathers.
            return at if self._outbox.is_under_way else self._talked_at + TALK_S
        if self._outbox.has_unsent or (self._must_look and self._room() > 0):
            return self.link.next_try
        if self._wants_ring():
            at = min(at, self._started_at + BREATH_S)
        return max(self.link.next_try, at)

    def talk(self) -> None:
        """Say what there is to say now; an outage leaves it for the next try.

        Raises:
            RedisUnsuitable: the server cannot be used, and this is the first we hear of it.
        """
        now = monotonic()
        if now < self.link.next_try or now < self.next_talk():
            return
        try:
            if self._must_recover:
                self._recover()
            run_due(self._duties)
            self._exchange()
            if self._wants_ring() and monotonic() - self._started_at >= BREATH_S:
                self._listen()
        except BananasTopologyError as error:
            if not self.is_booted and not isinstance(error, RedisUnavailable):
                raise
            self._lost(error)
        else:
            self._talked_at = monotonic()
            self.link.succeeded()

    def hear(self, readable: Collection[int]) -> None:
        """Read what has come."""
        try:
            if self._outbox.fileno() in readable:
                self._outbox.land()
            if self._listener.fileno() in readable:
                self._hear_ring()
        except BananasTopologyError as error:
            self._lost(error)

    def _hear_ring(self) -> None:
        """Take a ring and what it brought, or neither."""
        answer = self._listener.answer()
        if answer is None or answer.taken is None:
            self._must_look = True
            return
        self._took(self._listening, answer.taken)
        if answer.taken.claims:
            sleep(YIELD_S)
        if self._wants_ring() and not answer.rung:
            self._listen()

    def _listen(self) -> None:
        """Wait for the next ring, with a claim for all that is free just now behind it."""
        self._listening = self._next_request(max(1, self._slots.free), self._promotes)
        self._listener.listen(self._listening)

    def has_left(self) -> bool:
        """Tell Redis that this worker is gone; whether that is done, or not needed."""
        if not self.is_booted:
            return True
        worker_id = self._consumer.worker_id
        try:
            if not self._broker.deregister(worker_id, self._incarnation) and not self.is_deposed:
                # A ring that came while the listener was closed has claimed behind our back.
                self._broker.recover(self._consumer, self._incarnation, ())
                self._broker.deregister(worker_id, self._incarnation)
        except BananasTopologyError as error:
            self.link.failed(error)
            return False
        return True

    def _lost(self, error: BananasTopologyError) -> None:
        # What was sent may have been done, its reply lost: claims that we do not know of.
        self._must_recover = self._must_look = True
        self._outbox.recall()
        self._listener.close()
        self.link.failed(error)

    def _recover(self) -> None:
        """Take the lease, and have returned what is under our id that we do not work on."""
        if not self.is_booted:
            for warning in check_server(self._broker.client):
                log.warning(warning)
        self._beat()
        known = {run.claim.job_id for run in (*self._slots.held, *self._outbox.runs)}
        ids = [job_id.encode(errors="surrogateescape") for job_id in known]
        recovery = self._broker.recover(self._consumer, self._incarnation, ids)
        if recovery.returned:
            extra = {"jobs": recovery.returned, "crashed": recovery.crashed}
            log.warning("claims taken back", extra=extra)
        self._must_recover = False
        if not self.is_booted:
            self.is_booted = True
            self.link.succeeded()
            log.info("worker ready", extra=self._presence.summary)

    def _beat(self) -> float:
        """Give the sign of life; returns in how many seconds the next is due."""
        beat = self._broker.beat(
            self._consumer,
            self._incarnation,
            self._presence.fields(len(self._slots.held)),
            boot=not self.is_booted,
        )
        self.is_deposed = not beat.held
        for worker_id, recovery in self._broker.reap(self._consumer, beat.expired).items():
            log.warning("worker reaped", extra={"reaped": worker_id, "jobs": recovery.returned})
        due_ms = self._consumer.lease_ms // 3
        if beat.next_expiry_ms > 0:
            due_ms = min(due_ms, beat.next_expiry_ms + _EXPIRY_MARGIN_MS)
        return due_ms / 1000

    def _promote(self) -> float | None:
        """Have due jobs promoted, by the claim that follows if there is one.

        One batch at a time: however many are due, signals, outcomes and the lease do not wait.
        """
        rest_s = self._promoted_at + self._promote_s - monotonic()
        if rest_s > 0:
            return rest_s  # a listener's claim has seen to it
        if self._room() > 0:
            self._must_promote = self._must_look = True
            return None
        if self._broker.promote() == PROMOTE_LIMIT:
            return 0.0
        self._promoted_at = monotonic()
        return None

    def _room(self) -> int:
        """How many jobs more to take now."""
        if self.is_quiet or not self._consumer.job_types or self._slots.waiting > self.enough:
            return 0
        spoken_for = self._listening.count if self._listener.is_waiting else 0
        ahead = self._pace.ahead * (not self._slots.has_async)
        return max(0, self._slots.free + ahead - spoken_for)

    def _wants_ring(self) -> bool:
        """Whether there is nothing to do but to wait for a ring, and nobody waits for it yet."""
        return not self._must_look and not self._listener.is_waiting and self._room() > 0

    def _exchange(self) -> None:
        """Settle what is done and claim what there are slots for.

        What was settled is learnt with the next exchange, or when that is readable: the server
        never waits for us to read, nor do the slots.
        """
        room = self._room()
        batch = self._outbox.batch()
        wanted = room > 0 and (self._must_look or bool(batch))
        if not wanted and not batch:
            return self._outbox.land()
        request = self._next_request(room, self._must_promote) if wanted else None
        settlements = [settlement_of(run) for run in batch]
        pending = self._broker.exchange(self._consumer, settlements, request)
        self._outbox.sent(pending, batch)
        self._outbox.land(leave=1)
        claimed = pending.claimed()
        if request is not None and claimed is not None:
            self._took(request, claimed)
        if not pending.is_open:
            self._outbox.land()

    def _next_request(self, count: int, promote: bool) -> ClaimRequest:
        self._claim_number += 1
        token = f"{self._incarnation}.{self._claim_number}"
        return ClaimRequest(count, token, promote=promote)

    def _took(self, request: ClaimRequest, reply: Claimed) -> None:
        self._must_promote = request.promote and reply.promoted == PROMOTE_LIMIT
        if request.promote and not self._must_promote:
            self._promoted_at = monotonic()
        more = reply.more or self._must_promote
        self._must_look = more or len(reply.claims) >= request.count
        if not reply.claims:
            return
        if is_poison(reply.claims[0].crashes, self._consumer.max_crashes):
            self.settle([poisoned(Run(reply.claims[0], monotonic()))])
        else:
            self._start(reply.claims)

    def _start(self, claims: Sequence[Claim]) -> None:
        """Give claims to slots, the more urgent first."""
        now = self._started_at = monotonic()
        runs = [Run(claim, now) for claim in claims]
        last = self._slots.last_waiting()
        if last is not None and self._rank(runs[0]) < self._rank(last):
            self._slots.reorder(runs, self._rank)
        else:
            self._slots.submit(runs)

    def _rank(self, run: Run) -> int:
        """How urgent a run is: the lower, the sooner; by the queue that its claim came from."""
        source = run.claim.fence.split(b"|", 2)[1]
        return self._ranks.get(source.partition(b":")[0], len(self._ranks))


#: Seconds between tries while Redis does not answer: doubled from the first to the last. The last
#: bounds how long after Redis's return work is taken up again.
FIRST_PAUSE_S = 0.1
LAST_PAUSE_S = 1.0

#: Seconds after which an outage that goes on is mentioned again.
REMIND_S = 30.0


class Link:
    """The state of a worker's connection to Redis. Times on the monotonic clock, in seconds."""

    def __init__(self) -> None:
        self._down_since: float | None = None
        self._was_up = False
        self._pause_s = FIRST_PAUSE_S
        self._said_at = 0.0
        self.next_try = 0.0

    @property
    def is_down(self) -> bool:
        """Whether the last try failed."""
        return self._down_since is not None

    def failed(self, error: BananasTopologyError) -> None:
        """Note that a try failed."""
        now = monotonic()
        if self._down_since is None:
            self._down_since, self._said_at = now, now
            if self._was_up:
                log.warning(
                    "redis lost: %s; running jobs go on, and are settled when it is back", error
                )
            else:
                log.warning("waiting for redis: %s", error)
        elif now - self._said_at >= REMIND_S:
            self._said_at = now
            down_s = round(now - self._down_since)
            log.warning("redis still lost", extra={"down_s": down_s, "reason": str(error)})
        self.next_try = now + self._pause_s
        self._pause_s = min(self._pause_s * 2, LAST_PAUSE_S)

    def succeeded(self) -> None:
        """Note that a try succeeded."""
        self._was_up = True
        if self._down_since is None:
            return
        log.info("redis back", extra={"down_s": round(monotonic() - self._down_since, 1)})
        self._down_since, self._pause_s, self.next_try = None, FIRST_PAUSE_S, 0.0
