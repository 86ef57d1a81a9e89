"""The worker process: one loop that alone talks to Redis, and slots that run jobs.

Each turn of the loop:

1. takes in signals and the runs that have finished or timed out,
2. does the duties that are due (sign of life, reaping, the scheduler's),
3. settles what is done and claims what there are slots for, in one round trip,
4. sleeps until a signal, a finished run, a ring from the server, or the next duty.

Whatever Redis does, jobs run on and their outcomes are kept until it takes them.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import random
import select
import signal
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

from bananas_topology.clock import monotonic, wall_now
from bananas_topology.contract import WorkerConfig
from bananas_topology.errors import InvalidJob, RedisUnavailable
from bananas_topology.jobs.broker import (
    Ack,
    Broker,
    Bury,
    ClaimRequest,
    Consumer,
    Release,
    Retry,
    Settlement,
)
from bananas_topology.jobs.job import Claim, decode
from bananas_topology.jobs.wake import WakeListener
from bananas_topology.signals import SignalInbox
from bananas_topology.worker.execution import Task
from bananas_topology.worker.link import Link
from bananas_topology.worker.metrics import REPORT_S, Tally
from bananas_topology.worker.presence import Presence
from bananas_topology.worker.scheduler import Scheduler
from bananas_topology.worker.settlement import set_aside, settle
from bananas_topology.worker.threads import Finished, Run, Slots

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1)

#: Seconds that a stop tries to tell Redis what it holds, once its grace is over. What it cannot
#: tell is returned by the lease.
FAREWELL_S = 2.0

#: Seconds that the loop sleeps at the most.
LONGEST_SLEEP_S = 1.0

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Duty:
    """Something to do again and again; `due` on the monotonic clock."""

    interval_s: float
    action: Callable[[], object]
    due: float = 0.0


class Worker:
    """One worker process. `run` may be called once, in the main thread."""

    def __init__(self, config: WorkerConfig, tasks: dict[str, Task], broker: Broker) -> None:
        self._tasks = tasks
        self._broker = broker
        self._grace_s = config.grace_ms / 1000
        self._consumer = Consumer.of(config, tuple(tasks))
        self._slots = Slots(config.concurrency, config.worker_id)
        self._incarnation = uuid.uuid4().hex[:12]
        self._listener = WakeListener(
            broker.client, broker.keys, self._consumer, by_type=bool(config.job_types)
        )
        self._presence = Presence(config, tuple(tasks), self._incarnation)
        self._tally = Tally(config.concurrency)
        self._link = Link()
        self._duties = self._make_duties(config)
        self._unsettled: list[tuple[Settlement, int]] = []
        self._claim_number = 0
        self._must_look = True
        self._must_recover = True
        self._is_booted = False
        self._stop_at: float | None = None
        self._forced_by: signal.Signals | None = None

    def _make_duties(self, config: WorkerConfig) -> list[Duty]:
        lease_s = config.lease_ms / 1000
        duties = [
            Duty(lease_s / 3, self._beat),
            Duty(lease_s / 3, self._reap),
            Duty(REPORT_S, self._tally.report, due=monotonic() + REPORT_S),
        ]
        if config.enable_scheduler:
            scheduler = Scheduler(self._broker, config.schedules)
            duties.append(Duty(config.scheduler_interval_ms / 1000, scheduler.run))
        return duties

    def run(self) -> int:
        """Work until a signal says stop; returns the exit code.

        Raises:
            RedisUnsuitable: the server refuses us.
        """
        with SignalInbox(SIGNALS) as inbox:
            while not self._is_finished():
                for received in inbox.drain():
                    self._handle(received)
                self._collect()
                self._talk()
                self._sleep(inbox)
        self._listener.close()
        log.info("worker stopped")
        return 0 if self._forced_by is None else 128 + self._forced_by

    def quiet(self) -> None:
        """Take nothing more, and give back what has not begun."""
        self._listener.close()
        self._keep(self._slots.withdraw())

    def stop(self, deadline: float) -> None:
        """Be quiet, let run what runs until the deadline, and end."""
        self._stop_at = deadline
        self.quiet()

    def _handle(self, received: signal.Signals) -> None:
        if received == signal.SIGUSR1:
            faulthandler.dump_traceback(all_threads=True)
        elif self._stop_at is None and received != signal.SIGQUIT:
            log.info("worker stopping", extra={"running": self._slots.busy})
            self.stop(monotonic() + self._grace_s)
        elif self._forced_by is None:
            log.warning("worker stopping at once", extra={"released": self._slots.busy})
            self._forced_by = received
            self.stop(monotonic())

    def _is_finished(self) -> bool:
        if self._stop_at is None:
            return False
        if self._slots.busy == 0 and not self._unsettled:
            return not self._is_booted or self._has_left() or self._farewell_is_over()
        return self._farewell_is_over()

    def _farewell_is_over(self) -> bool:
        return self._stop_at is not None and monotonic() > self._stop_at + FAREWELL_S

    def _has_left(self) -> bool:
        try:
            self._broker.leave(self._consumer.worker_id, self._incarnation)
        except RedisUnavailable:
            return False
        return True

    def _collect(self) -> None:
        self._keep(self._slots.collect())
        self._keep(self._slots.time_out())
        if self._stop_at is not None and monotonic() >= self._stop_at:
            self._keep(self._slots.abandon())

    def _keep(self, finished: list[Finished]) -> None:
        """Decide what becomes of the runs, for the next round trip."""
        now = wall_now()
        for each in finished:
            settlement = settle(each, now, random.random())
            _log_settlement(each, settlement)
            self._unsettled.append((settlement, each.duration_ms))

    def _talk(self) -> None:
        """Everything that is to be said to Redis now; an outage leaves it for the next try."""
        if not self._link.may_try():
            return
        try:
            if self._must_recover:
                self._recover()
            for duty in self._duties:
                if duty.due <= monotonic():
                    duty.action()
                    duty.due = monotonic() + duty.interval_s
            self._exchange()
            if self._is_idle():
                self._listener.listen()
        except RedisUnavailable as error:
            # What was sent may have been done, its reply lost: claims that we do not know of.
            self._must_recover = self._must_look = True
            self._listener.close()
            self._link.failed(error)
        else:
            self._link.succeeded()

    def _is_idle(self) -> bool:
        return self._stop_at is None and not self._must_look and self._slots.free > 0

    def _recover(self) -> None:
        """Take the lease, and have returned what is under our id that we do not work on."""
        self._beat()
        known = {run.claim.job_id for run in self._slots.held()}
        known |= {settlement.claim.job_id for settlement, _ in self._unsettled}
        ids = [job_id.encode(errors="surrogateescape") for job_id in known]
        if count := self._broker.recover(self._consumer.worker_id, ids):
            log.warning("claims taken back", extra={"jobs": count})
        self._must_recover = False
        if not self._is_booted:
            self._is_booted = True
            log.info("worker ready", extra=self._presence.summary)

    def _beat(self) -> None:
        held = self._broker.beat(
            self._consumer,
            self._incarnation,
            self._presence.fields(self._slots.busy),
            boot=not self._is_booted,
        )
        if not held and self._stop_at is None:
            log.error("worker id taken by another process: stopping; give each worker its own")
            self.stop(monotonic() + self._grace_s)

    def _reap(self) -> None:
        for worker_id, count in self._broker.reap().items():
            log.warning("worker reaped", extra={"reaped": worker_id, "jobs": count})

    def _exchange(self) -> None:
        """Settle what is done and claim what there are slots for."""
        count = self._slots.free if self._stop_at is None else 0
        wanted = count > 0 and (self._must_look or bool(self._unsettled))
        if not wanted and not self._unsettled:
            return
        sent = list(self._unsettled)
        request = self._next_request(count) if wanted else None
        reply = self._broker.exchange(self._consumer, [each for each, _ in sent], request)
        self._unsettled.clear()
        for settlement, duration_ms in sent:
            self._tally.count(settlement, duration_ms)
        for lost in reply.lost:
            log.warning("claim lost", extra={"job_id": lost.claim.job_id, "was": _name(lost)})
        if request is not None:
            self._must_look = reply.more or len(reply.claims) >= request.count
            for claim in reply.claims:
                self._start(claim)

    def _next_request(self, count: int) -> ClaimRequest:
        self._claim_number += 1
        return ClaimRequest(count, f"{self._incarnation}.{self._claim_number}")

    def _start(self, claim: Claim) -> None:
        """Give a claim to a slot, or set it aside if it is no job."""
        try:
            if claim.body is None:
                raise InvalidJob("nothing is stored under this id")
            job = decode(claim.body)
            task = self._tasks.get(job.name)
            if task is None:
                raise InvalidJob(f'the stored job says two names, one of them "{job.name}"')
        except InvalidJob as error:
            log.error("job set aside", extra={"job_id": claim.job_id, "reason": str(error)})
            self._unsettled.append((set_aside(claim, str(error), wall_now()), 0))
        else:
            self._slots.submit(Run(claim, job, task))

    def _sleep(self, inbox: SignalInbox) -> None:
        timeout = self._seconds_to_sleep()
        if timeout <= 0:
            return
        poll = select.poll()
        poll.register(inbox.fileno(), select.POLLIN)
        poll.register(self._slots.fileno(), select.POLLIN)
        listening = self._listener.fileno()
        if listening >= 0:
            poll.register(listening, select.POLLIN)
        ready = self._slots.sleep_in(lambda seconds: poll.poll(seconds * 1000), timeout)
        readable = {fd for fd, _ in ready}
        if self._slots.fileno() in readable:
            self._slots.acknowledge()
        if listening in readable:
            self._hear()

    def _hear(self) -> None:
        self._must_look = True
        try:
            self._listener.answer()
        except RedisUnavailable as error:
            self._link.failed(error)

    def _seconds_to_sleep(self) -> float:
        now = monotonic()
        if self._unsettled or (self._must_look and self._slots.free > 0 and self._stop_at is None):
            talk_at = self._link.next_try
        else:
            talk_at = min(duty.due for duty in self._duties)
        moments = [max(talk_at, self._link.next_try), now + LONGEST_SLEEP_S]
        deadline = self._slots.next_deadline()
        if deadline is not None:
            moments.append(deadline)
        if self._stop_at is not None and self._slots.busy:
            moments.append(self._stop_at)
        return min(moments) - now


def leave(code: int) -> None:
    """End the process now: threads whose jobs were given up must not hold it."""
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)


def _log_settlement(finished: Finished, settlement: Settlement) -> None:
    run = finished.run
    fields = {
        "job_id": run.claim.job_id,
        "job_type": run.job.name,
        "attempt": run.job.attempts + 1,
        "duration_ms": finished.duration_ms,
    }
    match settlement:
        case Ack():
            log.debug("job completed", extra=fields)
        case Retry(delay_ms=delay_ms):
            error = settlement.failure.decode()
            log.warning("job failed, runs again", extra=fields | {"delay_ms": delay_ms})
            log.debug("failure", extra={"job_id": run.claim.job_id, "failure": error})
        case Bury(error=error):
            log.error("job buried", extra=fields | {"error": error})
        case Release():
            log.info("job released", extra=fields)
        case _:
            assert_never(settlement)


def _name(settlement: Settlement) -> str:
    return type(settlement).__name__.lower()
