"""Taskiq: the Redis stream broker that its documentation recommends, no result backend."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from taskiq_redis import RedisStreamBroker

from benchmarks.payloads import Payload
from benchmarks.work import ASYNC_JOBS

broker = RedisStreamBroker(os.environ["BENCH_REDIS_URL"])
TASKS = {name: broker.task(task_name=name)(job) for name, job in ASYNC_JOBS.items()}


@asynccontextmanager
async def connected() -> AsyncIterator[None]:
    await broker.startup()
    yield
    await broker.shutdown()


async def enqueue_each(job: str, payloads: list[Payload]) -> None:
    task = TASKS[job]
    for payload in payloads:
        await task.kiq(payload)


async def enqueue_bulk(job: str, payloads: list[Payload]) -> None:
    task = TASKS[job]
    for first in range(0, len(payloads), 100):
        await asyncio.gather(*(task.kiq(each) for each in payloads[first : first + 100]))
