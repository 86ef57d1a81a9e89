"""Watches a queue for jobs of producers that push without notifying idle workers.

``BLMOVE queue queue LEFT LEFT`` blocks in the server until the queue has a job, and then replaces
its newest job by itself, which changes nothing. One worker of a fleet watches each queue (see
worker/watcher.py) and announces what it finds.
"""

from __future__ import annotations

import hiredis

from bananas_topology.jobs.broker import Broker
from bananas_topology.jobs.calls import Channel, pack
from bananas_topology.jobs.connection import connection_failure, reply_failure
from bananas_topology.system.clock import monotonic

#: Seconds after which the server ends a wait, so that it is noticed if the connection is lost.
WATCH_TIMEOUT_S = 60

#: Seconds after that until a connection without a reply counts as lost.
_LATE_S = 5.0


class QueueWatch:
    """Waits until a queue has a job, on a connection of its own. For use by one thread.

    Raises (`start` and `receive`):
        RedisUnavailable: the server cannot be reached, or the connection broke.
        RedisUnsuitable: the server rejects the command.
    """

    def __init__(self, broker: Broker, priority: str) -> None:
        self.priority = priority
        self._broker = broker
        self._channel: Channel | None = None
        self._started_at: float | None = None
        queue = broker.keys.queue(priority)
        self._wait = pack(("BLMOVE", queue, queue, "LEFT", "LEFT", WATCH_TIMEOUT_S))

    @property
    def is_waiting(self) -> bool:
        """Whether a wait is outstanding."""
        return self._started_at is not None

    @property
    def is_late(self) -> bool:
        """Whether the server should have ended the wait by now: the connection is lost."""
        if self._started_at is None:
            return False
        return monotonic() - self._started_at > WATCH_TIMEOUT_S + _LATE_S

    def start(self) -> None:
        """Start to wait."""
        client = self._broker.client
        if self._channel is None or self._channel.fileno < 0:
            self.close()  # redis-py may have closed the connection
            self._channel = self._broker.open_channel()
        try:
            self._channel.send(self._wait)
        except OSError as error:
            self.close()
            raise connection_failure(client, error) from error
        self._started_at = monotonic()

    def fileno(self) -> int:
        """The socket to select on while it waits; -1 otherwise."""
        return self._channel.fileno if self._channel and self.is_waiting else -1

    def receive(self) -> float | None:
        """Read the reply that made the socket readable, which ends the wait.

        Returns for how many seconds the queue was empty; None if it still was at the end.
        """
        channel, client, started_at = self._channel, self._broker.client, self._started_at
        if channel is None or started_at is None:
            return None
        try:
            [reply] = channel.receive(1, 1)
        except (OSError, hiredis.HiredisError) as error:
            self.close()
            raise connection_failure(client, error) from error
        self._started_at = None
        if isinstance(reply, hiredis.ReplyError):
            self.close()
            raise reply_failure(client, str(reply))
        return None if reply is None else monotonic() - started_at

    def close(self) -> None:
        """Close the connection, ending any wait."""
        channel, self._channel = self._channel, None
        self._started_at = None
        if channel is not None:
            channel.close(self._broker.client)
