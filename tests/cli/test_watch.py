"""`up --watch`, with real workers, files and watchfiles."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator

import pytest

from bananas_topology.client import Client
from bananas_topology.supervisor.record import find
from tests.cli.running import kill_what_runs, processes_of, record_of
from tests.cli.shell import Shell
from tests.waiting import wait_for

TOPOLOGY = "version: 1\nname: shop\nhandlers: [shop.jobs]\npools: {worker: {mode: thin}}\n"

JOBS = """\
from bananas_topology import job


@job("answer")
def answer(payload: int) -> str:
    return "first"
"""


@pytest.fixture
def shop(bundled_shell: Shell) -> Iterator[Shell]:
    (bundled_shell.directory / "topology.yaml").write_text(TOPOLOGY)
    (bundled_shell.directory / "shop").mkdir()
    (bundled_shell.directory / "shop" / "jobs.py").write_text(JOBS)
    yield bundled_shell
    kill_what_runs(bundled_shell.directory)


def _ready(shop: Shell) -> list[int]:
    """Process ids of the ready workers; none if some other is not ready."""
    processes = processes_of(shop).values() if find(shop.directory) else []
    is_ready = all(each["state"] == "ready" for each in processes)
    return [each["pid"] for each in processes] if is_ready else []


def test_changed_sources_and_topology_take_effect(shop: Shell) -> None:
    jobs = shop.directory / "shop" / "jobs.py"
    with shop.start("up", "--watch", stdout=subprocess.DEVNULL) as process:
        wait_for(lambda: _ready(shop))
        with Client(record_of(shop).redis_url) as client:
            assert client.wait(client.enqueue("answer", 1), "10s") == "first"
            before = _ready(shop)

            jobs.write_text(JOBS.replace("first", "second"))
            wait_for(lambda: (now := _ready(shop)) and len(now) == 1 and now != before)
            assert client.wait(client.enqueue("answer", 1), "10s") == "second"

        jobs.write_text("raise RuntimeError('half written')")
        wait_for(lambda: "restart failed" in shop("logs", "supervisor").stdout)
        wait_for(lambda: _ready(shop))
        (shop.directory / "topology.yaml").write_text(TOPOLOGY.replace("thin", "thin, replicas: 2"))
        jobs.write_text(JOBS)
        wait_for(lambda: len(_ready(shop)) == 2)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


def test_a_source_that_changes_as_soon_as_its_worker_runs_takes_effect(shop: Shell) -> None:
    slow = shop.directory / "site-packages"
    slow.mkdir()
    (slow / "watchfiles.py").write_text(
        "import sys, time\n"
        "time.sleep(3)\n"
        f"sys.path.remove({str(slow)!r})\n"
        "del sys.modules['watchfiles']\n"
        "import watchfiles\n"
    )
    shop.environ["PYTHONPATH"] = str(slow)
    with shop.start("up", "--watch", stdout=subprocess.DEVNULL) as process:
        wait_for(lambda: _ready(shop))
        before = _ready(shop)

        (shop.directory / "shop" / "jobs.py").write_text(JOBS.replace("first", "second"))

        wait_for(lambda: (now := _ready(shop)) and now != before)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


def test_a_changed_overlay_takes_effect(shop: Shell) -> None:
    overlay = shop.directory / "dev.yaml"
    overlay.write_text("pools: {worker: {replicas: 2}}")
    with shop.start(
        "up", "--watch", "-f", "topology.yaml", "-f", "dev.yaml", stdout=subprocess.DEVNULL
    ) as process:
        wait_for(lambda: len(_ready(shop)) == 2)

        overlay.write_text("pools: {worker: {replicas: 1}}")

        wait_for(lambda: len(_ready(shop)) == 1)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


def test_start_with_broken_handlers_waits_for_the_fix(shop: Shell) -> None:
    jobs = shop.directory / "shop" / "jobs.py"
    jobs.write_text("import no_such_module")
    with shop.start("up", "--watch", stdout=subprocess.DEVNULL) as process:
        wait_for(lambda: find(shop.directory))
        wait_for(lambda: processes_of(shop)["worker-0"]["state"] == "given up")

        jobs.write_text(JOBS)

        wait_for(lambda: _ready(shop))
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
