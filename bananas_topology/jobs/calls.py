"""Script calls at the speed of the wire.

redis-py opens connections (URL forms, TLS, passwords, sentinels) and is used as it is wherever
speed does not matter. Here it does: commands are packed and replies parsed by hiredis alone, and
all calls of one round trip leave in one write.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import hiredis
import redis

from bananas_topology.errors import ContractViolation, RedisUnavailable
from bananas_topology.jobs.connection import TIMEOUT_S, refusal, translate_errors, unreachable
from bananas_topology.jobs.scripts import ALL, Script

Value = str | bytes | int

#: Bytes of calls that leave in one write; more are sent in several round trips.
SEND_BYTES = 8 * 2**20

_RECEIVE_BYTES = 65_536

# Typed by hand: the library's own annotation allows one argument only.
pack: Callable[[tuple[Value, ...]], bytes] = hiredis.pack_command  # type: ignore[assignment]


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

    def receive(self, least: int, most: int) -> list[Any]:
        """Read replies, and more of them where they are here; an error is a `hiredis.ReplyError`.

        No more than `most` may be to come.
        """
        replies: list[Any] = []
        while True:
            # False is "not all of it is here yet": RESP2 has no booleans of its own.
            while len(replies) < most and (reply := self._reader.gets()) is not False:
                replies.append(reply)
            if len(replies) >= least:
                return replies
            received = self._socket.recv(_RECEIVE_BYTES)
            if not received:
                raise ConnectionResetError("the server closed the connection")
            self._reader.feed(received)

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
        self.client = client
        # list.pop and list.append are atomic: the stack needs no lock.
        self._idle: list[Channel] = []
        self._pid = os.getpid()

    def send(self, calls: Sequence[Call]) -> PendingCalls:
        """Send the calls together; their replies are read from the flight.

        Raises:
            RedisUnavailable: they could not be sent; some may have been done.
        """
        return PendingCalls(self, [call.packed() for call in calls])

    def run(self, calls: Sequence[Call]) -> list[Any]:
        """Send the calls together and return their replies in the same order.

        Raises:
            RedisUnavailable, RedisUnsuitable, ContractViolation: as `PendingCalls`.
        """
        return self.send(calls).rest()

    def run_one(self, call: Call) -> Any:
        """Send one call and return its reply, sooner than by a flight; raises as `run`."""
        channel = self.take()
        try:
            channel.send(call.packed())
            [reply] = channel.receive(1, 1)
        except BaseException as error:
            channel.close(self.client)
            self.give_up(error)
        self.give_back(channel)
        if not isinstance(reply, hiredis.ReplyError):
            return reply
        return self.run([call])[0] if is_unknown(reply) else self.refuse(reply)

    def close(self) -> None:
        """Close the connections that nobody uses just now."""
        while self._idle:
            self._idle.pop().close(self.client)

    def take(self) -> Channel:
        """Have a channel to oneself, until it is given back or closed."""
        if self._pid != os.getpid():
            self._idle, self._pid = [], os.getpid()
        try:
            return self._idle.pop()
        except IndexError:
            with translate_errors(self.client):
                return Channel(self.client.connection_pool.get_connection())

    def give_back(self, channel: Channel) -> None:
        """Leave a channel, all of whose replies are read, to others."""
        self._idle.append(channel)

    def load(self) -> None:
        """Send all scripts: a server that has lost one has lost them all."""
        loading = [pack(("SCRIPT", "LOAD", script.source)) for script in ALL]
        for reply in PendingCalls(self, loading).read():
            if isinstance(reply, hiredis.ReplyError):
                self.refuse(reply)

    def give_up(self, error: BaseException) -> NoReturn:
        """Raise what it means that a channel broke."""
        if isinstance(error, BlockingIOError):
            late = TimeoutError(f"no reply in {TIMEOUT_S:g} s")
            raise unreachable(self.client, late) from error
        if isinstance(error, (OSError, hiredis.HiredisError)):
            self.close()  # the others were made to the same server
            raise unreachable(self.client, error) from error
        # Interrupted half-way: the replies to come would have been taken for another call's.
        raise error

    def refuse(self, error: hiredis.ReplyError) -> NoReturn:
        """Raise what an error reply means."""
        failure = refusal(self.client, str(error))
        if isinstance(failure, RedisUnavailable):
            self.close()  # after a failover another server may be the right one: connect anew
        raise failure


class PendingCalls:
    """Calls that were sent, on a channel of their own until the last reply is read.

    Raises (every method):
        RedisUnavailable: the server did not answer, or not usefully; what was sent may have
            been done.
        RedisUnsuitable: it refuses us.
        ContractViolation: a script failed: a defect of Bananas.
    """

    __slots__ = ("_caller", "_channel", "_commands", "_replies", "_sent")

    def __init__(self, caller: Caller, commands: list[bytes]) -> None:
        self._caller = caller
        self._commands = commands
        self._sent = 0
        self._replies: list[Any] = []
        self._channel: Channel | None = caller.take()
        self._send()

    @property
    def fileno(self) -> int:
        """The socket that becomes readable when a reply is here; -1 when none will be."""
        return self._channel.fileno if self._channel else -1

    @property
    def is_awaited(self) -> bool:
        """Whether replies are on their way; if not, the socket does not become readable."""
        return len(self._replies) < self._sent

    def first(self) -> Any:
        """The first call's reply, while the server sees to the others.

        None where the server had lost the script, or refuses us: `rest` sees to that.
        """
        self._receive(1)
        reply = self._replies[0]
        return None if isinstance(reply, hiredis.ReplyError) else reply

    def rest(self) -> list[Any]:
        """All replies, in the order of the calls; the same when asked again."""
        replies = self.read()
        unknown = [i for i, reply in enumerate(replies) if is_unknown(reply)]
        if unknown:
            self._caller.load()
            again = PendingCalls(self._caller, [self._commands[i] for i in unknown]).read()
            for i, reply in zip(unknown, again, strict=True):
                replies[i] = reply
        for reply in replies:
            if isinstance(reply, hiredis.ReplyError):
                self._caller.refuse(reply)
        return replies

    def read(self) -> list[Any]:
        """All replies, errors among them; what did not fit into one write is sent in between."""
        while len(self._replies) < len(self._commands):
            if not self.is_awaited:
                self._send()
            self._receive(self._sent)
        if self._channel is not None:
            self._caller.give_back(self._channel)
            self._channel = None
        return self._replies

    def drop(self) -> None:
        """Give up the replies that are still to be read."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close(self._caller.client)

    def _send(self) -> None:
        first, size = self._sent, 0
        while self._sent < len(self._commands):
            size += len(self._commands[self._sent])
            if size > SEND_BYTES and self._sent > first:
                break
            self._sent += 1
        with self._speaking() as channel:
            channel.send(b"".join(self._commands[first : self._sent]))

    def _receive(self, count: int) -> None:
        """Have at least so many replies here."""
        here = len(self._replies)
        with self._speaking() as channel:
            self._replies += channel.receive(count - here, self._sent - here)

    @contextmanager
    def _speaking(self) -> Iterator[Channel]:
        """Close the channel when something goes wrong on it, and raise what that means."""
        if self._channel is None:
            raise ContractViolation("a flight that has ended has no channel")
        try:
            yield self._channel
        except BaseException as error:
            self.drop()
            self._caller.give_up(error)


def is_unknown(reply: Any) -> bool:
    """Whether the server did not know the script, and so did not run it."""
    return isinstance(reply, hiredis.ReplyError) and str(reply).startswith("NOSCRIPT")
