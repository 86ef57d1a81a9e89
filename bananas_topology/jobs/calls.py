"""Script calls without the overhead of redis-py.

redis-py opens connections (URL forms, TLS, passwords, sentinels) and is used as it is where speed
does not matter. Here it does: hiredis alone packs commands and parses replies, and all calls of one
round trip are sent in one write.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

import hiredis
import redis

from bananas_topology.errors import (
    BananasTopologyError,
    ContractViolation,
    RedisAccessDenied,
    RedisUnavailable,
)
from bananas_topology.jobs.connection import (
    connection_failure,
    reply_failure,
    translate_errors,
)
from bananas_topology.jobs.scripts import ALL, Script
from bananas_topology.jobs.waiting import SLICE_S, OnWait, call_in_slices, do_nothing

A = TypeVar("A")
T = TypeVar("T")

Value = str | bytes | int

#: Maximum size of one write, in bytes; calls beyond it are sent in further round trips.
SEND_BYTES = 8 * 2**20

_RECEIVE_BYTES = 65_536

#: Size of a write, in bytes, from which on the server gets more time to reply; and how many bytes
#: per second the slowest connection is expected to take.
LARGE_BYTES = 65_536
SLOWEST_BYTES_PER_S = 2**20

# Annotated here: the library's own annotation allows a single argument only.
pack: Callable[[tuple[Value, ...]], bytes] = hiredis.pack_command  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class Call:
    """One script call: KEYS, then ARGV."""

    script: Script
    keys: tuple[str, ...]
    arguments: Sequence[Value]

    def packed(self) -> bytes:
        """The command as sent over the wire."""
        command: list[Value] = ["EVALSHA", self.script.digest, len(self.keys)]
        command += self.keys
        command += self.arguments
        return pack(tuple(command))


class Channel:
    """A connection opened by redis-py whose socket is used directly. For one thread at a time.

    A server that cannot parse a command, because an argument is over its proto-max-bulk-len,
    replies with an error, runs no later command, and closes the connection. `send` therefore
    ignores a connection closed by the server: `receive` finds out whether the server has sent a
    reason.

    Raises (every method):
        OSError, hiredis.HiredisError: the connection is no longer usable.
    """

    __slots__ = ("_on_wait", "_reader", "_socket", "_timeout_s", "connection")

    def __init__(self, connection: Any, on_wait: OnWait) -> None:
        self.connection = connection
        self._socket = connection._sock
        self._reader = hiredis.Reader()
        self._on_wait = on_wait
        self._timeout_s = connection.socket_timeout
        if type(self._socket) is socket.socket:
            # Timeouts by the kernel: Python's would cost two more system calls per reply.
            limit = struct.pack("ll", *divmod(round(SLICE_S * 1e6), 1_000_000))
            self._socket.settimeout(None)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        else:
            self._socket.settimeout(SLICE_S)

    @property
    def fileno(self) -> int:
        """The socket to select on; -1 if redis-py has closed it."""
        return -1 if self.connection._sock is None else int(self._socket.fileno())

    def send(self, data: bytes) -> None:
        """Send packed commands."""
        self._timeout_s = self.connection.socket_timeout
        if len(data) > LARGE_BYTES:
            self._timeout_s += len(data) / SLOWEST_BYTES_PER_S
        with suppress(BrokenPipeError, ConnectionResetError):
            sent = self._in_slices(self._socket.send, data)
            while sent < len(data):
                sent += self._in_slices(self._socket.send, memoryview(data)[sent:])

    def receive(self, minimum: int, maximum: int) -> list[Any]:
        """Wait for `minimum` replies, and read up to `maximum` if more have arrived.

        Error replies are returned as `hiredis.ReplyError`. `maximum` must not be less than the
        number of replies outstanding. A protocol error is the last reply of its connection.
        """
        replies: list[Any] = []
        while True:
            # False means "incomplete": RESP2 has no booleans of its own.
            while len(replies) < maximum and (reply := self._reader.gets()) is not False:
                replies.append(reply)
            if len(replies) >= minimum:
                return replies
            if replies and is_protocol_error(replies[-1]):
                return replies
            received = self._in_slices(self._socket.recv, _RECEIVE_BYTES)
            if not received:
                raise ConnectionResetError("the server closed the connection")
            self._reader.feed(received)

    def _in_slices(self, operation: Callable[[A], T], argument: A) -> T:
        """Repeat an operation until the socket is ready for it, for `_timeout_s` at most."""
        for _ in range(round(self._timeout_s / SLICE_S)):
            try:
                return operation(argument)
            except (BlockingIOError, TimeoutError):
                self._on_wait()
        raise TimeoutError(f"no reply in {self._timeout_s:.1f} s")

    def close(self, client: redis.Redis) -> None:
        """Close the connection and return it to the pool of the client that opened it."""
        self.connection.disconnect()
        client.connection_pool.release(self.connection)


class ScriptClient:
    """Calls scripts, several per round trip. Thread-safe; a forked child opens its own channels.

    Only a script that the server did not know, and therefore did not run, is sent again; nothing
    else is retried.
    """

    def __init__(self, client: redis.Redis) -> None:
        self.client = client
        #: Called while the server does not answer; see waiting.py.
        self.on_wait: OnWait = do_nothing
        # list.pop and list.append are atomic: the stack needs no lock.
        self._idle: list[Channel] = []
        self._pid = os.getpid()

    def send(self, calls: Sequence[Call]) -> PendingCalls:
        """Send the calls together, without waiting for the replies.

        Raises:
            RedisUnavailable: sending failed; some of the calls may have run.
        """
        return PendingCalls(self, [call.packed() for call in calls])

    def run(self, calls: Sequence[Call]) -> list[Any]:
        """Send the calls together and return their replies in the same order.

        Raises:
            RedisUnavailable, RedisUnsuitable, ContractViolation: see `PendingCalls`.
        """
        return self.send(calls).replies()

    def command(self, *words: Value) -> Any:
        """Send one command and return its reply; raises as `run`."""
        [reply] = PendingCalls(self, [pack(words)]).replies()
        return reply

    def run_one(self, call: Call) -> Any:
        """Send one call and return its reply, with less overhead than `run`; raises as `run`."""
        channel = self.acquire()
        try:
            channel.send(call.packed())
            [reply] = channel.receive(1, 1)
        except BaseException as error:
            channel.close(self.client)
            self.raise_broken(error)
        if is_protocol_error(reply):
            channel.close(self.client)
        else:
            self.release(channel)
        if not isinstance(reply, hiredis.ReplyError):
            return reply
        return self.run([call])[0] if is_unknown_script(reply) else self.raise_reply(reply)

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().close(self.client)

    def acquire(self) -> Channel:
        """Get exclusive use of a channel, until it is released or closed."""
        if self._pid != os.getpid():
            self._idle, self._pid = [], os.getpid()
        try:
            return self._idle.pop()
        except IndexError:
            return self.open()

    def open(self) -> Channel:
        """Open a channel that is not shared with others; to be closed after use.

        Raises:
            RedisUnavailable, RedisUnsuitable: the connection cannot be established.
        """
        with translate_errors(self.client):
            get_connection = self.client.connection_pool.get_connection
            return Channel(call_in_slices(get_connection, self.on_wait), self.on_wait)

    def release(self, channel: Channel) -> None:
        """Make a channel available again; all its replies must have been read."""
        self._idle.append(channel)

    def load(self) -> None:
        """Load all scripts: a server that has lost one has lost them all."""
        commands = [pack(("SCRIPT", "LOAD", script.source)) for script in ALL]
        for reply in PendingCalls(self, commands).read():
            if isinstance(reply, hiredis.ReplyError):
                self.raise_reply(reply)

    def raise_broken(self, error: BaseException) -> NoReturn:
        """Raise the exception for a channel that broke with `error`."""
        if isinstance(error, (OSError, hiredis.HiredisError)):
            self.close()  # the other channels lead to the same server
            raise connection_failure(self.client, error) from error
        # Interrupted midway: the outstanding replies would be taken for those of another call.
        raise error

    def raise_reply(self, error: hiredis.ReplyError) -> NoReturn:
        """Raise the exception for an error reply."""
        raise self.failure(error)

    def failure(self, error: hiredis.ReplyError) -> BananasTopologyError:
        """The exception for an error reply."""
        failure = reply_failure(self.client, str(error))
        if isinstance(failure, RedisUnavailable):
            self.close()  # after a failover another server may be the master: reconnect
        return failure


class PendingCalls:
    """Calls that were sent, with exclusive use of a channel until the last reply is read.

    Raises (every method):
        RedisUnavailable: the server did not answer, or is not ready; the calls may have run.
        RedisUnsuitable: the server rejects the request.
        ContractViolation: a script failed, which is a bug in Bananas.
    """

    __slots__ = ("_channel", "_commands", "_replies", "_scripts", "_sent")

    def __init__(self, scripts: ScriptClient, commands: list[bytes]) -> None:
        self._scripts = scripts
        self._commands = commands
        self._sent = 0
        self._replies: list[Any] = []
        self._channel: Channel | None = None
        self._send()

    @property
    def fileno(self) -> int:
        """The socket that becomes readable when a reply arrives; -1 if none will."""
        return self._channel.fileno if self._channel else -1

    @property
    def is_open(self) -> bool:
        """Whether replies are still to come; if not, the socket does not become readable."""
        return len(self._replies) < self._sent

    def first(self) -> Any:
        """Wait for the first call's reply only.

        None if it is an error, such as an unknown script: `replies` handles that.
        """
        self._receive(1)
        reply = self._replies[0]
        return None if isinstance(reply, hiredis.ReplyError) else reply

    def replies(self) -> list[Any]:
        """Wait for all replies, in the order of the calls; returns the same when called again."""
        replies = self.outcomes()
        for reply in replies:
            if isinstance(reply, BananasTopologyError):
                raise reply
        return replies

    def outcomes(self) -> list[Any]:
        """As `replies`, with the exception of a rejected call in the place of its reply.

        A call that was rejected does not keep the others from running.

        Raises:
            RedisUnavailable, RedisAccessDenied: this concerns all calls.
        """
        replies = self.read()
        unknown = [i for i, reply in enumerate(replies) if is_unknown_script(reply)]
        if unknown:
            self._scripts.load()
            again = PendingCalls(self._scripts, [self._commands[i] for i in unknown]).read()
            for i, reply in zip(unknown, again, strict=True):
                replies[i] = reply
        for i, reply in enumerate(replies):
            if isinstance(reply, hiredis.ReplyError):
                failure = self._scripts.failure(reply)
                if isinstance(failure, (RedisUnavailable, RedisAccessDenied)):
                    raise failure
                replies[i] = failure
        return replies

    def read(self) -> list[Any]:
        """Wait for all replies, errors included, sending what has not been sent yet."""
        while len(self._replies) < len(self._commands):
            if not self.is_open:
                self._send()
            self._receive(self._sent)
        if self._channel is not None:
            self._scripts.release(self._channel)
            self._channel = None
        return self._replies

    def drop(self) -> None:
        """Close the channel without reading the remaining replies."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close(self._scripts.client)

    def _send(self) -> None:
        if self._channel is None:
            self._channel = self._scripts.acquire()
        first, size = self._sent, 0
        while self._sent < len(self._commands):
            size += len(self._commands[self._sent])
            if size > SEND_BYTES and self._sent > first:
                break
            self._sent += 1
        with self._open_channel() as channel:
            channel.send(b"".join(self._commands[first : self._sent]))

    def _receive(self, count: int) -> None:
        """Wait until `count` replies have been read in total."""
        received = len(self._replies)
        with self._open_channel() as channel:
            self._replies += channel.receive(count - received, self._sent - received)
        if is_protocol_error(self._replies[-1]):
            # The server has run none of the later calls: they are sent on another connection.
            self.drop()
            self._sent = len(self._replies)

    @contextmanager
    def _open_channel(self) -> Iterator[Channel]:
        """Use the channel; on any error close it and raise the exception for that error."""
        if self._channel is None:
            raise ContractViolation("the replies of these calls were already read or dropped")
        try:
            yield self._channel
        except BaseException as error:
            self.drop()
            self._scripts.raise_broken(error)


def is_protocol_error(reply: Any) -> bool:
    """Whether the server could not parse a command, and has closed the connection."""
    return isinstance(reply, hiredis.ReplyError) and str(reply).startswith("ERR Protocol error")


def is_unknown_script(reply: Any) -> bool:
    """Whether the server did not know the script, and therefore did not run it."""
    return isinstance(reply, hiredis.ReplyError) and str(reply).startswith("NOSCRIPT")
