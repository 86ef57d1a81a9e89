"""streaQ: default settings, on uvloop as it recommends."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from streaq import Worker

from benchmarks.payloads import Payload
from benchmarks.work import ASYNC_JOBS

worker = Worker(
    redis_url=os.environ["BENCH_REDIS_URL"],
    concurrency=int(os.environ.get("BENCH_CONCURRENCY", "10")),
    anyio_kwargs={"use_uvloop": True},
)
TASKS = {name: worker.task(name=name, silent=True)(job) for name, job in ASYNC_JOBS.items()}


@asynccontextmanager
async def connected() -> AsyncIterator[None]:
    async with worker:
        yield


async def enqueue_each(job: str, payloads: list[Payload]) -> None:
    task = TASKS[job]
    for payload in payloads:
        await task.enqueue(payload)


async def enqueue_bulk(job: str, payloads: list[Payload]) -> None:
    await worker.enqueue_many([TASKS[job].enqueue(payload) for payload in payloads])
