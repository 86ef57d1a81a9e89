"""Dramatiq: its Redis broker with the default middleware, no results."""

from __future__ import annotations

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks.payloads import Payload
from benchmarks.work import JOBS

dramatiq.set_broker(RedisBroker(url=os.environ["BENCH_REDIS_URL"]))
ACTORS = {name: dramatiq.actor(function, actor_name=name) for name, function in JOBS.items()}


def enqueue_each(job: str, payloads: list[Payload]) -> None:
    actor = ACTORS[job]
    for payload in payloads:
        actor.send(payload)
