"""Follows what happens, once for all clients of ``/events``.

A client has a bounded buffer. One that reads too slowly, or comes back too late, is told to read
everything again, and costs the others nothing. While there are no clients, nothing is read.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any

import anyio
import anyio.to_thread
import msgspec

from bananas_topology.api.service import Service
from bananas_topology.errors import RedisUnavailable, RedisUnsuitable
from bananas_topology.jobs.events import CountersJson, EventId, EventPage
from bananas_topology.system.clock import monotonic

#: Seconds between two readings; and after the last one, if a client joins.
INTERVAL_S = 1.0
_JOINED_S = 0.1

#: Seconds after which counters are sent even if they have not changed.
COUNTERS_S = 5.0

#: Seconds after which a client that nothing was sent is sent a comment, so that it and what is in
#: between know that the connection is alive.
KEEP_ALIVE_S = 15.0

#: Seconds after which a stream ends. Its client connects again and misses nothing; it then needs a
#: token that is still valid.
STREAM_S = 3600.0

#: Events that wait for one client; when there are more, it has to read everything again.
MAX_PENDING = 1_000

#: How long a client waits before it connects again.
_RETRY = b"retry: 3000\n\n"

log = logging.getLogger(__name__)


class Subscriber:
    """A client: what it has received, and what it is still to be sent.

    `after` is the last event it knows of; None if it begins with the next one.
    """

    def __init__(self, after: EventId | None) -> None:
        self.after = after
        self.is_joined = False
        self.is_told_of_outage = False
        self._events: list[bytes] = []
        self._counters = b""
        self._changed = asyncio.Event()
        self._is_closed = False

    def receive(self, page: EventPage, encoded: Mapping[EventId, bytes]) -> None:
        """Take the events of a page that it does not have yet; `encoded` has all of them."""
        events = () if self.after is None else page.after(self.after)
        is_begin, self.after = self.after is None, page.newest
        if is_begin:
            self._events = [f"id: {page.newest}\n\n".encode()]
        elif events is None or len(self._events) + len(events) > MAX_PENDING:
            self._events = [_encode("reset", {}, page.newest)]
        else:
            self._events += [encoded[event.id] for event in events]
        self._changed.set()

    def count(self, counters: bytes) -> None:
        """Take counters, in place of those that were not sent."""
        self._counters = counters
        self._changed.set()

    def tell(self, event: bytes) -> None:
        """Take another event."""
        self._events.append(event)
        self._changed.set()

    def close(self) -> None:
        """End the stream."""
        self._is_closed = True
        self._changed.set()

    async def stream(self) -> AsyncIterator[bytes]:
        """Yield what is to be sent, until the stream is closed or has lasted `STREAM_S`."""
        yield _RETRY
        until = monotonic() + STREAM_S
        while not self._is_closed and monotonic() < until:
            try:
                async with asyncio.timeout(KEEP_ALIVE_S):
                    await self._changed.wait()
            except TimeoutError:
                yield b": keep-alive\n\n"
                continue
            self._changed.clear()
            data = b"".join([*self._events, self._counters])
            self._events, self._counters = [], b""
            if data:
                yield data


class EventFeed:
    """Passes on events to clients. For use by the event loop's thread."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._subscribers: set[Subscriber] = set()
        self._thread = anyio.CapacityLimiter(1)
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._counted: tuple[CountersJson | None, float] = (None, -math.inf)
        self._is_closed = False

    def __len__(self) -> int:
        """The number of clients."""
        return len(self._subscribers)

    def join(self, subscriber: Subscriber) -> None:
        """Begin to pass on events to a client."""
        if self._is_closed:
            return subscriber.close()
        self._subscribers.add(subscriber)
        self._wake.set()
        if self._task is None:
            self._task = asyncio.create_task(self._follow())

    def leave(self, subscriber: Subscriber) -> None:
        """Forget about a client."""
        self._subscribers.discard(subscriber)

    def close(self) -> None:
        """End all streams, now and in future."""
        self._is_closed = True
        for subscriber in self._subscribers:
            subscriber.close()
        self._subscribers.clear()
        self._wake.set()

    async def _follow(self) -> None:
        """Read and pass on, as long as there is anybody."""
        try:
            while self._subscribers:
                self._wake.clear()
                await self._turn()
                await asyncio.sleep(_JOINED_S)
                with suppress(TimeoutError):
                    async with asyncio.timeout(INTERVAL_S - _JOINED_S):
                        await self._wake.wait()
        except Exception:
            log.exception("events ended unexpectedly")
            for subscriber in self._subscribers:
                subscriber.close()  # they connect again
            self._subscribers.clear()
        finally:
            self._task = None

    async def _turn(self) -> None:
        subscribers = list(self._subscribers)
        after = min((each.after for each in subscribers if each.after is not None), default=None)
        try:
            page, counters = await anyio.to_thread.run_sync(
                self._service.events_after, after, limiter=self._thread
            )
        except (RedisUnavailable, RedisUnsuitable) as error:
            unavailable = _encode("unavailable", {"detail": str(error)})
            for subscriber in subscribers:
                if not subscriber.is_told_of_outage:
                    subscriber.tell(unavailable)
                    subscriber.is_told_of_outage = True
            return
        encoded = {event.id: _encode(event.kind, event.data, event.id) for event in page.events}
        encoded_counters, is_due = _encode("counters", counters), self._is_due(counters)
        for subscriber in subscribers:
            if subscriber.after != page.newest:
                subscriber.receive(page, encoded)
            if is_due or not subscriber.is_joined or subscriber.is_told_of_outage:
                subscriber.count(encoded_counters)
            subscriber.is_joined, subscriber.is_told_of_outage = True, False

    def _is_due(self, counters: CountersJson) -> bool:
        """Whether counters are to be sent: they have changed, or have not been sent for a while."""
        last, sent_at = self._counted
        is_same = last is not None and {**last, "at": counters["at"]} == counters
        if is_same and monotonic() - sent_at < COUNTERS_S:
            return False
        self._counted = (counters, monotonic())
        return True


def _encode(kind: str, data: Any, event_id: EventId | None = None) -> bytes:
    """An event as it is sent; JSON has no line breaks outside of escapes."""
    head = b"" if event_id is None else f"id: {event_id}\n".encode()
    return b"%bevent: %b\ndata: %b\n\n" % (head, kind.encode(), msgspec.json.encode(data))
