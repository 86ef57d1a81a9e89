"""How an idle worker waits: a blocking command in the server, without a thread.

The listener keeps one blocking command outstanding on its own connection, whose socket the worker's
loop selects on beside its other events. Every script that makes a job ready notifies a listener
(see common.lua). Other producers do not: the watcher notifies for them (see watch.py), and if there
is none, the command times out after `LISTEN_TIMEOUT_S`.

A claim is queued behind that command and runs as soon as it ends: the wake-up delivers the job, one
round trip sooner than if the worker had to ask. A listener that is closed, or loses its connection,
may therefore have claimed jobs: the worker then recovers claims that it does not know of.
"""

from __future__ import annotations

from dataclasses import dataclass

import hiredis

from bananas_topology.errors import RedisUnsuitable
from bananas_topology.jobs.broker import Broker
from bananas_topology.jobs.calls import Channel, is_unknown_script, pack
from bananas_topology.jobs.connection import connection_failure, reply_failure
from bananas_topology.jobs.consumer import Consumer
from bananas_topology.jobs.exchange import Claimed, ClaimRequest, decode_claim

#: Seconds after which a listener wakes up by itself: the longest wait, while no worker watches the
#: queues, of a job whose producer does not notify.
LISTEN_TIMEOUT_S = 0.9


@dataclass(frozen=True, slots=True)
class WakeReply:
    """What ended a wait: whether it was `woken` by a notification, and what was `claimed`.

    `claimed` None: the server did not know the script, so nothing was claimed; claim again.
    `rejection`: the server, or a proxy, does not let this client wait.
    """

    woken: bool
    claimed: Claimed | None
    rejection: RedisUnsuitable | None = None


class WakeListener:
    """Waits for notifications that concern a consumer. For use by one thread.

    Raises (`listen` and `receive`):
        RedisUnavailable: the server cannot be reached, or the connection broke.
        RedisUnsuitable: the server rejects the request.
    """

    def __init__(self, broker: Broker, consumer: Consumer, *, by_type: bool) -> None:
        self._broker = broker
        self._consumer = consumer
        self._channel: Channel | None = None
        self._is_waiting = False
        types = consumer.job_types if by_type else (None,)
        wake_key = broker.keys.wake
        names = [wake_key(p, job_type) for p in consumer.priorities for job_type in types]
        self._wait = pack(("BZPOPMIN", *names, str(LISTEN_TIMEOUT_S)))

    @property
    def is_waiting(self) -> bool:
        """Whether a wait is outstanding; its claim then counts against the worker's capacity."""
        return self._is_waiting and self.fileno() >= 0

    def listen(self, request: ClaimRequest) -> None:
        """Start to wait, and claim when the wait ends. Does nothing if it already waits."""
        if self.is_waiting:
            return
        data = self._wait + self._broker.claim_call(self._consumer, request).packed()
        client = self._broker.client
        if self._channel is None or self._channel.fileno < 0:
            self.close()  # redis-py may have closed the connection
            self._channel = self._broker.open_channel()
        try:
            self._channel.send(data)
        except OSError as error:
            self.close()
            raise connection_failure(client, error) from error
        self._is_waiting = True

    def fileno(self) -> int:
        """The socket to select on while it waits; -1 otherwise."""
        return self._channel.fileno if self._channel and self._is_waiting else -1

    def receive(self) -> WakeReply | None:
        """Read the reply that made the socket readable, which ends the wait.

        None if it was not waiting.
        """
        channel, client = self._channel, self._broker.client
        if channel is None or not self._is_waiting:
            return None
        try:
            notification, claimed = channel.receive(2, 2)
        except (OSError, hiredis.HiredisError) as error:
            self.close()
            raise connection_failure(client, error) from error
        self._is_waiting = False
        if isinstance(claimed, hiredis.ReplyError) and not is_unknown_script(claimed):
            self.close()
            raise reply_failure(client, str(claimed))
        claims = None if is_unknown_script(claimed) else decode_claim(claimed)
        if not isinstance(notification, hiredis.ReplyError):
            return WakeReply(notification is not None, claims)
        failure = reply_failure(client, str(notification))
        if not isinstance(failure, RedisUnsuitable):
            self.close()
            raise failure
        return WakeReply(False, claims, failure)

    def close(self) -> bool:
        """Close the connection, ending any wait; returns whether it may have claimed meanwhile."""
        channel, self._channel = self._channel, None
        was_waiting, self._is_waiting = self._is_waiting, False
        if channel is not None:
            channel.close(self._broker.client)
        return was_waiting
