"""Celery: Redis as the broker, no result backend (the default), a pool of threads."""

from __future__ import annotations

import os

from celery import Celery

from benchmarks.payloads import Payload
from benchmarks.work import JOBS

app = Celery("bench", broker=os.environ["BENCH_REDIS_URL"])
app.conf.task_ignore_result = True
TASKS = {name: app.task(function, name=name) for name, function in JOBS.items()}


def enqueue_each(job: str, payloads: list[Payload]) -> None:
    task = TASKS[job]
    for payload in payloads:
        task.delay(payload)


def enqueue_bulk(job: str, payloads: list[Payload]) -> None:
    """With one producer, reused, as Celery's documentation recommends."""
    task = TASKS[job]
    with app.producer_or_acquire() as producer:
        for payload in payloads:
            task.apply_async((payload,), producer=producer)
