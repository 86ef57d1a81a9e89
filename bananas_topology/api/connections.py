"""Limits on client connections: their number, and the time each may take for a request.

uvicorn limits neither: clients that connect and send nothing, or half of a request, would hold all
connections.
"""

from __future__ import annotations

import asyncio
import resource
import socket
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from bananas_topology.api.problems import RETRY_AFTER_S
from bananas_topology.system.clock import monotonic

#: Seconds from when a connection is opened, or from the last response, until the next request's
#: header must have arrived.
HEADER_S = 10.0

#: Seconds from a request's header until its response must have been sent; more than a request may
#: wait for a job.
REQUEST_S = 180.0

#: Seconds after which a client that reads nothing of its response makes room for others.
READ_S = 5.0

#: Key in the scope of a request with an endless response. It is not closed after `REQUEST_S` if the
#: client has read everything that was sent.
STREAMING = "bananas.streaming"

#: Seconds after which a connection is closed whose client acknowledges no data, because it has
#: disappeared without closing it.
_GONE_S = 60

#: Maximum size of what may still arrive of a request's body after its response, in bytes.
DISCARD_BYTES = 32 * 2**20

#: Maximum number of connections.
MAX_CONNECTIONS = 1_000

# Descriptors that are left for connections to Redis and for files.
_RESERVED = 256

_FULL = (
    "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n"
    f"Retry-After: {RETRY_AFTER_S}\r\n\r\n"
).encode()


def connection_limit() -> int:
    """The number of connections that the limit on open files allows."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    return max(16, min(MAX_CONNECTIONS, soft - _RESERVED))


class ClientConnection(H11Protocol):
    """A connection that is closed if its client takes too long.

    When there are too many, the one that has gone longest without a complete request makes room, or
    else one whose client has stopped reading its response.
    """

    limit: ClassVar[int] = MAX_CONNECTIONS

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._timer: asyncio.TimerHandle | None = None
        self._timed_cycle: RequestResponseCycle | None = None
        self._answered_at = monotonic()
        self._discarded = 0
        #: Since when the client has read too little for more to be sent.
        self._unread_since: float | None = None

    @property
    def _unanswered(self) -> RequestResponseCycle | None:
        """The request that is being received or answered; None if there is none."""
        # uvicorn's annotation omits that there is none at first.
        cycle: RequestResponseCycle | None = self.cycle
        return None if cycle is None or cycle.response_complete else cycle

    @property
    def has_request(self) -> bool:
        """Whether a complete request, its body included, is being answered."""
        return self._unanswered is not None and not self._unanswered.more_body

    # uvicorn narrows the type of the argument as well.
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        if len(self.connections) >= self.limit and not self._make_room():
            self.transport = transport
            transport.write(_FULL)
            transport.close()
            return
        super().connection_made(transport)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux only
            accepted = transport.get_extra_info("socket")
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _GONE_S * 1000)
        self._close_in(HEADER_S)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        # uvicorn reads the rest of a refused body, so that the client finds the response and can
        # send the next request; but also one without end.
        if self.cycle is not None and self._unanswered is None:
            self._discarded += len(data) if self.conn.their_state is h11.SEND_BODY else 0
            if self._discarded > DISCARD_BYTES:
                return self.transport.abort()
        super().data_received(data)

    def handle_events(self) -> None:
        super().handle_events()
        cycle = self._unanswered
        if cycle is not None and cycle is not self._timed_cycle:
            self._timed_cycle = cycle
            self._close_in(REQUEST_S)

    def pause_writing(self) -> None:
        self._unread_since = monotonic()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._unread_since = None
        super().resume_writing()

    def on_response_complete(self) -> None:
        self._answered_at = monotonic()
        self._discarded = 0
        self._close_in(HEADER_S)
        super().on_response_complete()

    def _close_in(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self.transport.is_closing():
            self._timer = self.loop.call_later(seconds, self._on_late)

    @property
    def _is_stalled(self) -> bool:
        """Whether the client has stopped reading its response."""
        return self._unread_since is not None and monotonic() - self._unread_since > READ_S

    @property
    def _is_read(self) -> bool:
        """Whether the client has read everything that was sent."""
        return self.transport.get_write_buffer_size() == 0

    @property
    def _is_streaming(self) -> bool:
        cycle = self._unanswered
        return cycle is not None and STREAMING in cycle.scope

    def _on_late(self) -> None:
        if self._is_streaming and self._is_read:
            self._close_in(REQUEST_S)
        else:
            self.transport.abort()

    def shutdown(self) -> None:
        super().shutdown()
        if self._is_streaming and not self._is_read:
            self.transport.abort()  # its client would use up the grace period

    def abort_unread(self) -> None:
        """Close it if the client has not read its response, which would not end."""
        if not self._is_read:
            self.transport.abort()

    def _make_room(self) -> bool:
        """Close a connection whose client makes no progress; False if all do."""
        connections = [each for each in self.connections if isinstance(each, ClientConnection)]
        idle = [each for each in connections if not each.has_request]
        idle = idle or [each for each in connections if each._is_stalled]
        if not idle:
            return False
        oldest = min(idle, key=lambda each: each._answered_at)
        self.connections.discard(oldest)
        oldest.transport.abort()
        return True
