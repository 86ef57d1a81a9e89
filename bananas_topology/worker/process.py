"""The worker process: one loop, and slots that run jobs.

Each iteration of the loop:

1. handles signals, and the runs that have finished or timed out,
2. exchanges settlements and claims with Redis, if any are due (see exchange.py),
3. sleeps until a signal, a finished run, a reply or wake-up from Redis, or the next periodic task.

Whatever Redis does, jobs keep running and their settlements are kept until Redis confirms them.
"""

from __future__ import annotations

import logging
import os
import random
import select
import signal
from typing import TYPE_CHECKING

from bananas_topology.contract.exit_codes import EXIT_ACCESS_DENIED, EXIT_RECYCLE, EXIT_RESTART
from bananas_topology.contract.worker import WorkerConfig
from bananas_topology.errors import RedisUnavailable
from bananas_topology.jobs.access import RestartCheck, ServerUrl
from bananas_topology.jobs.broker import Broker
from bananas_topology.jobs.connection import close_inherited
from bananas_topology.jobs.inspect import Inspector
from bananas_topology.system.clock import monotonic
from bananas_topology.system.notify import JOBS_VARIABLE, METRICS_VARIABLE, Notifier
from bananas_topology.system.signals import SignalInbox
from bananas_topology.worker import forks
from bananas_topology.worker.exchange import ExchangeLoop
from bananas_topology.worker.exit_hooks import run_exit_hooks
from bananas_topology.worker.health import Health, log_stacks
from bananas_topology.worker.job_reports import JobReports
from bananas_topology.worker.periodic import PeriodicTask, next_due, run_due
from bananas_topology.worker.recycling import Recycling
from bananas_topology.worker.run import BoundHandler
from bananas_topology.worker.settlement import Settler
from bananas_topology.worker.shutdown import Shutdown
from bananas_topology.worker.slots import Slots
from bananas_topology.worker.stuck import StuckSlots
from bananas_topology.worker.usage import REPORT_S, UsageReport

if TYPE_CHECKING:
    from bananas_topology.worker.exporter import HealthServer
    from bananas_topology.worker.metric_reports import MetricReports

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)

#: Seconds that a prefetched job may wait before it is released for other workers.
LATE_S = 0.05

#: Seconds after a signal until a wait for Redis is abandoned.
SIGNAL_PATIENCE_S = 0.5

#: Maximum seconds that the loop sleeps.
MAX_SLEEP_S = 1.0

log = logging.getLogger(__name__)


class Worker:
    """One worker process. Call `run` once, in the main thread.

    `health_server` listens already; None if no port is set.
    """

    def __init__(
        self,
        config: WorkerConfig,
        handlers: dict[str, BoundHandler],
        broker: Broker,
        health_server: HealthServer | None,
    ) -> None:
        self._concurrency = config.concurrency
        self._broker = broker
        broker.attend(self._while_waiting)
        self._inbox = SignalInbox(SIGNALS)
        self._received: list[signal.Signals] = []
        self._received_at = 0.0
        self._slots = Slots(config.concurrency, handlers, Settler(random.random))
        notifier = Notifier.from_environ(os.environ)
        self._job_reports = JobReports(notifier) if os.environ.pop(JOBS_VARIABLE, "") else None
        self._exchange = ExchangeLoop(config, handlers, broker, self._slots, self._job_reports)
        self._shutdown = Shutdown(config.grace_ms / 1000)
        self._health = Health(config.liveness_file, notifier, self._counts)
        self._recycling = Recycling(config, random.random())
        self._restart = RestartCheck(ServerUrl.of(config))
        self._stuck = StuckSlots(self._slots, config.concurrency)
        report = UsageReport(self._exchange.tally, self._slots, config.concurrency)
        now = monotonic()
        self._tasks = [
            PeriodicTask(REPORT_S, report.log, due=now + REPORT_S),
            PeriodicTask(1.0, self._check_slots, due=now + 1.0),
            PeriodicTask(1.0, self._recycle_if_due, due=now + 1.0),
            PeriodicTask(1.0, self._check_access, due=now + 1.0),
        ]
        if self._job_reports is not None:
            self._tasks.append(self._job_reports.task)
        if self._slots.has_async:
            self._tasks.append(PeriodicTask(0.5, self._slots.check_event_loop))
        wants_metrics = os.environ.pop(METRICS_VARIABLE, "")
        self._metric_reports = self._report_metrics(notifier) if wants_metrics else None
        if health_server is not None:
            self._serve_health(config, health_server)

    def _report_metrics(self, notifier: Notifier) -> MetricReports:
        # Imported here: most workers do not need it, and it costs memory and time.
        from bananas_topology.worker.metric_reports import INTERVAL_S, MetricReports

        self._exchange.tally.is_scraped = True
        reports = MetricReports(notifier, self._exchange.tally, self._slots)
        self._tasks.append(PeriodicTask(INTERVAL_S, reports.send))
        return reports

    def _serve_health(self, config: WorkerConfig, server: HealthServer) -> None:
        # Imported here: it costs memory and time that a worker without a port does not need.
        from bananas_topology.worker.exporter import Sources

        sources = Sources(
            pool=config.pool,
            concurrency=config.concurrency,
            has_scheduler=config.enable_scheduler,
            tally=self._exchange.tally,
            slots=self._slots,
            health=self._health,
            inspector=Inspector(self._broker.client, self._broker.keys),
        )
        server.serve(sources)

    def run(self) -> int:
        """Work until a signal stops the worker; returns the exit code.

        Raises:
            RedisUnsuitable: the server cannot be used, and never could since the worker started.
        """
        with self._inbox as inbox:
            forks.watch(SIGNALS, self._in_forked_child)
            is_finished = False
            while not is_finished:
                # Asked first: this process may be paused at any point, and exits only after a turn
                # that has released what was too late.
                is_overdue = self._shutdown.must_exit
                self._receive()
                while self._received:
                    self._handle(self._received.pop(0))
                self._collect()
                self._exchange.exchange()
                run_due(self._tasks)
                if self._exchange.is_superseded and not self._shutdown.is_started:
                    log.error("worker id taken by another process: give every worker its own id")
                    self._stop(exit_code=0)
                self._health.update(is_ready=self._is_ready())
                is_finished = self._is_finished() or is_overdue
                if not is_finished:
                    self._sleep(inbox)
            self._exchange.quiet()
            self._report_last()
            log.info("worker stopped")
            run_exit_hooks(self._shutdown.exit_code, self._shutdown.exit_hooks_s, inbox)
        return self._shutdown.exit_code

    def _report_last(self) -> None:
        """Report what has happened since the last reports, such as the jobs that ended last."""
        self._health.report()
        for reports in (self._job_reports, self._metric_reports):
            if reports is not None:
                reports.send()

    def _in_forked_child(self) -> None:
        """Close what belongs to the worker, in a forked child."""
        self._inbox.close()
        close_inherited(self._broker.client)
        self._slots.in_forked_child()
        self._health.in_forked_child()

    def quiet(self) -> None:
        """Stop claiming, and release jobs that have not started."""
        self._exchange.quiet()
        self._exchange.settle(self._slots.release_waiting())

    def _stop(self, exit_code: int, *, is_drain: bool = False) -> None:
        """Claim no more jobs, and exit when the running ones end or the grace period is over.

        A drain has no grace period: jobs end by themselves, or by their timeouts.
        """
        self._shutdown.start(exit_code, is_drain=is_drain)
        log.info("worker stopping", extra={"running": self._slots.running})
        self.quiet()

    def _receive(self) -> None:
        """Handle the signals that have arrived."""
        for received in self._inbox.drain():
            if received == signal.SIGUSR1:
                log_stacks()
                continue
            if not self._received:
                self._received_at = monotonic()
            self._received.append(received)

    def _while_waiting(self) -> None:
        """Enforce timeouts and notice signals while Redis does not answer.

        Raises:
            RedisUnavailable: to end the wait, since the worker is to stop.
        """
        self._health.update(is_ready=self._is_ready())
        self._interrupt()
        self._receive()
        has_waited = self._received and monotonic() - self._received_at >= SIGNAL_PATIENCE_S
        self._is_leaving()
        if has_waited or self._shutdown.must_exit:
            raise RedisUnavailable("the worker is stopping and Redis has not responded")

    def _handle(self, received: signal.Signals) -> None:
        if self._shutdown.is_forced or self._shutdown.is_duplicate_signal(received):
            return
        elif received == signal.SIGUSR2:
            if not self._shutdown.is_started:
                self._stop(exit_code=0, is_drain=True)
        elif received == signal.SIGQUIT or self._shutdown.is_started_with_grace:
            log.warning("worker stopping immediately", extra={"running": self._slots.running})
            self._shutdown.force(received)
            self.quiet()
        else:
            self._stop(exit_code=0)

    def _counts(self) -> dict[str, int]:
        return {
            "slots": self._concurrency,
            "busy": self._slots.running,
            "stuck": self._slots.stuck,
            "completed": self._exchange.tally.completed,
            "failed": self._exchange.tally.failed,
        }

    def _is_ready(self) -> bool:
        exchange = self._exchange
        is_connected = exchange.is_booted and not exchange.availability.is_down
        return is_connected and not self._shutdown.is_started

    def _is_finished(self) -> bool:
        if not self._shutdown.is_started:
            return False
        if self._shutdown.is_forced and self._exchange.availability.is_down:
            return True  # its claims are recovered when the lease expires
        return self._is_leaving() and self._exchange.deregister()

    def _is_leaving(self) -> bool:
        """Whether the worker is shutting down and has nothing left to settle."""
        if not self._shutdown.is_started or self._slots.held or self._exchange.has_unsettled:
            return False
        self._shutdown.leave()
        return True

    def _collect(self) -> None:
        if finished := self._slots.collect():
            self._exchange.finish(finished)
            self._recycling.count(len(finished))
            self._recycle_if_due()
        self._interrupt()
        at_once = self._shutdown.is_cleanup_over
        self._exchange.settle(self._slots.settle_interrupted(at_once=at_once))
        since = self._slots.waiting_since()
        if since is not None and (waited_s := monotonic() - since) > LATE_S:
            self._exchange.release_late(self._slots.release_waiting(), waited_s)

    def _interrupt(self) -> None:
        """Interrupt the handlers whose time is over; they have a moment for cleanup."""
        self._slots.interrupt_late()
        if self._shutdown.is_grace_over:
            self._slots.interrupt_running()

    def _recycle_if_due(self) -> None:
        """Exit to be replaced by a fresh process if this one has reached a limit."""
        if not self._shutdown.is_started and (reason := self._recycling.reason()):
            log.info("worker recycled: %s", reason)
            self._stop(EXIT_RECYCLE, is_drain=True)

    def _check_slots(self) -> None:
        """Exit to be restarted if more than half of the slots stay stuck."""
        if not self._shutdown.is_started and self._stuck.check():
            self._stop(EXIT_RESTART)

    def _check_access(self) -> None:
        """Exit to be restarted if Redis denies access, and only a restart reads the password."""
        reason = self._restart.reason(self._exchange.availability.error)
        if reason is not None and not self._shutdown.is_started:
            log.error("restart needed: %s", reason)
            self._stop(EXIT_ACCESS_DENIED)

    def _sleep(self, inbox: SignalInbox) -> None:
        timeout_s = self._seconds_to_sleep()
        if timeout_s <= 0:
            return
        poll = select.poll()
        poll.register(inbox.fileno(), select.POLLIN)
        poll.register(self._slots.fileno(), select.POLLIN)
        for fd in self._exchange.filenos():
            poll.register(fd, select.POLLIN)
        ready = self._slots.sleep(
            lambda seconds: poll.poll(seconds * 1000), timeout_s, self._exchange.enough
        )
        readable = {fd for fd, _ in ready}
        if self._slots.fileno() in readable:
            self._slots.clear_wakeup()
        self._exchange.on_readable(readable)

    def _seconds_to_sleep(self) -> float:
        now = monotonic()
        moments = [
            now + MAX_SLEEP_S,
            max(self._exchange.next_exchange(), self._exchange.availability.next_try),
            self._slots.next_deadline(),
            next_due(self._tasks),
        ]
        since = self._slots.waiting_since()
        if since is not None:
            moments.append(since + LATE_S)
        if self._shutdown.is_started and self._slots.held:
            shutdown = self._shutdown
            moments.append(shutdown.overdue_at if shutdown.is_grace_over else shutdown.deadline)
        return min(moments) - now
