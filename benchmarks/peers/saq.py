"""SAQ: its Redis queue with default settings; an event loop runs the jobs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from saq import Queue

from benchmarks.payloads import Payload
from benchmarks.work import ASYNC_JOBS

queue = Queue.from_url(os.environ["BENCH_REDIS_URL"])


def _function(job: Callable[[Payload], Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def run(context: dict[str, Any], *, payload: Payload) -> None:
        await job(payload)

    return run


settings = {
    "queue": queue,
    "functions": [(name, _function(job)) for name, job in ASYNC_JOBS.items()],
    "concurrency": int(os.environ.get("BENCH_CONCURRENCY", "10")),
}


@asynccontextmanager
async def connected() -> AsyncIterator[None]:
    await queue.connect()
    yield
    await queue.disconnect()


async def enqueue_each(job: str, payloads: list[Payload]) -> None:
    for payload in payloads:
        await queue.enqueue(job, payload=payload)


async def enqueue_bulk(job: str, payloads: list[Payload]) -> None:
    """Concurrently, as SAQ's `batch` and `map` do."""
    for first in range(0, len(payloads), 100):
        await asyncio.gather(
            *(queue.enqueue(job, payload=each) for each in payloads[first : first + 100])
        )
