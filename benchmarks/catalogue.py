"""The peers: what is installed, how the worker starts, and which settings differ from defaults.

Every peer runs with its default settings, except for a concurrency of 10, for what its
documentation recommends for many jobs, and for logging: peers that log a line or two per job at
their default level have that switched off, since Bananas does not either. Versions are exact, so
that a run can be repeated.
"""

from __future__ import annotations

from dataclasses import dataclass

PYTHON_PRODUCER = ("{python}", "-m", "benchmarks.produce", "{module}")


@dataclass(frozen=True)
class Peer:
    """A task queue, with one set of settings.

    `module`: in benchmarks/peers. `worker`: its command line, with {bin}, {python}, {concurrency}.
    `jobs`: how many it has to drain, about four seconds of work; those left over at the time limit
    do not matter. `setup`: the settings, for readers of the report.
    """

    name: str
    title: str
    module: str
    requirements: tuple[str, ...]
    worker: tuple[str, ...]
    jobs: int
    setup: str
    has_bulk: bool = False
    is_python: bool = True
    producer: tuple[str, ...] = PYTHON_PRODUCER
    environment: tuple[tuple[str, str], ...] = ()
    concurrency: int = 10


BANANAS_WORKER = ("{python}", "-m", "bananas_topology.worker")
HUEY_WORKER = ("{bin}/huey_consumer", "benchmarks.peers.huey.huey", "-k", "thread", "-w",
               "{concurrency}", "-q")  # fmt: skip
HUEY = ("huey==3.5.4", "redis[hiredis]==8.1.0")

PEERS: tuple[Peer, ...] = (
    Peer(
        "bananas", "Bananas", "bananas", (), BANANAS_WORKER, 120_000,
        "10 threads; defaults: results, retention, leases, metrics, logging at level info",
        has_bulk=True, environment=(("WORKER_HANDLERS", "benchmarks.peers.bananas"),),
    ),
    Peer(
        "bananas-50", "Bananas, concurrency 50", "bananas", (), BANANAS_WORKER, 120_000,
        "the same with 50 threads; drain only", has_bulk=True, concurrency=50,
        environment=(("WORKER_HANDLERS", "benchmarks.peers.bananas"),),
    ),
    Peer(
        "celery", "Celery", "celery", ("celery[redis]==5.7.0", "hiredis==3.5.0"),
        ("{bin}/celery", "-A", "benchmarks.peers.celery", "worker", "-P", "threads", "-c",
         "{concurrency}"),
        6_000, "10 threads, no result backend, default prefetch; bulk: one producer, reused",
        has_bulk=True,
    ),
    Peer(
        "dramatiq", "Dramatiq", "dramatiq", ("dramatiq[redis]==2.2.1", "hiredis==3.5.0"),
        ("{bin}/dramatiq", "benchmarks.peers.dramatiq", "-p", "1", "-t", "{concurrency}"),
        15_000, "1 process of 10 threads, default middleware, no results",
    ),
    Peer(
        "huey", "Huey", "huey", HUEY, HUEY_WORKER, 25_000,
        "10 threads; default: results that are None are not stored",
    ),
    Peer(
        "huey-pinned", "Huey, pinned to one core", "huey", HUEY,
        ("taskset", "-c", "0", *HUEY_WORKER), 25_000,
        "the same on one core, which makes its threads faster; drain only",
    ),
    Peer(
        "saq", "SAQ", "saq", ("saq[redis,hiredis]==0.26.4", "typing_extensions"),
        ("{bin}/saq", "benchmarks.peers.saq.settings"),
        6_000, "event loop, 10 jobs at a time; bulk: 100 concurrent calls", has_bulk=True,
    ),
    Peer(
        "arq", "ARQ", "arq", ("arq==0.28.0",),
        ("{bin}/arq", "--custom-log-dict", "benchmarks.peers.arq.LOG",
         "benchmarks.peers.arq.WorkerSettings"),
        1_500, "event loop, 10 jobs at a time; bulk: 100 concurrent calls", has_bulk=True,
    ),
    Peer(
        "streaq", "streaQ", "streaq", ("streaq==7.2.0", "uvloop==0.23.0"),
        ("{bin}/streaq", "run", "benchmarks.peers.streaq:worker"),
        6_000, "uvloop, 10 jobs at a time; bulk: its enqueue_many", has_bulk=True,
    ),
    Peer(
        "taskiq", "Taskiq", "taskiq",
        ("taskiq[uv]==0.13.0", "uvloop==0.23.0", "taskiq-redis==1.2.4", "hiredis==3.5.0"),
        ("{bin}/taskiq", "worker", "--workers", "1", "--max-async-tasks", "{concurrency}",
         "--log-level", "WARNING",
         "benchmarks.peers.taskiq:broker"),
        15_000, "uvloop, 10 jobs at a time, Redis stream; bulk: 100 concurrent calls",
        has_bulk=True,
    ),
    Peer(
        "rq", "RQ", "rq", ("rq==3.0.0", "hiredis==3.5.0"),
        ("{bin}/rq", "worker-pool", "-u", "{url}", "-n", "{concurrency}", "-q", "bench"),
        600, "10 processes, since a worker runs one job at a time in a fork; bulk: enqueue_many",
        has_bulk=True,
    ),
    Peer(
        "bullmq", "BullMQ (Node)", "bullmq", (), ("node", "benchmarks/peers/bullmq/worker.js"),
        60_000, "Node's event loop, 10 jobs at a time; bulk: addBulk",
        has_bulk=True, is_python=False, producer=("node", "benchmarks/peers/bullmq/produce.js"),
    ),
)  # fmt: skip
