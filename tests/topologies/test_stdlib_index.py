from __future__ import annotations

import ast
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tokenize
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import IO

import pytest
import redis

from bananas_topology import Client, JobContext, Retry
from bananas_topology.contract.worker import WorkerConfig, to_env
from bananas_topology.errors import JobFailed
from bananas_topology.jobs.keys import Keys
from bananas_topology.system.clock import monotonic

DEMO = Path(__file__).parents[2] / "topologies" / "stdlib-index"


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """A copy of the demo, with its own report and server."""
    target = tmp_path / "stdlib-index"
    ignored = shutil.ignore_patterns(".bananas", "report.json", "__pycache__")
    return Path(shutil.copytree(DEMO, target, ignore=ignored))


@pytest.fixture
def jobs(demo: Path) -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("stdlib_index_jobs", demo / "jobs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def _context(job_id: str) -> JobContext:
    return JobContext(
        job_id=job_id,
        job_type="walk_library",
        attempt=1,
        max_retries=3,
        worker_id="worker-0",
        deadline=monotonic() + 60,
        _is_cancelled=lambda: False,
    )


def _run(demo: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    environ = {name: text for name, text in os.environ.items() if name != "REDIS_URL"}
    return subprocess.run(
        [sys.executable, *argv],
        cwd=demo.parent,
        env=environ,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@contextmanager
def _worker(demo: Path, server_url: str, prefix: str) -> Iterator[None]:
    """A real worker with the demo's handlers, killed at the end."""
    config = WorkerConfig(concurrency=2, handlers=("jobs",), key_prefix=prefix)
    environ = {**os.environ, **to_env(config), "REDIS_URL": server_url, "WORKER_ID": "demo-0"}
    argv = [sys.executable, "-m", "bananas_topology.worker"]
    with subprocess.Popen(argv, cwd=demo, env=environ) as worker:
        try:
            yield
        finally:
            worker.kill()


def _count(unparsed: set[str]) -> Counter[str]:
    """Count the library without a syntax tree.

    `def` and `class` are keywords, so every such token is one function or class. Files that are not
    valid Python are excluded from that.
    """
    totals: Counter[str] = Counter()
    root = Path(sysconfig.get_path("stdlib"))
    for path in root.rglob("*.py"):
        parts = path.relative_to(root).parts
        if {"site-packages", "dist-packages", "__pycache__"} & set(parts):
            continue
        with path.open("rb") as file:
            lines = sum(1 for _ in file)
            totals.update(files=1, lines=lines, bytes=file.tell())
            file.seek(0)
            if "/".join(parts) not in unparsed:
                totals.update(_keywords(file))
    return totals


def _keywords(file: IO[bytes]) -> Counter[str]:
    tokens = tokenize.tokenize(file.readline)
    found = Counter(token.string for token in tokens if token.type == tokenize.NAME)
    return Counter(functions=found["def"], classes=found["class"])


@pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore::DeprecationWarning")
def test_the_demo_has_the_totals_of_an_independent_count(demo: Path) -> None:
    enqueued = _run(demo, str(demo / "enqueue_walk.py"))
    drained = _run(demo, "-m", "bananas_topology", "up", "--drain", str(demo / "topology.yaml"))
    shown = _run(demo, str(demo / "show_report.py"))

    for done in (enqueued, drained, shown):
        assert done.returncode == 0, done
    report = json.loads((demo / "report.json").read_text())
    unparsed = {file["path"] for file in report["files"] if not file["parses"]}
    counted = _count(unparsed)
    totals = report["totals"]
    assert {name: totals[name] for name in counted} == counted
    assert totals["failed"] == 0
    for path in unparsed:
        with pytest.raises((SyntaxError, ValueError, RecursionError, MemoryError)):
            ast.parse(Path(report["root"], path).read_bytes())
    assert f"drained: {counted['files'] + 2:,} completed" in drained.stderr
    for name, value in counted.items():
        assert re.search(rf"{name} +{value:,}\n", shown.stdout)


def test_a_repeated_walk_enqueues_nothing_twice(
    jobs: ModuleType,
    client: redis.Redis,
    keys: Keys,
    server_url: str,
    prefix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REDIS_URL", server_url)
    monkeypatch.setenv("REDIS_KEY_PREFIX", prefix)

    first, second = (jobs.walk_library(_context("walk")) for _ in range(2))

    assert first == second
    assert client.llen(keys.queue("normal")) == first["files"]
    assert client.llen(keys.queue("low")) == 1


def test_the_report_waits_for_the_last_file(
    jobs: ModuleType, server_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", server_url)
    monkeypatch.setenv("REDIS_KEY_PREFIX", prefix)
    with Client(server_url, key_prefix=prefix) as producer:
        producer.enqueue("index_file", {}, id="walk/a.py")

    with pytest.raises(Retry):
        jobs.write_report(jobs.Walk("walk", "/", ["a.py"]))

    assert not jobs.REPORT.exists()


def test_a_report_counts_unparsed_and_failed_files(
    demo: Path, tmp_path: Path, server_url: str, prefix: str
) -> None:
    root = tmp_path / "library"
    root.mkdir()
    (root / "good.py").write_text("class A:\n    async def b(self): ...")
    (root / "bad.py").write_text("print 'once upon a time'\n")
    paths = ["bad.py", "gone.py", "good.py"]
    with (
        _worker(demo, server_url, prefix),
        Client(server_url, key_prefix=prefix) as client,
    ):
        for path in paths:
            payload = {"root": str(root), "path": path}
            client.enqueue("index_file", payload, id=f"walk/{path}", max_retries=0)
        run = {"walk_id": "walk", "root": str(root), "paths": paths}
        totals = client.wait(client.enqueue("write_report", run, priority="low"), timeout=30)

    expected = {"files": 2, "unparsed": 1, "failed": 1, "lines": 3, "functions": 1, "classes": 1}
    assert {name: totals[name] for name in expected} == expected
    assert json.loads((demo / "report.json").read_text())["failed"] == ["gone.py"]
    shown = _run(demo, str(demo / "show_report.py"))
    assert shown.returncode == 1
    assert "1 files failed" in shown.stdout


def test_a_report_on_missing_jobs_is_buried(demo: Path, server_url: str, prefix: str) -> None:
    with (
        _worker(demo, server_url, prefix),
        Client(server_url, key_prefix=prefix) as client,
    ):
        run = {"walk_id": "walk", "root": "/", "paths": ["a.py"]}
        job_id = client.enqueue("write_report", run)
        with pytest.raises(JobFailed, match=r"job walk/a\.py is no longer stored"):
            client.wait(job_id, timeout=30)
