"""What the tests of the doctor have in common: topologies to examine, and states of Redis."""

from __future__ import annotations

import itertools
import textwrap
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import redis

from bananas_topology.contract.values import PRIORITIES
from bananas_topology.doctor.check import Result, all_checks, run
from bananas_topology.doctor.examination import Examination
from bananas_topology.doctor.gather import Target, examine
from bananas_topology.jobs.keys import Keys
from bananas_topology.spec.load import check_bytes
from bananas_topology.system.clock import format_timestamp, wall_now, wall_seconds

#: A topology without a fault of any kind.
SOUND = """\
jobs: {add: {timeout: 30s, max_retries: 3}}
defaults: {job_timeout: 5m, max_retries: 3, resources: {limits: {memory: 1Gi}}}
pools: {worker: {concurrency: 10, replicas: 1}}
scheduler: {replicas: 1, resources: {limits: {memory: 256Mi}}}
"""

_numbers = itertools.count()


def topology_text(text: str, prefix: str = "bananas") -> str:
    """A whole topology file, with a key prefix of its own."""
    text = textwrap.dedent(text)
    heads = {
        "version": "version: 1",
        "name": "name: shop",
        "handlers": "handlers: [jobs]",
        "redis": f'redis: {{key_prefix: "{prefix}"}}',
    }
    missing = [line for name, line in heads.items() if f"\n{name}:" not in f"\n{text}"]
    return "\n".join([*missing, text])


def examined(
    text: str | None,
    *,
    url: str | None = None,
    prefix: str = "bananas",
    environ: Mapping[str, str] | None = None,
    observe_s: float = 0.0,
    is_up: bool = False,
) -> Examination:
    """Examine a topology file of this text, and a server."""
    path = Path("topology.yaml")
    report = check_bytes(topology_text(text, prefix).encode(), path, {}) if text else None
    target = Target(url, prefix, observe_s)
    return examine(path, report, target, environ or {}, is_up=is_up)


def results(examination: Examination) -> dict[str, Result]:
    """What every check says, by code."""
    return {result.check.code: result for result in run(all_checks(), examination)}


class Seed:
    """Writes states of Redis under one prefix."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self.client = client
        self.keys = keys

    def worker(
        self,
        pool: str = "worker",
        *,
        lease_s: float = 60,
        seen_s_ago: float = 1,
        running: int = 0,
        started_s_ago: float = 3600,
        **fields: object,
    ) -> str:
        """A worker as its heartbeat describes it."""
        worker_id = f"{pool}-{next(_numbers)}"
        now_ms = round(wall_seconds() * 1000)
        runs_jobs = pool != "scheduler"
        stored = {
            "pool": pool,
            "host": "node-1",
            "pid": 1,
            "concurrency": 10 if runs_jobs else 0,
            "priorities": ",".join(PRIORITIES) if runs_jobs else "",
            "job_types": "add",
            "seen_ms": now_ms - round(seen_s_ago * 1000),
            "started_at": format_timestamp(wall_now() - timedelta(seconds=started_s_ago)),
            **fields,
        }
        self.client.hset(
            self.keys.worker(worker_id), mapping={name: str(text) for name, text in stored.items()}
        )
        self.client.zadd(self.keys.workers, {worker_id: now_ms + round(lease_s * 1000)})
        for _ in range(running):
            self.client.hset(self.keys.claims(worker_id), f"job-{next(_numbers)}", "t.1|high|1")
        return worker_id

    def fleet(self, **fields: object) -> None:
        """The workers of the sound topology."""
        self.worker(**fields)  # type: ignore[arg-type]  # those of any type
        self.worker("scheduler")

    def push(self, key: str, count: int = 1) -> None:
        """Ids of ready jobs."""
        self.client.lpush(key, *(f"job-{next(_numbers)}" for _ in range(count)))

    def stats(self, **counts: int) -> None:
        """Count finished jobs."""
        for name, count in counts.items():
            self.client.hincrby(self.keys.stats, name, count)

    def dead(self, kind: str, *, seconds_ago: float = 0) -> None:
        """A dead job with its failure."""
        job_id = f"job-{next(_numbers)}"
        self.client.lpush(self.keys.dead, job_id)
        self.failure(job_id, kind, seconds_ago=seconds_ago)

    def failure(self, job_id: str, kind: str, *, seconds_ago: float = 0) -> None:
        """The latest failure of a job."""
        at = format_timestamp(wall_now() - timedelta(seconds=seconds_ago))
        self.client.set(self.keys.failure(job_id), f'{{"type":"{kind}","message":"","at":"{at}"}}')


@contextmanager
def meanwhile(action: Callable[[], object]) -> Iterator[None]:
    """Do something again and again while something else is under way."""
    stop = threading.Event()

    def repeat() -> None:
        while not stop.wait(0.02):
            action()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
