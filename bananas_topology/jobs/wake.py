"""How an idle worker waits: blocked in the server until somebody rings, without a thread.

The listener keeps one blocking command outstanding on a connection of its own, whose socket the
worker's loop selects on beside its other events. Whoever makes a job ready rings (see common.lua);
what foreign producers bring rings nothing, so the command ends by itself after `LISTEN_S`.

Behind that command waits a claim, which the server runs the moment it ends: the ring brings the job
along, a round trip sooner than if the worker had to ask for it. So a listener that is closed, or
whose connection is lost, may have claimed: the worker recovers then what it does not know of.
"""

from __future__ import annotations

from dataclasses import dataclass

import hiredis

from bananas_topology.jobs.broker import Broker, Consumer
from bananas_topology.jobs.calls import Channel, is_unknown, pack
from bananas_topology.jobs.connection import refusal, translate_errors, unreachable
from bananas_topology.jobs.exchange import Claimed, ClaimRequest, decode_claim

#: Seconds after which an unrung listener answers: how late a foreign producer's job may be found.
LISTEN_S = 0.9


@dataclass(frozen=True, slots=True)
class Answer:
    """What ended a wait: whether somebody rang, and what was claimed then.

    `taken` None: nothing was, for the server had lost the script; whoever waited has to ask.
    """

    rung: bool
    taken: Claimed | None


class WakeListener:
    """Waits for one of the rings that concern a consumer. For use by one thread.

    Raises (`listen` and `answer`):
        RedisUnavailable: the server cannot be reached, or the connection broke.
        RedisUnsuitable: it refuses us.
    """

    def __init__(self, broker: Broker, consumer: Consumer, *, by_type: bool) -> None:
        self._broker = broker
        self._consumer = consumer
        self._channel: Channel | None = None
        self._is_waiting = False
        types = consumer.job_types if by_type else (None,)
        wake = broker.keys.wake
        names = [wake(p, job_type) for p in consumer.priorities for job_type in types]
        self._wait = pack(("BZPOPMIN", *names, str(LISTEN_S)))

    @property
    def is_waiting(self) -> bool:
        """Whether it waits; what it may claim then is spoken for."""
        return self._is_waiting and self.fileno() >= 0

    def listen(self, request: ClaimRequest) -> None:
        """Start to wait, and to claim so when the wait ends; nothing happens while it waits."""
        if self.is_waiting:
            return
        data = self._wait + self._broker.claim_call(self._consumer, request).packed()
        client = self._broker.client
        if self._channel is None or self._channel.fileno < 0:
            self.close()  # what is left of a connection that was closed under us
            with translate_errors(client):
                self._channel = Channel(client.connection_pool.get_connection())
        try:
            self._channel.send(data)
        except OSError as error:
            self.close()
            raise unreachable(client, error) from error
        self._is_waiting = True

    def fileno(self) -> int:
        """The socket to select on while it waits, -1 while it does not."""
        return self._channel.fileno if self._channel and self._is_waiting else -1

    def answer(self) -> Answer | None:
        """Take the answer that made the socket readable; afterwards it no longer waits.

        None: it did not wait.
        """
        channel, client = self._channel, self._broker.client
        if channel is None or not self._is_waiting:
            return None
        try:
            ring, claimed = channel.receive(2, 2)
        except (OSError, hiredis.HiredisError) as error:
            self.close()
            raise unreachable(client, error) from error
        self._is_waiting = False
        for reply in (ring, claimed):
            if isinstance(reply, hiredis.ReplyError) and not is_unknown(reply):
                self.close()
                raise refusal(client, str(reply))
        return Answer(ring is not None, None if is_unknown(claimed) else decode_claim(claimed))

    def close(self) -> bool:
        """Stop waiting, now, and close the connection; whether it may have claimed meanwhile."""
        channel, self._channel = self._channel, None
        was_waiting, self._is_waiting = self._is_waiting, False
        if channel is not None:
            channel.close(self._broker.client)
        return was_waiting
