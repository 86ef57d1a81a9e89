"""Bananas with its defaults: leases, fencing, retention, results, metrics and logging are on."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from bananas_topology import Client, job
from bananas_topology.client import NewJob
from benchmarks.payloads import Payload
from benchmarks.work import JOBS, MARKS

#: Job types for the scenarios of job-specialized pools.
TYPES = tuple(f"type-{number}" for number in range(8))

#: Seconds of a `low` job; loop iterations of a `crunch` job (about 10 ms).
LOW_S = 0.005
CRUNCH_ITERATIONS = 200_000

noop, stamp, rest = (job(name)(function) for name, function in JOBS.items())


def _typed() -> Callable[[Payload], None]:
    def run(payload: Payload) -> None:
        MARKS.ran(payload["index"])

    return run


type_0, type_1, type_2, type_3, type_4, type_5, type_6, type_7 = (
    job(name)(_typed()) for name in TYPES
)


@job("low")
def low(payload: Payload) -> None:
    time.sleep(LOW_S)
    MARKS.ran(payload["index"])


@job("crunch")
def crunch(payload: Payload) -> int:
    """Keep one core busy in pure Python, holding the interpreter's lock."""
    total = 0
    for number in range(CRUNCH_ITERATIONS):
        total += number & 3
    MARKS.ran(payload["index"])
    return total


client = Client(os.environ["BENCH_REDIS_URL"])


def enqueue_each(job: str, payloads: list[Payload]) -> None:
    for payload in payloads:
        client.enqueue(job, payload)


def enqueue_bulk(job: str, payloads: list[Payload]) -> None:
    client.enqueue_many([NewJob(job, payload) for payload in payloads])
