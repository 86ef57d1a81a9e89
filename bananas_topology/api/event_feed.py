"""Reads events once for all subscribers of ``/events``.

Every subscriber has a bounded buffer. One that reads too slowly, or returns too late, receives
`reset`; others are not affected. Without subscribers, nothing is read.
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

#: Seconds between two reads, and the minimum, when a subscriber joins.
INTERVAL_S = 1.0
_JOINED_S = 0.1

#: Seconds after which unchanged counters are sent again.
COUNTERS_S = 5.0

#: Seconds without an event after which a comment is sent, so that neither the client nor a proxy
#: considers the connection dead.
KEEP_ALIVE_S = 15.0

#: Seconds after which a stream ends. Its client reconnects and resumes, for which its token must
#: still be valid.
STREAM_S = 3600.0

#: Maximum number of buffered events of one subscriber; with more, it receives `reset`.
MAX_PENDING = 1_000

#: Milliseconds that a client waits before it reconnects.
_RETRY = b"retry: 3000\n\n"

log = logging.getLogger(__name__)


class Subscriber:
    """A client and its buffer.

    `after` is the last event that it knows; None if it starts with the next one.
    """

    def __init__(self, after: EventId | None) -> None:
        self.after = after
        self.is_joined = False
        self.is_unavailable = False
        self._events: list[bytes] = []
        self._counters = b""
        self._changed = asyncio.Event()
        self._is_closed = False

    def receive(self, page: EventPage, encoded: Mapping[EventId, bytes]) -> None:
        """Buffer the new events of a page; `encoded` has all its events as they are sent."""
        events = () if self.after is None else page.after(self.after)
        is_first, self.after = self.after is None, page.newest
        if is_first:
            self._events = [f"id: {page.newest}\n\n".encode()]
        elif events is None or len(self._events) + len(events) > MAX_PENDING:
            self._events = [_encode("reset", {}, page.newest)]
        else:
            self._events += [encoded[event.id] for event in events]
        self._changed.set()

    def count(self, counters: bytes) -> None:
        """Buffer counters; they replace those that were not sent yet."""
        self._counters = counters
        self._changed.set()

    def add(self, event: bytes) -> None:
        """Buffer one event."""
        self._events.append(event)
        self._changed.set()

    def close(self) -> None:
        """End the stream."""
        self._is_closed = True
        self._changed.set()

    async def stream(self) -> AsyncIterator[bytes]:
        """Yield the buffer whenever it is filled, until closed or for `STREAM_S`."""
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
    """Distributes events to subscribers. For use by the event loop's thread."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._subscribers: set[Subscriber] = set()
        self._thread = anyio.CapacityLimiter(1)
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._counted: tuple[CountersJson | None, float] = (None, -math.inf)
        self._is_closed = False

    def __len__(self) -> int:
        """The number of subscribers."""
        return len(self._subscribers)

    def join(self, subscriber: Subscriber) -> None:
        """Add a subscriber."""
        if self._is_closed:
            return subscriber.close()
        self._subscribers.add(subscriber)
        self._wake.set()
        if self._task is None:
            self._task = asyncio.create_task(self._follow())

    def leave(self, subscriber: Subscriber) -> None:
        """Remove a subscriber."""
        self._subscribers.discard(subscriber)

    def close(self) -> None:
        """End all streams; further ones end at once."""
        self._is_closed = True
        for subscriber in self._subscribers:
            subscriber.close()
        self._subscribers.clear()
        self._wake.set()

    async def _follow(self) -> None:
        """Read and distribute while there are subscribers."""
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
                subscriber.close()  # its client reconnects
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
                if not subscriber.is_unavailable:
                    subscriber.add(unavailable)
                    subscriber.is_unavailable = True
            return
        encoded = {event.id: _encode(event.kind, event.data, event.id) for event in page.events}
        encoded_counters, is_due = _encode("counters", counters), self._is_due(counters)
        for subscriber in subscribers:
            if subscriber.after != page.newest:
                subscriber.receive(page, encoded)
            if is_due or not subscriber.is_joined or subscriber.is_unavailable:
                subscriber.count(encoded_counters)
            subscriber.is_joined, subscriber.is_unavailable = True, False

    def _is_due(self, counters: CountersJson) -> bool:
        """Whether counters have changed, or were not sent for `COUNTERS_S`."""
        last, sent_at = self._counted
        is_same = last is not None and {**last, "at": counters["at"]} == counters
        if is_same and monotonic() - sent_at < COUNTERS_S:
            return False
        self._counted = (counters, monotonic())
        return True


def _encode(kind: str, data: Any, event_id: EventId | None = None) -> bytes:
    """Encode an event for sending; its JSON has no line breaks."""
    head = b"" if event_id is None else f"id: {event_id}\n".encode()
    return b"%bevent: %b\ndata: %b\n\n" % (head, kind.encode(), msgspec.json.encode(data))
