"""ARQ: default settings; an event loop runs the jobs. It polls twice per second by default."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from arq import create_pool, func
from arq.connections import ArqRedis, RedisSettings

from benchmarks.payloads import Payload
from benchmarks.work import ASYNC_JOBS

SETTINGS = RedisSettings.from_dsn(os.environ["BENCH_REDIS_URL"])
LOG = {"version": 1, "loggers": {"arq": {"level": "WARNING"}}}
_pool: ArqRedis | None = None


def _function(job: Callable[[Payload], Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    async def run(context: dict[str, Any], payload: Payload) -> None:
        await job(payload)

    return run


class WorkerSettings:
    """Settings that ARQ's command line reads."""

    redis_settings = SETTINGS
    # ARQ reads a plain class attribute.
    functions = [func(_function(job), name=name) for name, job in ASYNC_JOBS.items()]  # noqa: RUF012
    max_jobs = int(os.environ.get("BENCH_CONCURRENCY", "10"))


@asynccontextmanager
async def connected() -> AsyncIterator[None]:
    global _pool
    _pool = await create_pool(SETTINGS)
    yield
    await _pool.close()


async def enqueue_each(job: str, payloads: list[Payload]) -> None:
    assert _pool is not None
    for payload in payloads:
        await _pool.enqueue_job(job, payload)


async def enqueue_bulk(job: str, payloads: list[Payload]) -> None:
    assert _pool is not None
    for first in range(0, len(payloads), 100):
        await asyncio.gather(
            *(_pool.enqueue_job(job, each) for each in payloads[first : first + 100])
        )
