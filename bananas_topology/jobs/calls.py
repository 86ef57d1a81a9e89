"""Script calls at the speed of the wire.

redis-py opens connections (URL forms, TLS, passwords, sentinels) and is used as it is wherever
speed does not matter. Here it does: commands are packed and replies parsed by hiredis alone, and
all calls of one round trip leave in one write.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import hiredis
import redis

from bananas_topology.errors import RedisUnavailable
from bananas_topology.jobs.connection import TIMEOUT_S, refusal, translated, unreachable
from bananas_topology.jobs.scripts import ALL, Script

Value = str | bytes | int

#: Bytes of calls that leave in one write; more are sent in several round trips.
SEND_BYTES = 8 * 2**20

_RECEIVE_BYTES = 65_536

# Typed by hand: the library's own annotation allows one argument only.
pack: Callable[[tuple[Value, ...]], bytes] = hiredis.pack_command  # type: ignore[assignment]


def _ignore(reply: Any) -> None:
    """What is done with a first reply that nobody waits for."""


@dataclass(frozen=True, slots=True)
class Call:
    """One script call: KEYS first, then ARGV."""

    script: Script
    keys: tuple[str, ...]
    arguments: Sequence[Value]

    def packed(self) -> bytes:
        """The command as it goes over the wire."""
        words: list[Value] = ["EVALSHA", self.script.digest, len(self.keys)]
        words += self.keys
        words += self.arguments
        return pack(tuple(words))


class Channel:
    """One of redis-py's connections, spoken to directly. For one thread at a time.

    Raises (every method):
        OSError, hiredis.HiredisError: the connection is of no use any more.
    """

    __slots__ = ("_reader", "_socket", "connection")

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self._socket = connection._sock
        self._reader = hiredis.Reader()
        if type(self._socket) is socket.socket:
            # The kernel keeps the time: Python would ask it twice for each reply.
            limit = struct.pack("ll", *divmod(round(TIMEOUT_S * 1e6), 1_000_000))
            self._socket.settimeout(None)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)

    @property
    def fileno(self) -> int:
        """The socket to select on; -1 when it was closed under us."""
        return -1 if self.connection._sock is None else int(self._socket.fileno())

    def send(self, data: bytes) -> None:
        """Send commands."""
        self._socket.sendall(data)

    def receive(self, count: int, first: Callable[[Any], None] = _ignore) -> list[Any]:
        """Read so many replies; an error reply is a `hiredis.ReplyError`.

        `first` is given the first reply as soon as it is here, while the server sees to the rest.
        """
        reader, replies = self._reader, []
        while True:
            # False is "not all of it is here yet": RESP2 has no booleans of its own.
            while (reply := reader.gets()) is not False:
                replies.append(reply)
                if len(replies) == 1:
                    first(reply)
                if len(replies) == count:
                    return replies
            received = self._socket.recv(_RECEIVE_BYTES)
            if not received:
                raise ConnectionResetError("the server closed the connection")
            reader.feed(received)

    def close(self, client: redis.Redis) -> None:
        """Close the connection and give it back to the client that it is of."""
        self.connection.disconnect()
        client.connection_pool.release(self.connection)


class Caller:
    """Calls scripts, several in one round trip. Thread-safe; a forked child has its own channels.

    Nothing is repeated behind the caller's back but a script that the server did not know, and so
    did not run.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        # list.pop and list.append are atomic: the stack needs no lock.
        self._idle: list[Channel] = []
        self._pid = os.getpid()

    def run(self, calls: Sequence[Call], first: Callable[[Any], None] = _ignore) -> list[Any]:
        """Send the calls together and return their replies in the same order.

        `first` is given the first call's reply, once, as soon as that is known.

        Raises:
            RedisUnavailable: the server did not answer, or not usefully; what was sent may have
                been done.
            RedisUnsuitable: it refuses us.
            ContractViolation: a script failed: a defect of Bananas.
        """
        was_known = False

        def hand_over(reply: Any) -> None:
            nonlocal was_known
            was_known = not isinstance(reply, hiredis.ReplyError)
            if was_known:
                first(reply)

        replies = self._send([call.packed() for call in calls], hand_over)
        unknown = [i for i, reply in enumerate(replies) if is_unknown(reply)]
        if unknown:
            self._load()
            again = self._send([calls[i].packed() for i in unknown])
            for i, reply in zip(unknown, again, strict=True):
                replies[i] = reply
        if not was_known and not isinstance(replies[0], hiredis.ReplyError):
            first(replies[0])
        for reply in replies:
            if isinstance(reply, hiredis.ReplyError):
                self._refuse(reply)
        return replies

    def run_one(self, call: Call) -> Any:
        """Send one call and return its reply; raises as `run`."""
        reply = self._round_trip(call.packed(), 1)[0]
        if is_unknown(reply):
            return self.run([call])[0]
        if isinstance(reply, hiredis.ReplyError):
            self._refuse(reply)
        return reply

    def close(self) -> None:
        """Close the connections that nobody uses just now."""
        while self._idle:
            self._idle.pop().close(self._client)

    def _send(self, commands: list[bytes], first: Callable[[Any], None] = _ignore) -> list[Any]:
        """Send commands, `SEND_BYTES` of them in one write."""
        replies: list[Any] = []
        batch: list[bytes] = []
        size = 0
        for command in commands:
            if batch and size + len(command) > SEND_BYTES:
                replies += self._round_trip(b"".join(batch), len(batch), first)
                batch, size, first = [], 0, _ignore
            batch.append(command)
            size += len(command)
        return replies + self._round_trip(b"".join(batch), len(batch), first)

    def _load(self) -> None:
        """Send all scripts: a server that has lost one has lost them all."""
        for reply in self._send([pack(("SCRIPT", "LOAD", script.source)) for script in ALL]):
            if isinstance(reply, hiredis.ReplyError):
                self._refuse(reply)

    def _refuse(self, error: hiredis.ReplyError) -> NoReturn:
        failure = refusal(self._client, str(error))
        if isinstance(failure, RedisUnavailable):
            self.close()  # after a failover another server may be the right one: connect anew
        raise failure

    def _round_trip(
        self, data: bytes, count: int, first: Callable[[Any], None] = _ignore
    ) -> list[Any]:
        channel = self._take()
        try:
            channel.send(data)
            replies = channel.receive(count, first)
        except BlockingIOError as error:
            channel.close(self._client)
            raise unreachable(self._client, TimeoutError(f"no reply in {TIMEOUT_S:g} s")) from error
        except (OSError, hiredis.HiredisError) as error:
            channel.close(self._client)
            self.close()  # the others were made to the same server
            raise unreachable(self._client, error) from error
        except BaseException:
            # Interrupted half-way: the replies to come would be taken for another call's.
            channel.close(self._client)
            raise
        self._idle.append(channel)
        return replies

    def _take(self) -> Channel:
        if self._pid != os.getpid():
            self._idle, self._pid = [], os.getpid()
        try:
            return self._idle.pop()
        except IndexError:
            with translated(self._client):
                return Channel(self._client.connection_pool.get_connection())


def is_unknown(reply: Any) -> bool:
    """Whether the server did not know the script, and so did not run it."""
    return isinstance(reply, hiredis.ReplyError) and str(reply).startswith("NOSCRIPT")
