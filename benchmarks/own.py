"""The scenarios of Bananas alone: one function runs one scenario once."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bananas_topology import Client
from bananas_topology.client import NewJob
from benchmarks.bench import ONE_WORKER, Bench, Failed, Worker
from benchmarks.catalogue import PEERS, Peer
from benchmarks.environments import ROOT
from benchmarks.figures import median, percentile, rate
from benchmarks.http_api import api
from benchmarks.payloads import payload
from benchmarks.scenarios import DRAIN_S, FILL_S, Figures, Scenario, drain

FLOOD_JOBS = 30_000
HIGH_JOBS = 200
SMALL_BACKLOG = 10_000
SMALL_TIMES = 6
LARGE_BACKLOG = 1_000_000
TYPED_JOBS = 120_000
OTHERS = 200_000
MEMORY_JOBS = 20_000
IDLE_S = 10.0
CRUNCH_JOBS = 1_000
CRUNCH_S = 10.0

VALIDATE_TIMES = 7
TOPOLOGY = ROOT / "topologies" / "default.yaml"

#: The types of `benchmarks.peers.bananas`, and the two pools that share them.
TYPES = tuple(f"type-{number}" for number in range(8))
POOLS = (TYPES[:4], TYPES[4:])

#: Bytes of the payloads whose memory cost is measured.
PAYLOADS = (100, 1_000)


def scale(bench: Bench, peer: Peer) -> Figures:
    """Two processes, and 50 threads, beside one process of 10 threads: there and back.

    In one run, since the machine drifts between two. Also how much of its one core the server uses
    with a single process, which bounds what further processes can add.
    """
    fifty = next(each for each in PEERS if each.name == "bananas-50")
    ways = {"one": (peer, 1), "fifty": (fifty, 1), "two": (peer, 2)}
    runs: dict[str, list[Figures]] = {name: [] for name in ways}
    for name in [*ways, *reversed(ways)]:
        who, replicas = ways[name]
        runs[name].append(drain(bench, who, replicas))
    rates = {name: sum(each["jobs_per_s"] for each in runs[name]) / 2 for name in ways}
    busy = [each["server_us"] * each["jobs_per_s"] / 1e6 for each in runs["one"]]
    return {f"jobs_per_s_{name}": value for name, value in rates.items()} | {
        "ratio_fifty": rates["fifty"] / rates["one"],
        "ratio_two": rates["two"] / rates["one"],
        "server_busy_one": sum(busy) / 2,
    }


def flood(bench: Bench, peer: Peer) -> Figures:
    """High jobs, one at a time, amid low jobs of 5 ms: from enqueue to handler start."""
    bench.reset(FLOOD_JOBS)
    with Client(bench.url) as client, bench.workers(peer):
        client.enqueue_many(
            NewJob("low", payload(index), priority="low") for index in range(HIGH_JOBS, FLOOD_JOBS)
        )
        bench.watch(100, FILL_S)
        latencies: list[float] = []
        for index in range(HIGH_JOBS):
            before = time.monotonic_ns()
            client.enqueue("stamp", payload(index), priority="high")
            latencies.append((_began(bench, index) - before) / 1e6)
            time.sleep(0.01)
        if bench.marks.done() >= FLOOD_JOBS:
            raise Failed("the low jobs finished before the high ones")
    return {"p50_ms": percentile(latencies, 50), "p99_ms": percentile(latencies, 99)}


def backlog(bench: Bench, peer: Peer) -> Figures:
    """Jobs per second with a million jobs queued, and before and after with ten thousand."""
    rates = _bursts(bench, peer)
    bench.reset(LARGE_BACKLOG)
    with Client(bench.url) as client:
        _enqueue(client, "noop", range(LARGE_BACKLOG))
        with bench.workers(peer):
            # Enough for a rate; draining the whole million would add nothing.
            samples = bench.watch(LARGE_BACKLOG // 10, DRAIN_S)
    large = rate(samples, LARGE_BACKLOG // 10, 1)
    small = median(rates + _bursts(bench, peer))
    return {"jobs_per_s_10k": small, "jobs_per_s_1m": large, "ratio": large / small}


def _bursts(bench: Bench, peer: Peer) -> list[float]:
    """The rates of short queues, one after another; the first is a warm-up and does not count."""
    bench.reset(SMALL_BACKLOG * SMALL_TIMES)
    with Client(bench.url) as client, bench.workers(peer) as (worker,):
        return [_burst(bench, client, worker, n) for n in range(SMALL_TIMES)][1:]


def _burst(bench: Bench, client: Client, worker: Worker, number: int) -> float:
    """The rate of one short queue, filled while the worker is suspended."""
    first = number * SMALL_BACKLOG
    worker.process.send_signal(signal.SIGSTOP)
    _enqueue(client, "noop", range(first, first + SMALL_BACKLOG))
    worker.process.send_signal(signal.SIGCONT)
    samples = bench.watch(first + SMALL_BACKLOG, DRAIN_S, poll_s=0.004)
    return rate([replace(each, done=each.done - first) for each in samples], SMALL_BACKLOG, 1)


def types(bench: Bench, peer: Peer) -> Figures:
    """Eight interleaved job types: two pools of four types each, and two that accept everything."""
    figures: Figures = {}
    pools: tuple[Mapping[str, str], ...] = tuple(
        {"WORKER_MODE": "job-specialized", "WORKER_JOB_TYPES": ",".join(pool)} for pool in POOLS
    )
    for name, variables in (("specialized", pools), ("unfiltered", ONE_WORKER * 2)):
        bench.reset(TYPED_JOBS)
        with Client(bench.url) as client:
            client.enqueue_many(
                NewJob(TYPES[index % len(TYPES)], payload(index)) for index in range(TYPED_JOBS)
            )
        with bench.workers(peer, variables):
            samples = bench.watch(TYPED_JOBS, DRAIN_S)
        figures[f"jobs_per_s_{name}"] = rate(samples, TYPED_JOBS, 2)
    figures["ratio"] = figures["jobs_per_s_specialized"] / figures["jobs_per_s_unfiltered"]
    return figures


def first_of_type(bench: Bench, peer: Peer) -> Figures:
    """One job behind 200,000 of other types: from the start of its worker to its own."""
    bench.reset(OTHERS + 1)
    pool = {"WORKER_MODE": "job-specialized", "WORKER_JOB_TYPES": "stamp"}
    with Client(bench.url) as client:
        client.enqueue_many(
            NewJob(TYPES[index % len(TYPES)], payload(index)) for index in range(1, OTHERS + 1)
        )
        client.enqueue("stamp", payload(0))
        before = time.monotonic_ns()
        with bench.workers(peer, [pool]):
            return {"after_s": (_began(bench, 0) - before) / 1e9}


def memory(bench: Bench, peer: Peer) -> Figures:
    """Bytes of server memory per queued job, and of its JSON."""
    figures: Figures = {}
    for size in PAYLOADS:
        bench.reset(1)
        with Client(bench.url) as client:
            _enqueue(client, "noop", range(MEMORY_JOBS), size)
            # The difference of two fills leaves out scripts, buffers and tables.
            first = _used_memory(bench)
            ids = _enqueue(client, "noop", range(MEMORY_JOBS), size)
            used = (_used_memory(bench) - first) / MEMORY_JOBS
        lengths = [int(bench.server.strlen(f"bananas:job:{job_id}")) for job_id in ids[:100]]
        json_bytes = sum(lengths) / len(lengths)
        figures |= {
            f"bytes_per_job_{size}": used,
            f"json_bytes_{size}": json_bytes,
            f"over_limit_{size}": used - (1.3 * json_bytes + 200),
        }
    return figures


def idle(bench: Bench, peer: Peer) -> Figures:
    """Commands per second of an idle worker, and its memory (PSS)."""
    bench.reset(1)
    with Client(bench.url) as client, bench.workers(peer) as (worker,):
        client.enqueue("noop", payload(0))
        bench.watch(1, FILL_S)
        time.sleep(1.0)
        commands = _commands_in(bench, IDLE_S)
        return {"commands_per_s": commands / IDLE_S, "pss_mib": _pss_bytes(worker) / 2**20}


def crunch(bench: Bench, peer: Peer) -> Figures:
    """CPU-bound handlers: jobs per second with one replica and with two."""
    figures: Figures = {}
    for replicas in (1, 2):
        bench.reset(CRUNCH_JOBS)
        with Client(bench.url) as client:
            _enqueue(client, "crunch", range(CRUNCH_JOBS))
        with bench.workers(peer, ONE_WORKER * replicas):
            samples = bench.watch(CRUNCH_JOBS, CRUNCH_S, poll_s=0.05)
        figures[f"jobs_per_s_{replicas}"] = rate(samples, CRUNCH_JOBS, replicas)
    figures["ratio"] = figures["jobs_per_s_2"] / figures["jobs_per_s_1"]
    return figures


def validate(bench: Bench, peer: Peer) -> Figures:
    """Milliseconds of `bananas validate`, and of importing its two libraries."""
    validating = ["-m", "bananas_topology", "validate", str(TOPOLOGY)]
    importing = ["-c", "import yaml, jsonschema"]
    times: dict[str, list[float]] = {"validate_ms": [], "imports_ms": []}
    for _ in range(VALIDATE_TIMES):
        times["validate_ms"].append(_run_ms(validating))
        times["imports_ms"].append(_run_ms(importing))
    figures = {name: median(values) for name, values in times.items()}
    return figures | {"ratio": figures["validate_ms"] / figures["imports_ms"]}


def _enqueue(client: Client, job: str, indexes: Iterable[int], size: int = 100) -> list[str]:
    return client.enqueue_many(NewJob(job, payload(index, size)) for index in indexes)


def _began(bench: Bench, index: int) -> int:
    """Wait until a job has started; returns when, in monotonic nanoseconds."""
    end = time.monotonic() + FILL_S
    while not (began := bench.marks.began(index)):
        if time.monotonic() > end:
            raise Failed(f"job {index} did not start within {FILL_S:.0f} s")
        time.sleep(0.002)
    return began


def _used_memory(bench: Bench) -> int:
    return int(bench.server.info("memory")["used_memory"])


def _commands_in(bench: Bench, seconds: float) -> int:
    """Commands that clients send within `seconds`, without the calls of scripts."""
    count = 0
    server: Any = bench.server
    with server.monitor() as monitor:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if monitor.connection.can_read(left):
                count += monitor.next_command()["client_type"] != "lua"
    return count


def _pss_bytes(worker: Worker) -> int:
    """Memory of the worker's process; shared pages count proportionally."""
    rollup = Path(f"/proc/{worker.process.pid}/smaps_rollup").read_text()
    line = next(line for line in rollup.splitlines() if line.startswith("Pss:"))
    return int(line.split()[1]) * 1024


def _run_ms(arguments: list[str]) -> float:
    before = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, check=False)
    if done.returncode != 0:
        raise Failed(f"{' '.join(arguments)} exited with {done.returncode}")
    return (time.perf_counter() - before) * 1000


def _is_bananas(peer: Peer) -> bool:
    return peer.name == "bananas"


#: In the order of the report.
BANANAS_SCENARIOS: tuple[Scenario, ...] = (
    Scenario("scale", "more processes, more threads", scale, _is_bananas),
    Scenario("flood", "high jobs amid low ones", flood, _is_bananas),
    Scenario("backlog", "long backlog", backlog, _is_bananas),
    Scenario("types", "eight types in two pools", types, _is_bananas),
    Scenario("first", "first of its type behind 200,000", first_of_type, _is_bananas),
    Scenario("memory", "server memory per job", memory, _is_bananas, once=True),
    Scenario("idle", "idle worker", idle, _is_bananas, once=True),
    Scenario("api", "the HTTP API", api, _is_bananas),
    Scenario("crunch", "CPU-bound handlers", crunch, _is_bananas),
    Scenario("validate", "bananas validate", validate, _is_bananas, once=True),
)
