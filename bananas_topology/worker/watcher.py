"""Watches the queues for jobs of producers that do not notify idle workers.

The clients of the Go Bananas enqueue with a plain SET and LPUSH. An idle worker, which waits for
notifications, would find such a job only by its next timed claim, up to 0.9 s later. Therefore one
worker of the fleet, elected by a key that expires, keeps a blocking command outstanding on each
queue and notifies the others. It watches all queues, including those that it does not accept jobs
from, and adds three connections and few commands however large the fleet is.
"""

from __future__ import annotations

import logging
from collections.abc import Collection

from bananas_topology.contract.values import PRIORITIES
from bananas_topology.errors import BananasTopologyError, RedisUnavailable
from bananas_topology.jobs.broker import Broker
from bananas_topology.jobs.watch import QueueWatch
from bananas_topology.system.clock import monotonic
from bananas_topology.worker.periodic import PeriodicTask

#: For how long a worker is elected, in milliseconds: after it crashes, queues are not watched for
#: that long.
TERM_MS = 5_000

#: Seconds between two renewals of an election.
RENEW_S = 2.5

#: Milliseconds after an election expires until another worker tries to be elected.
_EXPIRY_MARGIN_MS = 50

#: Minimum seconds between two announcements: what was announced is claimed meanwhile.
MIN_PAUSE_S = 0.002

#: Maximum seconds between two announcements while idle workers take what they announce, or while
#: our own producers, which notify, fill the queue.
MAX_PAUSE_S = 0.02

#: The same while jobs wait and no worker is idle.
MAX_BUSY_PAUSE_S = 1.0

#: The pause, as a share of how long announcements have been useless.
_GROWTH = 0.1

log = logging.getLogger(__name__)


class Announcer:
    """Announces the jobs of one queue, and decides when to watch it again.

    Raises (`start` and `announce`):
        RedisUnavailable, RedisUnsuitable: as the watch and the broker.
    """

    def __init__(self, broker: Broker, priority: str) -> None:
        self.watch = QueueWatch(broker, priority)
        self._broker = broker
        self._useless_since = 0.0
        #: When to watch again, on the monotonic clock.
        self.due = 0.0

    def start(self) -> None:
        """Watch the queue if that is due."""
        if not self.watch.is_waiting and self.due <= monotonic():
            self.watch.start()
        elif self.watch.is_late:
            raise RedisUnavailable("a connection that watches a queue was lost")

    def announce(self) -> None:
        """Announce the job that has ended the watch."""
        empty_s = self.watch.receive()
        if empty_s is None:
            self.due = 0.0
            return
        announced = self._broker.announce(self.watch.priority)
        now = monotonic()
        if announced.is_notified or empty_s > MAX_PAUSE_S:
            self._useless_since = now
        pause_s = max(MIN_PAUSE_S, (now - self._useless_since) * _GROWTH)
        self.due = now + min(pause_s, MAX_BUSY_PAUSE_S if announced.queued else MAX_PAUSE_S)


class Watcher:
    """Watches the queues while this worker is elected to. All methods are for the worker's loop.

    No method raises: jobs are found without a watcher too, only later.
    """

    def __init__(self, broker: Broker, worker_id: str) -> None:
        self._broker = broker
        self._worker_id = worker_id
        self._announcers = [Announcer(broker, priority) for priority in PRIORITIES]
        self._is_elected = False
        self._has_failed = False
        self._elect_at = 0.0
        #: To be run by the loop.
        self.task = PeriodicTask(RENEW_S, self._run)

    def filenos(self) -> list[int]:
        """The descriptors to select on before `on_readable`."""
        if not self._is_elected:
            return []
        filenos = [announcer.watch.fileno() for announcer in self._announcers]
        return [fd for fd in filenos if fd >= 0]

    def on_readable(self, readable: Collection[int]) -> None:
        """Announce jobs in the queues whose descriptors are readable."""
        if not self._is_elected:
            return
        try:
            for announcer in self._announcers:
                if announcer.watch.fileno() in readable:
                    announcer.announce()
                    self.task.due = min(self.task.due, announcer.due)
        except BananasTopologyError as error:
            self._fail(error)

    def close(self) -> None:
        """Stop watching; the election is tried again."""
        self._is_elected, self._elect_at, self.task.due = False, 0.0, 0.0
        for announcer in self._announcers:
            announcer.watch.close()
            announcer.due = 0.0

    def resign(self) -> None:
        """Stop watching, and let another worker be elected.

        Raises:
            RedisUnavailable, RedisUnsuitable: as the broker.
        """
        if self._is_elected:
            self._broker.resign(self._worker_id)
            self.close()

    def _run(self) -> float:
        try:
            if self._elect_at <= monotonic():
                self._elect()
            if self._is_elected:
                for announcer in self._announcers:
                    announcer.start()
                self._has_failed = False
        except BananasTopologyError as error:
            self._fail(error)
        return self._next() - monotonic()

    def _elect(self) -> None:
        election = self._broker.elect(self._worker_id, TERM_MS)
        if self._is_elected and not election.is_elected:
            self.close()
        self._is_elected = election.is_elected
        wait_s = RENEW_S if self._is_elected else (election.left_ms + _EXPIRY_MARGIN_MS) / 1000
        self._elect_at = monotonic() + wait_s

    def _next(self) -> float:
        waiting = [each.due for each in self._announcers if not each.watch.is_waiting]
        return min([self._elect_at, *waiting]) if self._is_elected else self._elect_at

    def _fail(self, error: BananasTopologyError) -> None:
        if not self._has_failed and not isinstance(error, RedisUnavailable):
            log.warning("cannot watch queues: jobs of other clients may wait for 0.9 s: %s", error)
        self._has_failed = True
        self.close()
        # Not elected again when its term ends: another worker may be able to watch.
        self._elect_at = monotonic() + (TERM_MS + RENEW_S * 1000) / 1000
        self.task.due = self._elect_at
