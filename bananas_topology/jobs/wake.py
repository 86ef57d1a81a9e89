"""How an idle worker waits: blocked in the server until somebody rings, without a thread.

The listener keeps one blocking command outstanding on a connection of its own, whose socket the
worker's loop selects on beside its other events. Whoever makes a job ready rings (see prelude.lua);
what foreign producers bring rings nothing, so the command ends by itself after `LISTEN_S`.
"""

from __future__ import annotations

import redis

from bananas_topology.jobs.broker import Consumer
from bananas_topology.jobs.connection import translated
from bananas_topology.jobs.keys import Keys

#: Seconds after which an unrung listener answers: how late a foreign producer's job may be found.
LISTEN_S = 1


class WakeListener:
    """Waits for one of the rings that concern a consumer. For use by one thread."""

    def __init__(
        self, client: redis.Redis, keys: Keys, consumer: Consumer, *, by_type: bool
    ) -> None:
        self._client = client
        self._connection: redis.Connection | None = None
        types = consumer.job_types if by_type else (None,)
        self._names = [keys.wake(p, job_type) for p in consumer.priorities for job_type in types]

    def listen(self) -> None:
        """Start to wait; nothing happens while it waits already.

        Raises:
            RedisUnavailable: the server cannot be reached.
        """
        if self.fileno() >= 0:
            return
        self.close()  # what is left of a connection that was closed under us
        with translated(self._client):
            connection = self._client.connection_pool.get_connection()
            try:
                connection.send_command("BZPOPMIN", *self._names, LISTEN_S)  # type: ignore[no-untyped-call]
            except BaseException:
                self._client.connection_pool.release(connection)
                raise
        self._connection = connection

    def fileno(self) -> int:
        """The socket to select on while it waits, -1 while it does not."""
        if self._connection is None:
            return -1
        sock = getattr(self._connection, "_sock", None)
        return -1 if sock is None else int(sock.fileno())

    def answer(self) -> bool:
        """Take the answer that made the socket readable; afterwards it no longer waits.

        True: somebody rang. False: it ended by itself, and only what foreign producers brought may
        have come.

        Raises:
            RedisUnavailable: the connection broke.
        """
        connection, self._connection = self._connection, None
        if connection is None:
            return False
        with translated(self._client):
            try:
                return connection.read_response() is not None
            finally:
                self._client.connection_pool.release(connection)

    def close(self) -> None:
        """Stop waiting, now: the connection is given up with the command outstanding on it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()  # type: ignore[no-untyped-call]
            self._client.connection_pool.release(connection)
