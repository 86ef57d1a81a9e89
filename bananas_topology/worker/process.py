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
import math
import os
import random
import select
import signal
import sys
import uuid
from collections.abc import Sequence

from bananas_topology.clock import monotonic
from bananas_topology.contract import WorkerConfig
from bananas_topology.errors import RedisUnavailable
from bananas_topology.jobs.broker import Broker, ClaimRequest, Consumer, Settlement
from bananas_topology.jobs.crashes import is_poison
from bananas_topology.jobs.job import Claim
from bananas_topology.jobs.wake import WakeListener
from bananas_topology.signals import SignalInbox
from bananas_topology.worker.duties import Duty, next_due, run_due
from bananas_topology.worker.link import Link
from bananas_topology.worker.metrics import REPORT_S, Tally
from bananas_topology.worker.pace import Pace
from bananas_topology.worker.presence import Presence
from bananas_topology.worker.run import Run
from bananas_topology.worker.scheduler import Scheduler
from bananas_topology.worker.settlement import Settler, log_settlement, poisoned
from bananas_topology.worker.tasks import Task
from bananas_topology.worker.threads import Slots

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1)

#: Seconds that a stop tries to tell Redis what it holds, once its grace is over. What it cannot
#: tell is returned by the lease.
FAREWELL_S = 2.0

#: Seconds after which a job claimed ahead counts as late: other workers shall have it.
LATE_S = 0.05

#: Seconds between two round trips while the slots have enough to do.
TALK_S = 0.001

#: Seconds that the loop sleeps at the most.
LONGEST_SLEEP_S = 1.0

log = logging.getLogger(__name__)


class Worker:
    """One worker process. `run` may be called once, in the main thread."""

    def __init__(self, config: WorkerConfig, tasks: dict[str, Task], broker: Broker) -> None:
        self._broker = broker
        self._grace_s = config.grace_ms / 1000
        self._consumer = Consumer.of(config, tuple(tasks))
        self._slots = Slots(config.concurrency, tasks, Settler(random.random))
        self._pace = Pace(config.concurrency)
        self._ranks = {priority.encode(): n for n, priority in enumerate(config.priorities)}
        self._shortest_s = min((task.timeout_s for task in tasks.values()), default=math.inf)
        self._incarnation = uuid.uuid4().hex[:12]
        self._listener = WakeListener(
            broker.client, broker.keys, self._consumer, by_type=bool(config.job_types)
        )
        self._presence = Presence(config, tuple(tasks), self._incarnation)
        self._tally = Tally(config.concurrency)
        self._link = Link()
        self._duties = self._make_duties(config)
        self._unsettled: list[Run] = []
        self._talked_at = 0.0
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
            log.info("worker stopping", extra={"running": len(self._slots.held)})
            self.stop(monotonic() + self._grace_s)
        elif self._forced_by is None:
            log.warning("worker stopping at once", extra={"released": len(self._slots.held)})
            self._forced_by = received
            self.stop(monotonic())

    def _is_finished(self) -> bool:
        if self._stop_at is None:
            return False
        if not self._slots.held and not self._unsettled:
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
        if finished := self._slots.collect():
            last = finished[-1]
            self._pace.note(
                len(finished),
                sum([run.duration_s for run in finished]),
                last.started_at - last.submitted_at,
            )
            self._keep(finished)
        self._keep(self._slots.time_out(self._shortest_s))
        self._withdraw_late()
        if self._stop_at is not None and monotonic() >= self._stop_at:
            self._keep(self._slots.abandon())

    def _withdraw_late(self) -> None:
        """Give back what was claimed ahead, and waits longer than it was meant to."""
        since = self._slots.waiting_since()
        if since is not None and monotonic() - since > LATE_S:
            self._pace.slow(monotonic() - since)
            self._keep(self._slots.withdraw())

    def _keep(self, runs: list[Run]) -> None:
        """Have the runs settled by the next round trip."""
        self._unsettled += runs
        for run in runs:
            if run.settlement is not None:
                log_settlement(run, run.settlement)

    def _talk(self) -> None:
        """Everything that is to be said to Redis now; an outage leaves it for the next try."""
        if not self._link.may_try() or self._next_talk() > monotonic():
            return
        try:
            if self._must_recover:
                self._recover()
            run_due(self._duties)
            self._exchange()
            if self._is_idle():
                self._listener.listen()
        except RedisUnavailable as error:
            # What was sent may have been done, its reply lost: claims that we do not know of.
            self._must_recover = self._must_look = True
            self._listener.close()
            self._link.failed(error)
        else:
            self._talked_at = monotonic()
            self._link.succeeded()

    def _is_idle(self) -> bool:
        return self._stop_at is None and not self._must_look and self._room() > 0

    def _recover(self) -> None:
        """Take the lease, and have returned what is under our id that we do not work on."""
        self._beat()
        known = {run.claim.job_id for run in self._slots.held}
        known |= {run.claim.job_id for run in self._unsettled}
        ids = [job_id.encode(errors="surrogateescape") for job_id in known]
        recovery = self._broker.recover(self._consumer, self._incarnation, ids)
        if recovery.returned:
            extra = {"jobs": recovery.returned, "crashed": recovery.crashed}
            log.warning("claims taken back", extra=extra)
        self._must_recover = False
        if not self._is_booted:
            self._is_booted = True
            log.info("worker ready", extra=self._presence.summary)

    def _beat(self) -> None:
        beat = self._broker.beat(
            self._consumer,
            self._incarnation,
            self._presence.fields(len(self._slots.held)),
            boot=not self._is_booted,
        )
        for worker_id, recovery in self._broker.reap(self._consumer, beat.expired).items():
            log.warning("worker reaped", extra={"reaped": worker_id, "jobs": recovery.returned})
        if not beat.held and self._stop_at is None:
            log.error("worker id taken by another process: stopping; give each worker its own")
            self.stop(monotonic() + self._grace_s)

    def _room(self) -> int:
        """How many jobs more to take now."""
        if self._stop_at is not None or self._slots.waiting > self._enough():
            return 0
        return max(0, self._slots.free + self._pace.ahead)

    def _enough(self) -> int:
        """How many waiting jobs keep the slots at work until more are fetched."""
        return self._pace.ahead * 3 // 4

    def _exchange(self) -> None:
        """Settle what is done and claim what there are slots for."""
        room = self._room()
        wanted = room > 0 and (self._must_look or bool(self._unsettled))
        if not wanted and not self._unsettled:
            return
        sent = [run.settlement for run in self._unsettled if run.settlement is not None]
        request = self._next_request(room) if wanted else None
        reply = self._broker.exchange(self._consumer, sent, request)
        for run in self._unsettled:
            self._tally.count(run)
        self._unsettled = []
        for lost in reply.lost:
            log.warning("claim lost", extra={"job_id": lost.claim.job_id, "was": _name(lost)})
        if request is not None:
            self._must_look = reply.more or len(reply.claims) >= request.count
            self._start(reply.claims)

    def _next_request(self, count: int) -> ClaimRequest:
        self._claim_number += 1
        return ClaimRequest(count, f"{self._incarnation}.{self._claim_number}")

    def _start(self, claims: Sequence[Claim]) -> None:
        """Give claims to slots, the more urgent first."""
        if not claims:
            return
        if is_poison(claims[0].crashes, self._consumer.max_crashes):
            self._keep([poisoned(Run(claims[0], monotonic()))])
            return
        now = monotonic()
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
        ready = self._slots.sleep_in(
            lambda seconds: poll.poll(seconds * 1000), timeout, self._enough()
        )
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
        moments = [max(self._next_talk(), self._link.next_try), now + LONGEST_SLEEP_S]
        moments.append(self._slots.next_deadline())
        since = self._slots.waiting_since()
        if since is not None:
            moments.append(since + LATE_S)
        if self._stop_at is not None and self._slots.held:
            moments.append(self._stop_at)
        return min(moments) - now

    def _next_talk(self) -> float:
        """When there is something to say to Redis: at once, if slots might run dry."""
        if self._slots.waiting > self._enough():
            return self._talked_at + TALK_S
        if self._unsettled or (self._must_look and self._room() > 0):
            return self._link.next_try
        return next_due(self._duties)


def leave(code: int) -> None:
    """End the process now: threads whose jobs were given up must not hold it."""
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)


def _name(settlement: Settlement) -> str:
    return type(settlement).__name__.lower()
