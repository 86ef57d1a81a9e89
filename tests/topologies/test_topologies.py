"""The four example deployments: their figures, and that they run unchanged."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
import seed_jobs
from seed_jobs.workspace import VARIABLE

from bananas_topology import Client
from bananas_topology.handler_modules import load_handlers
from bananas_topology.jobs.bundled_server import BundledServer
from bananas_topology.spec.load import check, load
from bananas_topology.spec.model import Amounts, Pool, Resources, ScalingStep
from bananas_topology.supervisor.record import state_directory
from bananas_topology.units import format_duration

FOLDER = Path(seed_jobs.__file__).parents[1]
FILES = sorted(FOLDER.rglob("*.yaml"))
GIB = 2**30
MIB = 2**20


def _pools(name: str) -> dict[str, Pool]:
    return {pool.name: pool for pool in load(FOLDER / f"{name}.yaml", {}).pools}


def _step(step: ScalingStep) -> tuple[str, int | None, int | None, str]:
    window, period = format_duration(step.window_ms), format_duration(step.period_ms)
    return window, step.percent, step.pods, period


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(FOLDER).as_posix())
def test_a_topology_is_valid_without_a_warning(path: Path) -> None:
    report = check(path, {})

    assert report.diagnostics == ()
    assert report.topology is not None
    assert next(iter(report.sources.values())).startswith("# yaml-language-server: $schema=")


@pytest.mark.parametrize(
    ("name", "threads"),
    [("thin", 5), ("default", 60), ("specialized", 220), ("job-specialized", 215)],
)
def test_a_dry_run_shows_the_documented_threads(name: str, threads: int) -> None:
    argv = [sys.executable, "-m", "bananas_topology", "up", "--dry-run", f"{FOLDER}/{name}.yaml"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)

    total, _, processes, shown, *_ = done.stdout.splitlines()[-1].split("\t")
    assert (total, shown) == ("total", str(threads))
    assert int(processes) > 0
    assert done.stderr == "redis: bundled server\n"


@pytest.mark.parametrize(
    ("topology", "name", "size", "limits", "requests", "timeout", "retries"),
    [
        ("thin", "worker", (1, 5), (None, None), (None, None), "5m", 3),
        ("default", "worker", (3, 20), (2000, 2 * GIB), (1000, GIB), "5m", 3),
        ("specialized", "worker-high", (3, 50), (4000, 4 * GIB), (2000, 2 * GIB), "5m", 3),
        ("specialized", "worker-normal", (2, 30), (2000, 2 * GIB), (1000, GIB), "5m", 3),
        ("specialized", "worker-low", (1, 10), (1000, GIB), (500, 512 * MIB), "10m", 2),
        ("job-specialized", "worker-cpu", (2, 10), (4000, 2 * GIB), (2000, GIB), "10m", 2),
        ("job-specialized", "worker-io", (3, 50), (2000, 4 * GIB), (1000, 2 * GIB), "5m", 3),
        ("job-specialized", "worker-database", (1, 5), (1000, GIB), (None, None), "30m", 1),
        ("job-specialized", "worker-general", (2, 20), (2000, 2 * GIB), (1000, GIB), "5m", 3),
    ],
)
def test_a_pool_has_the_original_figures(
    topology: str,
    name: str,
    size: tuple[int, int],
    limits: tuple[int | None, int | None],
    requests: tuple[int | None, int | None],
    timeout: str,
    retries: int,
) -> None:
    pool = _pools(topology)[name]

    assert (pool.replicas, pool.worker.concurrency) == size
    assert (pool.resources.limits.cpu_millis, pool.resources.limits.memory_bytes) == limits
    assert (pool.resources.requests.cpu_millis, pool.resources.requests.memory_bytes) == requests
    assert (format_duration(pool.worker.job_timeout_ms), pool.worker.max_retries) == (
        timeout,
        retries,
    )
    assert pool.worker.grace_ms >= pool.worker.job_timeout_ms


@pytest.mark.parametrize(
    ("topology", "name", "bounds", "targets", "up", "down"),
    [
        ("default", "worker", (3, 10), (70, 80, None),
         ("1m", 50, 2, "1m"), ("5m", 10, 1, "1m")),
        ("specialized", "worker-high", (3, 20), (60, 70, 100),
         ("30s", 100, 4, "30s"), ("10m", None, 1, "2m")),
        ("specialized", "worker-normal", (2, 15), (70, 80, 200),
         ("1m", 50, 3, "1m"), ("5m", None, 1, "2m")),
        ("specialized", "worker-low", (1, 5), (80, None, 500),
         ("3m", None, 1, "2m"), ("10m", None, 1, "3m")),
        ("job-specialized", "worker-cpu", (2, 10), (75, 70, None),
         ("2m", 50, None, "1m"), ("5m", None, 1, "2m")),
        ("job-specialized", "worker-io", (3, 20), (60, 75, None),
         ("1m", 100, 5, "1m"), ("5m", None, 2, "2m")),
    ],
)  # fmt: skip
def test_a_pool_scales_as_the_original_does(
    topology: str,
    name: str,
    bounds: tuple[int, int],
    targets: tuple[int | None, int | None, int | None],
    up: tuple[str, int | None, int | None, str],
    down: tuple[str, int | None, int | None, str],
) -> None:
    scale = _pools(topology)[name].autoscale

    assert scale is not None
    assert (scale.min_replicas, scale.max_replicas) == bounds
    assert (scale.cpu_percent, scale.memory_percent, scale.queue_depth) == targets
    assert _step(scale.scale_up) == up
    assert _step(scale.scale_down) == down


@pytest.mark.parametrize("name", ["default", "specialized", "job-specialized"])
def test_scheduler_and_api_have_the_original_figures(name: str) -> None:
    topology = load(FOLDER / f"{name}.yaml", {})
    scheduler, api = topology.pools[-1], topology.api

    assert (scheduler.replicas, scheduler.worker.concurrency) == (1, 0)
    assert scheduler.resources.requests == Amounts(250, 256 * MIB)
    assert scheduler.resources.limits == Amounts(500, 512 * MIB)
    assert api is not None
    assert (api.config.port, api.replicas) == (8080, 2)
    assert api.resources == Resources(Amounts(500, 512 * MIB), Amounts(1000, GIB))
    scale = api.autoscale
    assert scale is not None
    assert (scale.min_replicas, scale.max_replicas) == (2, 10)
    assert (scale.cpu_percent, scale.memory_percent, scale.requests_per_second) == (70, 75, 1000)
    assert (scale.scale_up.window_ms, scale.scale_down.window_ms) == (30_000, 180_000)


def test_every_schedule_and_job_type_has_a_handler() -> None:
    handled = set(load_handlers(("seed_jobs",)))

    for path in FOLDER.glob("*.yaml"):
        topology = load(path, {})
        assert {schedule.job for schedule in topology.schedules.values()} <= handled
        assert {
            job_type for pool in topology.pools for job_type in pool.worker.job_types
        } <= handled
    assert {
        job_type
        for pool in _pools("job-specialized").values()
        for job_type in pool.worker.job_types
    } == handled


def test_every_job_type_runs_in_its_pool(tmp_path: Path) -> None:
    shutil.copy(FOLDER / "job-specialized.yaml", tmp_path)
    shutil.copytree(FOLDER / "seed_jobs", tmp_path / "seed_jobs")
    topology = tmp_path / "job-specialized.yaml"
    directory = state_directory(topology, "bananas-job-specialized")
    with BundledServer(directory) as server, Client(server.start()) as client:
        stored = client.enqueue("upload_files", {"files": {"a.txt": "bananas\n"}}, priority="high")
        payloads: dict[str, object] = {
            "send_email": {"to": "ada@example.com"},
            "download_content": {"sha256": sha256(b"bananas\n").hexdigest()},
        }
        job_types = load_handlers(("seed_jobs",)).keys() - {"upload_files"}
        ids = [client.enqueue(job_type, payloads.get(job_type)) for job_type in job_types]

    environ = {name: text for name, text in os.environ.items() if name != "REDIS_URL"}
    pools = "worker-cpu,worker-io,worker-database,scheduler"
    done = subprocess.run(
        [sys.executable, "-m", "bananas_topology", "up", "--drain", topology, "--only", pools],
        env={**environ, VARIABLE: str(tmp_path / "workspace")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done
    with BundledServer(directory) as server, Client(server.start()) as client:
        assert all(client.get(job_id).status == "completed" for job_id in [stored, *ids])
