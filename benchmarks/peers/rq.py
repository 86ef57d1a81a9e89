"""RQ: a worker runs one job at a time, in a forked process; hence ten workers."""

from __future__ import annotations

import os

from redis import Redis
from rq import Queue

from benchmarks.payloads import Payload
from benchmarks.work import JOBS

queue = Queue("bench", connection=Redis.from_url(os.environ["BENCH_REDIS_URL"]))


def enqueue_each(job: str, payloads: list[Payload]) -> None:
    function = JOBS[job]
    for payload in payloads:
        queue.enqueue(function, payload)


def enqueue_bulk(job: str, payloads: list[Payload]) -> None:
    function = JOBS[job]
    queue.enqueue_many([Queue.prepare_data(function, args=(payload,)) for payload in payloads])
