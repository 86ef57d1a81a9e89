"""Huey: RedisHuey with its defaults (blocking pops; results that are None are not stored)."""

from __future__ import annotations

import os

from huey import RedisHuey

from benchmarks.payloads import Payload
from benchmarks.work import JOBS

huey = RedisHuey("bench", url=os.environ["BENCH_REDIS_URL"])
TASKS = {name: huey.task(name=name)(function) for name, function in JOBS.items()}


def enqueue_each(job: str, payloads: list[Payload]) -> None:
    task = TASKS[job]
    for payload in payloads:
        task(payload)
