"""The exchange with Redis: settles finished jobs, claims new ones, and runs periodic tasks.

Whatever Redis does, settlements are kept until it has confirmed them (see settlement.py).
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from bananas_topology.contract.worker import WorkerConfig
from bananas_topology.errors import BananasTopologyError, RedisUnavailable
from bananas_topology.jobs.broker import Broker
from bananas_topology.jobs.consumer import Consumer
from bananas_topology.system.clock import monotonic
from bananas_topology.worker.claiming import Claimer
from bananas_topology.worker.heartbeat import Heartbeat
from bananas_topology.worker.job_events import JobEvents
from bananas_topology.worker.job_reports import JobReports
from bananas_topology.worker.metrics import Tally
from bananas_topology.worker.periodic import PeriodicTask, next_due, run_due
from bananas_topology.worker.run import BoundHandler, Run
from bananas_topology.worker.settlement import PendingSettlements, settlement_of
from bananas_topology.worker.slots import Slots
from bananas_topology.worker.watcher import Watcher

if TYPE_CHECKING:
    from bananas_topology.worker.scheduler import Scheduler

#: Seconds between two exchanges while the slots have enough to do.
EXCHANGE_INTERVAL_S = 0.001

#: Seconds between attempts to reach Redis: doubled from the first to the last. The last one bounds
#: how soon work resumes once Redis is back.
FIRST_RETRY_S = 0.1
LAST_RETRY_S = 1.0

#: Seconds after which a continuing outage is logged again.
REMIND_S = 30.0

log = logging.getLogger(__name__)


class RedisAvailability:
    """Whether Redis answers: when to try again, and one log event per change.

    Times on the monotonic clock, in seconds.
    """

    def __init__(self) -> None:
        self._down_since: float | None = None
        self._was_up = False
        self._retry_s = FIRST_RETRY_S
        self._logged_at = 0.0
        #: Why the last attempt failed; None while Redis responds.
        self.error: BananasTopologyError | None = None
        #: When to try again; in the past while Redis answers.
        self.next_try = 0.0

    @property
    def is_down(self) -> bool:
        """Whether the last attempt failed."""
        return self._down_since is not None

    def failed(self, error: BananasTopologyError) -> None:
        """Record a failed attempt."""
        now = monotonic()
        self.error = error
        if self._down_since is None:
            self._down_since, self._logged_at = now, now
            if self._was_up:
                log.warning("connection lost: %s; running jobs continue", error)
            else:
                log.warning("waiting for Redis: %s", error)
        elif now - self._logged_at >= REMIND_S:
            self._logged_at = now
            down_s = round(now - self._down_since)
            log.warning("connection still lost", extra={"down_s": down_s, "reason": str(error)})
        self.next_try = now + self._retry_s
        self._retry_s = min(self._retry_s * 2, LAST_RETRY_S)

    def succeeded(self) -> None:
        """Record a successful attempt."""
        self._was_up = True
        if self._down_since is None:
            return
        self.error = None
        down_s = round(monotonic() - self._down_since, 1)
        log.info("connection restored", extra={"down_s": down_s})
        self._down_since, self._retry_s, self.next_try = None, FIRST_RETRY_S, 0.0


class ExchangeLoop:
    """Passes jobs to the slots and settlements to Redis. All methods are for the worker's loop."""

    def __init__(
        self,
        config: WorkerConfig,
        handlers: Mapping[str, BoundHandler],
        broker: Broker,
        slots: Slots,
        reports: JobReports | None = None,
    ) -> None:
        consumer = Consumer.of(config, tuple(handlers))
        incarnation = uuid.uuid4().hex[:12]
        self._broker = broker
        self._consumer = consumer
        self._slots = slots
        self.tally = Tally(is_scraped=config.metrics_port > 0)
        self.availability = RedisAvailability()
        self._events = JobEvents(broker, config.worker_id, config.pool)
        self._pending = PendingSettlements(self.tally, reports, self._events)
        self._heartbeat = Heartbeat(
            config,
            consumer,
            incarnation,
            broker,
            slots,
            self._pending,
            self.tally,
            self._events,
            handlers,
        )
        self._claimer = Claimer(config, consumer, incarnation, broker, slots, self._pending)
        self._scheduler: Scheduler | None = None
        self._watcher = Watcher(broker, config.worker_id)
        self._tasks = self._periodic_tasks(config)
        self._exchanged_at = 0.0
        self._must_recover = True

    def _periodic_tasks(self, config: WorkerConfig) -> list[PeriodicTask]:
        heartbeat = PeriodicTask(config.lease_ms / 3000, self._heartbeat.beat)
        tasks = [heartbeat, self._watcher.task, self._events.task]
        if config.enable_scheduler:
            interval_s = config.scheduler_interval_ms / 1000
            tasks.append(PeriodicTask(interval_s, self._claimer.promote))
            if config.schedules:
                self._scheduler = self._make_scheduler(config)
                tasks.append(PeriodicTask(interval_s, self._scheduler.run))
        return tasks

    def _make_scheduler(self, config: WorkerConfig) -> Scheduler:
        # Imported here so that a worker without schedules loads no calendars and time zones.
        from bananas_topology.worker.scheduler import CachedClock, Scheduler

        clock = CachedClock(self._broker.now)
        return Scheduler(self._broker, config.schedules, clock, self.tally.count_enqueued)

    @property
    def is_booted(self) -> bool:
        """Whether the worker has been registered."""
        return self._heartbeat.is_booted

    @property
    def is_superseded(self) -> bool:
        """Whether another process has taken this worker's id."""
        return self._heartbeat.is_superseded

    @property
    def has_unsettled(self) -> bool:
        """Whether settlements are left that Redis has not confirmed."""
        return not self._pending.is_empty

    @property
    def enough(self) -> int:
        """How many waiting jobs keep the slots busy until more are claimed."""
        return self._claimer.enough

    def filenos(self) -> list[int]:
        """The descriptors to select on; then call `on_readable`."""
        filenos = [fd for fd in (self._pending.fileno(), self._claimer.fileno()) if fd >= 0]
        return filenos + self._watcher.filenos()

    def quiet(self) -> None:
        """Stop claiming; jobs that the listener may have claimed are requeued."""
        self._claimer.is_quiet = True
        if self._scheduler is not None:
            self._scheduler.stop()
        self._must_recover |= self._claimer.close() and self.is_booted

    def finish(self, runs: list[Run]) -> None:
        """Settle finished runs, and adjust the prefetch limit by their durations."""
        last = runs[-1]
        total_s = sum([run.duration_s for run in runs])
        self._claimer.limit.update(len(runs), total_s, last.started_at - last.submitted_at)
        self.settle(runs)

    def release_late(self, runs: list[Run], waited_s: float) -> None:
        """Settle released runs that waited too long for a thread, and prefetch fewer."""
        self._claimer.limit.reduce(waited_s)
        self.settle(runs)

    def settle(self, runs: list[Run]) -> None:
        """Have runs settled by the next exchange."""
        self._pending.add(runs)

    def next_exchange(self) -> float:
        """When to call `exchange`: at once if slots might run dry."""
        if self._must_recover:
            return self.availability.next_try
        at = min(next_due(self._tasks), self._pending.due)
        if self._slots.waiting > self._claimer.enough:
            # More settlements gather while the server works on the last ones.
            return at if self._pending.is_in_flight else self._exchanged_at + EXCHANGE_INTERVAL_S
        if self._pending.has_unsent or (self._claimer.must_claim and self._claimer.room() > 0):
            return self.availability.next_try
        return max(self.availability.next_try, min(at, self._claimer.listen_at))

    def exchange(self) -> None:
        """Send and receive what is due; after a failure it is sent again with the next attempt.

        Raises:
            RedisUnsuitable: the server cannot be used, and never could since the worker started.
        """
        now = monotonic()
        if now < self.availability.next_try or now < self.next_exchange():
            return
        try:
            if self._must_recover:
                is_first = not self.is_booted
                self._recover()
                if is_first:
                    return  # readiness is reported before a job can crash this process
            run_due(self._tasks)
            self._exchange()
            if self._claimer.listen_at <= monotonic():
                self._claimer.listen()
        except BananasTopologyError as error:
            if not self.is_booted and not isinstance(error, RedisUnavailable):
                raise
            self._lost(error)
        else:
            self._exchanged_at = monotonic()
            self.availability.succeeded()

    def on_readable(self, readable: Collection[int]) -> None:
        """Receive what has arrived at these descriptors."""
        try:
            if self._pending.fileno() in readable:
                self._pending.receive()
            if self._claimer.fileno() in readable:
                self._claimer.on_readable()
        except BananasTopologyError as error:
            self._lost(error)
        self._watcher.on_readable(readable)

    def deregister(self) -> bool:
        """Remove this worker from Redis; returns whether that is done or was not needed."""
        if not self.is_booted:
            return True
        try:
            self._watcher.resign()
            self._heartbeat.deregister(self._claimer.next_token())
        except BananasTopologyError as error:
            self.availability.failed(error)
            return False
        return True

    def _lost(self, error: BananasTopologyError) -> None:
        # Requests may have been applied and their replies lost, so claims may be unknown here.
        self._must_recover = self._claimer.must_claim = True
        self._pending.requeue(error)
        self._claimer.close()
        self._watcher.close()
        self.availability.failed(error)

    def _recover(self) -> None:
        """Register again, and requeue claims under our id that we do not work on."""
        is_first = not self.is_booted
        if is_first:
            for warning in self._broker.check_server():
                log.warning(warning)
        self._heartbeat.recover(self._claimer.next_token())
        self._must_recover = False
        if is_first:
            self.availability.succeeded()
            log.info("worker ready", extra=self._heartbeat.info.summary)

    def _exchange(self) -> None:
        """Settle finished jobs and claim as many as there is room for.

        The reply to settlements is read with the next exchange, or once it is readable, so that
        neither the server nor the slots ever wait for it to be read.
        """
        room = self._claimer.room()
        batch = self._pending.batch()
        is_claiming = room > 0 and (self._claimer.must_claim or bool(batch))
        if not is_claiming and not batch:
            return self._pending.receive()
        request = self._claimer.request(room) if is_claiming else None
        settlements = [settlement_of(run) for run in batch]
        exchange = self._broker.exchange(self._consumer, settlements, request)
        self._pending.sent(exchange, batch)
        self._pending.receive(leave=1)
        claimed = exchange.claimed()
        if request is not None and claimed is not None:
            self._claimer.receive(request, claimed)
        if not exchange.is_open:
            self._pending.receive()
