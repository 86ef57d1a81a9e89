"""Enqueues with one peer, in that peer's environment, and prints the timings as JSON.

``python -m benchmarks.produce PEER each|bulk|wake JOB COUNT SECONDS``: `each` enqueues jobs one
at a time and `bulk` many at once, up to COUNT jobs or SECONDS; `wake` enqueues one, waits until it
has started, pauses and repeats.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import random
import sys
import time
from contextlib import nullcontext
from types import ModuleType
from typing import Any

from benchmarks.payloads import payload
from benchmarks.work import MARKS

#: Jobs between two readings of the clock.
CHUNK = 100

#: Jobs per bulk call.
BULK_CHUNK = 1000

#: Seconds that a job may take to start before the next one is enqueued anyway; the first one waits
#: for the worker to start, and is not counted.
WAKE_LIMIT_S = 2.0
FIRST_LIMIT_S = 25.0


async def _call(function: Any, job: str, first: int, count: int) -> None:
    call = function(job, [payload(index) for index in range(first, first + count)])
    if inspect.isawaitable(call):
        await call


async def _fill(peer: ModuleType, mode: str, job: str, count: int, limit_s: float) -> object:
    function = peer.enqueue_bulk if mode == "bulk" else peer.enqueue_each
    chunk = BULK_CHUNK if mode == "bulk" else CHUNK
    sent = min(chunk, count)
    # The first ones pay for the connection, scripts and imports: not timed.
    await _call(function, job, 0, sent)
    begin, end, timed = time.perf_counter(), time.perf_counter(), 0
    while sent < count and end - begin < limit_s:
        size = min(chunk, count - sent)
        await _call(function, job, sent, size)
        sent, timed, end = sent + size, timed + size, time.perf_counter()
    return {"count": sent, "rate": timed / (end - begin) if timed else 0.0}


async def _wake(peer: ModuleType, job: str, count: int, limit_s: float) -> object:
    latencies: list[float] = []
    end = time.monotonic() + FIRST_LIMIT_S
    for index in range(count):
        one = [payload(index)]
        before = time.monotonic_ns()
        call = peer.enqueue_each(job, one)
        if inspect.isawaitable(call):
            await call
        give_up = time.monotonic() + (WAKE_LIMIT_S if index else FIRST_LIMIT_S)
        while not MARKS.began(index) and time.monotonic() < give_up:
            await asyncio.sleep(0.002)
        if begun := MARKS.began(index):
            latencies.append((begun - before) / 1e6)
        if index == 0:
            end = time.monotonic() + limit_s
        if time.monotonic() > end:
            break
        await asyncio.sleep(random.uniform(0.01, 0.04) if index else 1.0)
    return {"latencies_ms": latencies[1:]}


async def _main(name: str, mode: str, job: str, count: int, limit_s: float) -> None:
    peer = importlib.import_module(f"benchmarks.peers.{name}")
    connected = getattr(peer, "connected", nullcontext)
    async with connected():
        if mode == "wake":
            report = await _wake(peer, job, count, limit_s)
        else:
            report = await _fill(peer, mode, job, count, limit_s)
    print(json.dumps(report))


if __name__ == "__main__":
    peer_name, mode_name, job_name, jobs, seconds = sys.argv[1:]
    asyncio.run(_main(peer_name, mode_name, job_name, int(jobs), float(seconds)))
