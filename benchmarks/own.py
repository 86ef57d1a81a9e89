"""What only we promise: one function, one run of a scenario for ours alone."""

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
from benchmarks.bench import ALONE, Bench, Failed, Worker
from benchmarks.catalogue import PEERS, Peer
from benchmarks.environments import ROOT
from benchmarks.figures import median, percentile, rate
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

#: Bytes of the payloads whose cost in memory is looked at.
PAYLOADS = (100, 1_000)


def scale(bench: Bench, peer: Peer) -> Figures:
    """Two processes, and 50 threads, beside one process of 10 threads: there and back.

    In one run, since the machine's mood changes between two. Also how much of its one core the
    server is busy with a single process: more than all of it, no number of processes can have.
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
    """High jobs, one at a time, amid low jobs of 5 ms: from enqueue until the handler begins."""
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
            raise Failed("the flood ended before the high jobs did")
    return {"p50_ms": percentile(latencies, 50), "p99_ms": percentile(latencies, 99)}


def backlog(bench: Bench, peer: Peer) -> Figures:
    """Jobs a second with a million jobs in the queue, and before and after it with ten thousand."""
    rates = _bursts(bench, peer)
    bench.reset(LARGE_BACKLOG)
    with Client(bench.url) as client:
        _enqueue(client, "noop", range(LARGE_BACKLOG))
        with bench.workers(peer):
            # As many as make a rate; draining all of the million would show nothing more.
            samples = bench.watch(LARGE_BACKLOG // 10, DRAIN_S)
    large = rate(samples, LARGE_BACKLOG // 10, 1)
    small = median(rates + _bursts(bench, peer))
    return {"jobs_per_s_10k": small, "jobs_per_s_1m": large, "ratio": large / small}


def _bursts(bench: Bench, peer: Peer) -> list[float]:
    """The rates of short queues, one after the other; the first warms up and does not count."""
    bench.reset(SMALL_BACKLOG * SMALL_TIMES)
    with Client(bench.url) as client, bench.workers(peer) as (worker,):
        return [_burst(bench, client, worker, n) for n in range(SMALL_TIMES)][1:]


def _burst(bench: Bench, client: Client, worker: Worker, number: int) -> float:
    """The rate of one short queue, which a worker finds when it is let go on."""
    first = number * SMALL_BACKLOG
    worker.process.send_signal(signal.SIGSTOP)
    _enqueue(client, "noop", range(first, first + SMALL_BACKLOG))
    worker.process.send_signal(signal.SIGCONT)
    samples = bench.watch(first + SMALL_BACKLOG, DRAIN_S, look_s=0.004)
    return rate([replace(each, done=each.done - first) for each in samples], SMALL_BACKLOG, 1)


def types(bench: Bench, peer: Peer) -> Figures:
    """Eight interleaved job types: two pools of four types each, and two that take everything."""
    figures: Figures = {}
    pools: tuple[Mapping[str, str], ...] = tuple(
        {"WORKER_MODE": "job-specialized", "WORKER_JOB_TYPES": ",".join(pool)} for pool in POOLS
    )
    for name, variables in (("specialized", pools), ("unfiltered", ALONE * 2)):
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
    """One job behind 200,000 of other types: from the start of its worker's process on."""
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
    """Bytes of the server's memory that a queued job takes, and of the job's JSON."""
    figures: Figures = {}
    for size in PAYLOADS:
        bench.reset(1)
        with Client(bench.url) as client:
            _enqueue(client, "noop", range(MEMORY_JOBS), size)
            # What scripts, buffers and tables take at any rate is the same in both.
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
    """Commands a second of a worker without work, and the memory that it alone takes (PSS)."""
    bench.reset(1)
    with Client(bench.url) as client, bench.workers(peer) as (worker,):
        client.enqueue("noop", payload(0))
        bench.watch(1, FILL_S)
        time.sleep(1.0)
        commands = _commands_in(bench, IDLE_S)
        return {"commands_per_s": commands / IDLE_S, "pss_mib": _pss_bytes(worker) / 2**20}


def crunch(bench: Bench, peer: Peer) -> Figures:
    """Handlers that keep a core busy: jobs a second with one replica and with two."""
    figures: Figures = {}
    for replicas in (1, 2):
        bench.reset(CRUNCH_JOBS)
        with Client(bench.url) as client:
            _enqueue(client, "crunch", range(CRUNCH_JOBS))
        with bench.workers(peer, ALONE * replicas):
            samples = bench.watch(CRUNCH_JOBS, CRUNCH_S, look_s=0.05)
        figures[f"jobs_per_s_{replicas}"] = rate(samples, CRUNCH_JOBS, replicas)
    figures["ratio"] = figures["jobs_per_s_2"] / figures["jobs_per_s_1"]
    return figures


def validate(bench: Bench, peer: Peer) -> Figures:
    """Milliseconds of `bananas validate`, and of the imports that it cannot do without."""
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
    """Wait until a job has begun; when that was, in monotonic nanoseconds."""
    end = time.monotonic() + FILL_S
    while not (began := bench.marks.began(index)):
        if time.monotonic() > end:
            raise Failed(f"job {index} did not begin in {FILL_S:.0f} s")
        time.sleep(0.002)
    return began


def _used_memory(bench: Bench) -> int:
    return int(bench.server.info("memory")["used_memory"])


def _commands_in(bench: Bench, seconds: float) -> int:
    """Commands that clients send in so many seconds; what scripts call is not counted."""
    count = 0
    server: Any = bench.server
    with server.monitor() as monitor:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if monitor.connection.can_read(left):
                count += monitor.next_command()["client_type"] != "lua"
    return count


def _pss_bytes(worker: Worker) -> int:
    """What the worker's process takes, shared pages by its share of them."""
    rollup = Path(f"/proc/{worker.process.pid}/smaps_rollup").read_text()
    line = next(line for line in rollup.splitlines() if line.startswith("Pss:"))
    return int(line.split()[1]) * 1024


def _run_ms(arguments: list[str]) -> float:
    before = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, check=False)
    if done.returncode != 0:
        raise Failed(f"{' '.join(arguments)} ended with {done.returncode}")
    return (time.perf_counter() - before) * 1000


def _is_us(peer: Peer) -> bool:
    return peer.name == "bananas"


#: The scenarios of ours, in the report's order.
FOR_US: tuple[Scenario, ...] = (
    Scenario("scale", "more processes, more threads", scale, _is_us),
    Scenario("flood", "high jobs amid low ones", flood, _is_us),
    Scenario("backlog", "long backlog", backlog, _is_us),
    Scenario("types", "eight types in two pools", types, _is_us),
    Scenario("first", "first of its type behind 200,000", first_of_type, _is_us),
    Scenario("memory", "server memory per job", memory, _is_us, once=True),
    Scenario("idle", "idle worker", idle, _is_us, once=True),
    Scenario("crunch", "CPU-bound handlers", crunch, _is_us),
    Scenario("validate", "bananas validate", validate, _is_us, once=True),
)
