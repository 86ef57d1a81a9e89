"""What to claim: how many jobs and when, and how claimed jobs are ordered for the slots."""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import count

from bananas_topology.contract.worker import WorkerConfig
from bananas_topology.jobs.broker import PROMOTE_LIMIT, Broker
from bananas_topology.jobs.consumer import Consumer
from bananas_topology.jobs.crashes import is_poison
from bananas_topology.jobs.exchange import Claimed, ClaimRequest
from bananas_topology.jobs.job import Claim
from bananas_topology.jobs.stored import claimed_at
from bananas_topology.jobs.wake import LISTEN_TIMEOUT_S, WakeListener
from bananas_topology.system.clock import monotonic, sleep
from bananas_topology.worker.run import Run
from bananas_topology.worker.settlement import PendingSettlements, bury_as_poison
from bananas_topology.worker.slots import Slots

#: Maximum seconds that a prefetched job may wait, and so delay a more urgent one.
MAX_WAIT_S = 0.005

#: Maximum jobs to hold, including those that run: larger batches gain nothing, and outgrow the
#: caches of worker and server.
MAX_HELD = 250

#: Weight of a new batch when the estimated duration falls. Rises are taken over at once: too long
#: an estimate does less harm.
_DECAY = 0.2

#: Maximum jobs to prefetch until their waiting time is known.
_INITIAL = 10

#: Seconds to wait after starting jobs before listening again: a short job ends and is settled
#: sooner if nothing else needs the processor.
LISTEN_DELAY_S = 0.001

#: Seconds for which the loop yields the interpreter to the thread that a wake-up has given a job.
YIELD_S = 0.00005


log = logging.getLogger(__name__)


class PrefetchLimit:
    """How many jobs to claim beyond those that run: a few milliseconds of work.

    Prefetching claims short jobs in large batches, but a prefetched job waits in this process while
    other workers might run it. The limit follows from how long runs take and from how long
    prefetched jobs have actually waited, which accounts for handlers that hold the interpreter's
    lock and so do not run in parallel. Times in seconds.
    """

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._mean_s = 2 * MAX_WAIT_S
        self._by_wait = float(_INITIAL)

    @property
    def prefetch(self) -> int:
        """How many jobs to hold beyond those that run; 0 unless jobs are short."""
        if self._mean_s >= 2 * MAX_WAIT_S:
            return 0
        by_duration = MAX_WAIT_S * self._concurrency / max(self._mean_s, 1e-6)
        return int(min(max(0, MAX_HELD - self._concurrency), by_duration, self._by_wait))

    def update(self, count: int, total_s: float, waited_s: float) -> None:
        """Learn from `count` runs that took `total_s` together; the last one waited `waited_s`."""
        mean_s = total_s / count
        rises = mean_s > self._mean_s
        self._mean_s += (mean_s - self._mean_s) * (1 if rises else _DECAY)
        if waited_s > MAX_WAIT_S:
            self._by_wait = max(float(_INITIAL), self._by_wait * MAX_WAIT_S / waited_s)
        elif waited_s < MAX_WAIT_S / 2:
            self._by_wait = min(float(MAX_HELD), self._by_wait * 1.5)

    def reduce(self, waited_s: float) -> None:
        """Learn that prefetched jobs had to wait for too long."""
        self._mean_s = max(self._mean_s, waited_s)
        self._by_wait = float(_INITIAL)


class Promotion:
    """When delayed jobs are promoted: with a claim if there is room for one, else by a call."""

    def __init__(self, config: WorkerConfig) -> None:
        self._interval_s = config.scheduler_interval_ms / 1000
        self._done_at = 0.0
        self.is_enabled = config.enable_scheduler
        #: Whether the next claim is to promote.
        self.is_due = False

    @property
    def remaining_s(self) -> float:
        """Seconds until the next promotion."""
        return self._done_at + self._interval_s - monotonic()

    def done(self) -> None:
        """Record that every due job has been promoted."""
        self.is_due = False
        self._done_at = monotonic()


class Claimer:
    """Builds claim requests, keeps the wake listener, and gives claimed jobs to the slots.

    Raises (`listen` and `on_readable`):
        RedisUnavailable, RedisUnsuitable: as the listener.
    """

    def __init__(
        self,
        config: WorkerConfig,
        consumer: Consumer,
        incarnation: str,
        broker: Broker,
        slots: Slots,
        pending: PendingSettlements,
    ) -> None:
        self._consumer = consumer
        self._tokens = (f"{incarnation}.{number}" for number in count(1))
        self._broker = broker
        self._slots = slots
        self._pending = pending
        self._listener = WakeListener(broker, consumer, by_type=bool(config.job_types))
        self._listening = ClaimRequest(0, "")
        self._promotion = Promotion(config)
        self._rank = _ranking(config.priorities)
        self._started_at = 0.0
        self._may_listen = True
        self._ask_at = 0.0
        self.limit = PrefetchLimit(config.concurrency)
        #: Whether a claim may find jobs.
        self.must_claim = True
        #: Set when no more jobs may be claimed.
        self.is_quiet = False

    @property
    def enough(self) -> int:
        """How many waiting jobs keep the slots busy until more are claimed."""
        return self.limit.prefetch * 3 // 4

    def room(self) -> int:
        """How many more jobs to claim now."""
        if self.is_quiet or not self._consumer.job_types or self._slots.waiting > self.enough:
            return 0
        reserved = self._listening.count if self._listener.is_waiting else 0
        prefetch = self.limit.prefetch * (not self._slots.has_async)
        return max(0, self._slots.free + prefetch - reserved)

    def next_token(self) -> str:
        """The token of the next call; see `ClaimRequest`."""
        return next(self._tokens)

    def request(self, limit: int) -> ClaimRequest:
        """A request for up to `limit` jobs, to be sent with an exchange."""
        return ClaimRequest(limit, self.next_token(), promote=self._promotion.is_due)

    def receive(self, request: ClaimRequest, reply: Claimed) -> None:
        """Start the claimed jobs, and note whether there are more."""
        self._promotion.is_due = request.promote and reply.promoted == PROMOTE_LIMIT
        if request.promote and not self._promotion.is_due:
            self._promotion.done()
        more = reply.more or self._promotion.is_due
        self.must_claim = more or len(reply.claims) >= request.count
        if not reply.claims:
            return
        now, first = monotonic(), reply.claims[0]
        if first.crashes and self._is_poison(first):
            self._pending.add([bury_as_poison(Run(first, now))])
        else:
            self._started_at = now
            self._start([Run(claim, now) for claim in reply.claims])

    def promote(self) -> float | None:
        """Promote due jobs, with the next claim if there is room for one.

        One batch at a time: however many jobs are due, signals, settlements and the lease do not
        wait. Returns the seconds until the next promotion if that is not the interval.
        """
        remaining_s = self._promotion.remaining_s
        if remaining_s > 0:
            return remaining_s  # the listener's claim has promoted them
        if self.room() > 0:
            self._promotion.is_due = self.must_claim = True
        elif self._broker.promote() == PROMOTE_LIMIT:
            return 0.0
        else:
            self._promotion.done()
        return None

    @property
    def listen_at(self) -> float:
        """When to `listen`; infinite while there is a reason not to."""
        if self.must_claim or self._listener.is_waiting or self.room() == 0:
            return float("inf")
        return max(self._started_at + LISTEN_DELAY_S, self._ask_at)

    def listen(self) -> None:
        """Wait for the next wake-up, with a claim for every free slot sent behind it."""
        if not self._may_listen:
            self.must_claim = True
            self._ask_at = monotonic() + LISTEN_TIMEOUT_S
            return
        limit = max(1, self._slots.free)
        promote = self._promotion.is_enabled
        self._listening = ClaimRequest(limit, self.next_token(), promote=promote)
        self._listener.listen(self._listening)

    def fileno(self) -> int:
        """The descriptor to select on before `on_readable`; -1 while not listening."""
        return self._listener.fileno()

    def on_readable(self) -> None:
        """Receive a wake-up and what was claimed with it."""
        reply = self._listener.receive()
        if reply is None or reply.claimed is None:
            self.must_claim = True
            return
        if reply.rejection is not None:
            self._may_listen = False
            seconds = f"{LISTEN_TIMEOUT_S} s"
            log.warning(
                "cannot wait for jobs: asking every %s instead: %s", seconds, reply.rejection
            )
        self.receive(self._listening, reply.claimed)
        if reply.claimed.claims:
            sleep(YIELD_S)
        if not reply.woken and self.listen_at < float("inf"):
            self.listen()

    def close(self) -> bool:
        """Stop listening; returns whether the reply to a claim may have been lost."""
        self._may_listen = True
        return self._listener.close()

    def _is_poison(self, claim: Claim) -> bool:
        max_crashes, lease_ms = self._consumer.max_crashes, self._consumer.lease_ms
        at = claimed_at(claim.fence)
        return at is not None and is_poison(claim.crashes, max_crashes, at, lease_ms)

    def _start(self, runs: list[Run]) -> None:
        """Give runs to the slots, ahead of less urgent ones already waiting."""
        last = self._slots.last_waiting()
        if last is not None and self._rank(runs[0]) < self._rank(last):
            self._slots.reorder(runs, self._rank)
        else:
            self._slots.submit(runs)


def _ranking(priorities: tuple[str, ...]) -> Callable[[Run], int]:
    """A sort key for runs, by the queue that they were claimed from: the lower, the sooner."""
    ranks = {priority.encode(): n for n, priority in enumerate(priorities)}

    def rank(run: Run) -> int:
        source = run.claim.fence.split(b"|", 2)[1]
        return ranks.get(source.partition(b":")[0], len(ranks))

    return rank
