"""The jobs, identical for every peer. Standard library only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from benchmarks.marks import Marks
from benchmarks.payloads import Payload

#: Seconds that a `rest` job takes.
REST_S = 0.02

MARKS = Marks.from_env()


def noop(payload: Payload) -> None:
    """Mark only."""
    MARKS.ran(payload["index"])


def stamp(payload: Payload) -> None:
    """Mark, and record the start time."""
    MARKS.begin(payload["index"])
    MARKS.ran(payload["index"])


def rest(payload: Payload) -> None:
    """Wait, as jobs do for a network."""
    time.sleep(REST_S)
    MARKS.ran(payload["index"])


async def noop_async(payload: Payload) -> None:
    noop(payload)


async def stamp_async(payload: Payload) -> None:
    stamp(payload)


async def rest_async(payload: Payload) -> None:
    await asyncio.sleep(REST_S)
    MARKS.ran(payload["index"])


#: The jobs by name, for peers with threads and for those with an event loop.
JOBS: dict[str, Callable[[Payload], None]] = {"noop": noop, "stamp": stamp, "rest": rest}
ASYNC_JOBS: dict[str, Callable[[Payload], Awaitable[None]]] = {
    "noop": noop_async,
    "stamp": stamp_async,
    "rest": rest_async,
}
