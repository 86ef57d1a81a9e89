"""The worker process: one loop, and slots that run jobs.

Each turn of the loop:

1. takes in signals and the runs that have finished or timed out,
2. talks to Redis, if there is anything to say (see exchange.py),
3. sleeps until a signal, a finished run, a ring from the server, or the next duty.

Whatever Redis does, jobs run on and their outcomes are kept until it takes them.
"""

from __future__ import annotations

import logging
import os
import random
import select
import signal
import sys

from bananas_topology.contract.worker import EXIT_RESTART, WorkerConfig
from bananas_topology.jobs.broker import Broker
from bananas_topology.jobs.inspect import Inspector
from bananas_topology.system.clock import monotonic
from bananas_topology.system.signals import SignalInbox
from bananas_topology.worker.exchange import Fetcher
from bananas_topology.worker.health import Vitals, log_stacks
from bananas_topology.worker.metrics import REPORT_S
from bananas_topology.worker.periodic import Duty, next_due, run_due
from bananas_topology.worker.run import Task
from bananas_topology.worker.settlement import Settler
from bananas_topology.worker.shutdown import Stopping
from bananas_topology.worker.slots import Slots

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1)

#: Seconds that slots may be lost to handlers which do not end, until the worker is worn out.
WORN_OUT_S = 5.0

#: Seconds after which a job claimed ahead counts as late: other workers shall have it.
LATE_S = 0.05

#: Seconds that the loop sleeps at the most.
LONGEST_SLEEP_S = 1.0

log = logging.getLogger(__name__)


class Worker:
    """One worker process. `run` may be called once, in the main thread."""

    def __init__(self, config: WorkerConfig, tasks: dict[str, Task], broker: Broker) -> None:
        self._concurrency = config.concurrency
        self._slots = Slots(config.concurrency, tasks, Settler(random.random))
        self._fetcher = Fetcher(config, tuple(tasks), broker, self._slots)
        self._stopping = Stopping(config.grace_ms / 1000)
        self._vitals = Vitals(config.liveness_file)
        self._few_since: float | None = None
        now = monotonic()
        self._duties = [
            Duty(REPORT_S, self._fetcher.tally.report, due=now + REPORT_S),
            Duty(1.0, self._count_slots, due=now + 1.0),
        ]

        if config.metrics_port:
            self._serve_health(config, broker)

    def _serve_health(self, config: WorkerConfig, broker: Broker) -> None:
        # Imported here: it costs memory and time that a worker without a port is spared.
        from bananas_topology.worker.exporter import HealthServer, Sources

        sources = Sources(
            pool=config.pool,
            concurrency=config.concurrency,
            has_scheduler=config.enable_scheduler,
            tally=self._fetcher.tally,
            slots=self._slots,
            vitals=self._vitals,
            inspector=Inspector(broker.client, broker.keys),
        )
        HealthServer(config.metrics_port, sources)

    def run(self) -> int:
        """Work until a signal says stop; returns the exit code.

        Raises:
            RedisUnsuitable: the server refuses us, and has done so from the start.
        """
        with SignalInbox(SIGNALS) as inbox:
            while not self._is_finished():
                for received in inbox.drain():
                    self._handle(received)
                self._collect()
                self._fetcher.talk()
                run_due(self._duties)
                if self._fetcher.is_deposed and not self._stopping.is_on:
                    log.error("worker id taken by another process: give each worker its own")
                    self._stop(exit_code=0)
                self._vitals.turned(is_ready=self._is_ready())
                self._sleep(inbox)
        self._fetcher.quiet()
        log.info("worker stopped")
        return self._stopping.exit_code

    def quiet(self) -> None:
        """Take nothing more, and give back what has not begun."""
        self._fetcher.quiet()
        self._fetcher.settle(self._slots.withdraw())

    def _stop(self, exit_code: int) -> None:
        """Be quiet, let run what runs until the grace is over, and end."""
        self._stopping.begin(exit_code)
        log.info("worker stopping", extra={"running": self._slots.running})
        self.quiet()

    def _handle(self, received: signal.Signals) -> None:
        if received == signal.SIGUSR1:
            log_stacks()
        elif self._stopping.is_forced or self._stopping.is_echo(received):
            return
        elif self._stopping.is_on or received == signal.SIGQUIT:
            log.warning("worker stopping at once", extra={"running": self._slots.running})
            self._stopping.force(received)
            self.quiet()
        else:
            self._stop(exit_code=0)

    def _is_ready(self) -> bool:
        fetcher = self._fetcher
        return fetcher.is_booted and not fetcher.link.is_down and not self._stopping.is_on

    def _is_finished(self) -> bool:
        if not self._stopping.is_on:
            return False
        if self._stopping.is_forced and self._fetcher.link.is_down:
            return True  # the lease returns what we hold
        if self._slots.held or self._fetcher.has_unsettled:
            return self._stopping.is_over
        return self._fetcher.has_left() or self._stopping.is_farewell_over

    def _collect(self) -> None:
        if finished := self._slots.collect():
            self._fetcher.finished(finished)
        self._fetcher.settle(self._slots.time_out())
        since = self._slots.waiting_since()
        if since is not None and (waited_s := monotonic() - since) > LATE_S:
            self._fetcher.late(self._slots.withdraw(), waited_s)
        if self._stopping.is_due:
            self._fetcher.settle(self._slots.abandon())

    def _count_slots(self) -> None:
        """End a worker that too many handlers hold slots of without coming to their end."""
        left = self._concurrency - self._slots.stuck
        if self._slots.stuck == 0 or left * 2 >= self._concurrency:
            self._few_since = None
        elif self._few_since is None:
            self._few_since = monotonic()
        elif monotonic() - self._few_since >= WORN_OUT_S and not self._stopping.is_on:
            extra = {"stuck": self._slots.stuck, "left": left}
            log.error("too few slots left: timed-out handlers do not end", extra=extra)
            self._stop(EXIT_RESTART)

    def _sleep(self, inbox: SignalInbox) -> None:
        timeout = self._seconds_to_sleep()
        if timeout <= 0:
            return
        poll = select.poll()
        poll.register(inbox.fileno(), select.POLLIN)
        poll.register(self._slots.fileno(), select.POLLIN)
        for fd in self._fetcher.filenos():
            poll.register(fd, select.POLLIN)
        ready = self._slots.sleep_in(
            lambda seconds: poll.poll(seconds * 1000), timeout, self._fetcher.enough
        )
        readable = {fd for fd, _ in ready}
        if self._slots.fileno() in readable:
            self._slots.acknowledge()
        self._fetcher.hear(readable)

    def _seconds_to_sleep(self) -> float:
        now = monotonic()
        moments = [
            now + LONGEST_SLEEP_S,
            max(self._fetcher.next_talk(), self._fetcher.link.next_try),
            self._slots.next_deadline(),
            next_due(self._duties),
        ]
        since = self._slots.waiting_since()
        if since is not None:
            moments.append(since + LATE_S)
        if self._stopping.is_on and self._slots.held:
            moments.append(self._stopping.deadline)
        return min(moments) - now


def leave(code: int) -> None:
    """End the process now: threads whose jobs were given up must not hold it."""
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)
