"""The scenarios of all peers: one function runs one scenario once, and returns its figures."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from benchmarks.bench import ONE_WORKER, Bench, Failed
from benchmarks.catalogue import Peer
from benchmarks.figures import percentile, rate

#: Time limits in seconds; a slower peer is measured by what it did until then.
DRAIN_S = 10.0
FILL_S = 30.0
ENQUEUE_S = 3.0
WAKE_S = 12.0

#: Jobs per scenario; the first bounds the memory of the enqueueing scenarios.
ENQUEUE_JOBS = 400_000
WAKE_JOBS = 300
KILL_JOBS = 1_000

Figures = dict[str, float]
Run = Callable[[Bench, Peer], Figures]


def drain(bench: Bench, peer: Peer, replicas: int) -> Figures:
    """Fill a queue, then start workers: jobs per second, and processor time per job."""
    jobs = peer.jobs * replicas
    bench.reset(jobs)
    jobs = bench.fill(peer, "noop", jobs, FILL_S)
    with bench.workers(peer, ONE_WORKER * replicas) as workers:
        samples = bench.watch(1, DRAIN_S)
        before = sum(worker.cpu_seconds() for worker in workers), bench.server_seconds()
        samples += bench.watch(jobs, DRAIN_S)
        after = sum(worker.cpu_seconds() for worker in workers), bench.server_seconds()
    ran = max(1, samples[-1].done - samples[0].done)
    worker_us, server_us = ((b - a) * 1e6 / ran for a, b in zip(before, after, strict=True))
    figures = {"jobs_per_s": rate(samples, jobs, replicas)}
    return figures | {"worker_us": worker_us, "server_us": server_us}


def enqueue(bench: Bench, peer: Peer, mode: str) -> Figures:
    """Enqueue from one process and one thread, without a worker: jobs per second."""
    bench.reset(ENQUEUE_JOBS)
    return {"jobs_per_s": bench.produce(peer, mode, "noop", ENQUEUE_JOBS, ENQUEUE_S)["rate"]}


def wake(bench: Bench, peer: Peer) -> Figures:
    """From before the enqueueing call to handler start, in an idle worker."""
    bench.reset(WAKE_JOBS)
    with bench.workers(peer):
        # The first job waits for the worker to start; it does not count.
        latencies = bench.produce(peer, "wake", "stamp", WAKE_JOBS, WAKE_S)["latencies_ms"]
        if not latencies:
            raise Failed("no job started")
    return {"p50_ms": percentile(latencies, 50), "p99_ms": percentile(latencies, 99)}


def kill(bench: Bench, peer: Peer, limit_s: float) -> Figures:
    """Kill -9 the one worker amid 1,000 jobs of 20 ms, and restart it at once."""
    bench.reset(KILL_JOBS)
    bench.fill(peer, "rest", KILL_JOBS, FILL_S)
    with bench.workers(peer) as (worker,):
        bench.watch(KILL_JOBS // 3, FILL_S, poll_s=0.002)
        worker.kill()
        worker.restart()
        restarted = last = time.monotonic()
        done = bench.marks.done()
        while done < KILL_JOBS and time.monotonic() < restarted + limit_s:
            time.sleep(0.01)
            if bench.marks.done() > done:
                done, last = bench.marks.done(), time.monotonic()
        return {
            "not_run": float(KILL_JOBS - done),
            "run_twice": float(bench.marks.repeated()),
            "last_after_s": last - restarted,
        }


@dataclass(frozen=True)
class Scenario:
    """`once`: run once, since repetition adds nothing or takes too long."""

    name: str
    title: str
    run: Run
    is_for: Callable[[Peer], bool]
    once: bool = False


def _is_full_peer(peer: Peer) -> bool:
    return peer.name not in ("bananas-50", "huey-pinned")


def peer_scenarios(kill_s: float) -> tuple[Scenario, ...]:
    """The scenarios of every peer."""
    return (
        Scenario("drain", "one process", partial(drain, replicas=1), lambda peer: True),
        Scenario("drain2", "two processes", partial(drain, replicas=2),
                 lambda peer: peer.name != "huey-pinned"),
        Scenario("enqueue", "enqueue one by one", partial(enqueue, mode="each"), _is_full_peer),
        Scenario("bulk", "bulk enqueue", partial(enqueue, mode="bulk"),
                 lambda peer: _is_full_peer(peer) and peer.has_bulk),
        Scenario("wake", "idle wake-up", wake, _is_full_peer),
        Scenario("kill", "kill -9", partial(kill, limit_s=kill_s), _is_full_peer, once=True),
    )  # fmt: skip
