from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bananas_topology import Client
from bananas_topology.jobs.embedded import EmbeddedServer
from bananas_topology.supervisor.record import RunRecord, find, state_directory
from tests.cli.shell import Shell
from tests.jobs.servers import free_port
from tests.waiting import wait_for

TOPOLOGY = """\
version: 1
name: shop
handlers: [jobs]
pools:
  worker: {mode: thin, concurrency: 3, replicas: 2}
"""

JOBS = """\
import time
from pathlib import Path

from bananas_topology import Bury, job


@job("touch")
def touch(payload: dict) -> None:
    Path(payload["name"]).touch()


@job("slow")
def slow(payload: dict) -> None:
    Path(payload["name"] + "-begun").touch()
    time.sleep(1)
    Path(payload["name"]).touch()


@job("fail")
def fail(payload: dict) -> None:
    raise Bury("no use")
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "topology.yaml").write_text(TOPOLOGY)
    (tmp_path / "jobs.py").write_text(JOBS)
    return tmp_path


def _environ(**more: str) -> dict[str, str]:
    kept = {name: text for name, text in os.environ.items() if name != "REDIS_URL"}
    return kept | {"PYTHONDONTWRITEBYTECODE": "1"} | more


def _up(shop: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return Shell(shop, _environ())("up", *arguments, **more)


def _on_terminal(shop: Path, *arguments: str, **more: str) -> str:
    """What a terminal is sent by an `up` that ends by itself."""
    code, shown = Shell(shop, _environ()).on_terminal("up", *arguments, **more)
    assert code == 0, shown
    return shown


@contextmanager
def _running(shop: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], RunRecord]]:
    argv = [sys.executable, "-m", "bananas_topology", "up", *arguments]
    with subprocess.Popen(
        argv,
        cwd=shop,
        env=_environ(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            wait_for(lambda: find(shop) or process.poll() is not None)
            record = find(shop)
            assert record is not None, process.communicate()
            yield process, record
        finally:
            process.kill()


def _enqueue_beforehand(shop: Path, *jobs: tuple[str, object]) -> None:
    """Put jobs where the embedded server of the next `up` will find them."""
    directory = state_directory(shop / "topology.yaml", "shop")
    with EmbeddedServer(directory) as server, Client(server.start()) as client:
        for name, payload in jobs:
            client.enqueue(name, payload)


def test_a_dry_run_shows_the_plan_and_starts_nothing(shop: Path) -> None:
    result = _up(shop, "--dry-run", "--scale", "worker=4")

    assert result.returncode == 0
    assert result.stdout.splitlines() == [
        "pool\tmode\tprocesses\tthreads\tpriorities\tjob types\tscheduler",
        "worker\tthin\t4\t12\thigh,normal,low\tall\tyes",
        "total\t\t4\t12\t\t\t",
    ]
    assert not (shop / ".bananas").exists()


def test_an_api_is_part_of_the_plan_and_answers(shop: Path) -> None:
    port = free_port()
    (shop / "topology.yaml").write_text(f"{TOPOLOGY}api: {{port: {port}}}\n")

    planned = _up(shop, "--dry-run").stdout.splitlines()
    with _running(shop) as (process, record):
        health = _answer(f"http://127.0.0.1:{port}/health")
        with Client(record.redis_url) as client:
            client.wait(client.enqueue("touch", {"name": "file"}), "20s")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)

    assert planned[2:] == ["api\tapi\t1\t0\tnone\tnone\tno", "total\t\t3\t6\t\t\t"]
    assert b"status" in health
    assert process.returncode == 0


def _answer(url: str) -> bytes:
    deadline = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                body: bytes = response.read()
                return body
        except urllib.error.HTTPError as error:
            return error.read()
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_on_a_terminal_a_dry_run_shows_a_table(shop: Path) -> None:
    shown = re.sub(r"\x1b\[\d*m", "", _on_terminal(shop, "--dry-run"))

    rows = [line.split() for line in shown.splitlines() if line.strip()]
    assert rows[0] == ["pool", "mode", "processes", "threads", "takes"]
    assert rows[2] == ["worker", "thin", "2", "6", "all", "jobs,", "schedules"]
    assert rows[3] == ["total", "2", "6"]


def test_on_a_terminal_prefixes_are_coloured_and_the_progress_stays_in_its_line(
    shop: Path,
) -> None:
    _enqueue_beforehand(shop, ("slow", {"name": "file"}))

    shown = _on_terminal(shop, "--drain")

    assert re.search(r"\x1b\[\d+mworker-0   \|\x1b\[0m ", shown)
    assert "0 done, 0 ready, 1 running\r\x1b[2K" in shown


def test_with_no_color_nothing_is_coloured_on_a_terminal(shop: Path) -> None:
    shown = _on_terminal(shop, "--drain", NO_COLOR="1")

    assert "worker-0   | " in shown
    assert not re.search(r"\x1b\[\d*m", shown)


@pytest.mark.parametrize("arguments", [("--scale", "workr=1"), ("--only", "workr")])
def test_a_pool_that_is_not_there_is_one_clear_line(shop: Path, arguments: tuple[str, str]) -> None:
    result = _up(shop, *arguments)

    assert result.returncode == 1
    assert result.stdout == ""
    [line] = result.stderr.splitlines()
    assert 'topology "shop" has no pool "workr": did you mean "worker"?' in line


def test_a_scale_that_is_no_number_is_a_usage_fault(shop: Path) -> None:
    result = _up(shop, "--scale", "worker=many")

    assert result.returncode == 2
    assert "expected POOL=N" in result.stderr


def test_a_topology_with_errors_is_not_started(shop: Path) -> None:
    (shop / "topology.yaml").write_text(TOPOLOGY.replace("concurrency", "concurency"))

    result = _up(shop)

    assert result.returncode == 1
    assert "topology.yaml:5:" in result.stderr
    assert 'did you mean "concurrency"?' in result.stderr
    assert not (shop / ".bananas").exists()


def test_an_external_server_whose_url_is_not_set_is_not_replaced_by_ours(shop: Path) -> None:
    (shop / "topology.yaml").write_text(f"{TOPOLOGY}redis: {{url: '${{REDIS_URL}}'}}\n")

    result = _up(shop)

    assert result.returncode == 1
    assert "redis.url in topology.yaml names a variable that is not set" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (shop / ".bananas").exists()


def test_what_the_api_needs_is_said_before_anything_is_started(shop: Path) -> None:
    (shop / "topology.yaml").write_text(f"{TOPOLOGY}api: {{}}\n")
    code = (
        "import sys; sys.modules['fastapi'] = None; import bananas_topology.__main__ as m; m.main()"
    )

    result = subprocess.run(
        [sys.executable, "-c", code, "up"],
        cwd=shop,
        env=_environ(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert result.returncode == 1
    [line] = result.stderr.splitlines()
    assert "pip install 'bananas-topology[api]'" in line


def test_a_server_that_cannot_be_reached_is_one_clear_line(shop: Path) -> None:
    result = _up(shop, REDIS_URL="redis://app:s3cret@127.0.0.1:1/0")

    assert result.returncode == 1
    assert result.stdout == ""
    assert "cannot reach Redis at 127.0.0.1:1" in result.stderr.splitlines()[-1]
    assert "s3cret" not in result.stderr
    assert "Traceback" not in result.stderr


def test_a_drain_runs_what_is_queued_and_stops(shop: Path) -> None:
    _enqueue_beforehand(shop, *[("touch", {"name": f"file-{index}"}) for index in range(20)])

    result = _up(shop, "--drain")

    assert result.returncode == 0, result
    assert len(list(shop.glob("file-*"))) == 20
    assert "drained: 20 done" in result.stderr
    assert "redis: embedded Valkey on redis://127.0.0.1:" in result.stderr
    assert "data in .bananas/shop" in result.stderr


def test_a_drain_in_which_a_job_died_fails(shop: Path) -> None:
    _enqueue_beforehand(shop, ("touch", {"name": "file"}), ("fail", {}))

    result = _up(shop, "--drain")

    assert result.returncode == 1
    assert "drained: 1 done, 1 died" in result.stderr
    assert (shop / "file").exists()


def test_every_line_says_which_worker_wrote_it(shop: Path) -> None:
    result = _up(shop, "--drain")

    prefixes = {line.partition("|")[0].strip() for line in result.stdout.splitlines()}
    assert prefixes == {"worker-0", "worker-1"}


def test_with_json_every_line_of_the_output_parses(shop: Path) -> None:
    _enqueue_beforehand(shop, ("fail", {}))

    result = _up(shop, "--drain", "--log-format", "json")

    entries = [json.loads(line) for line in result.stdout.splitlines()]
    assert {"worker-0", "worker-1"} <= {entry["worker_id"] for entry in entries}


def test_ctrl_c_lets_running_jobs_finish(shop: Path) -> None:
    with _running(shop) as (process, record), Client(record.redis_url) as client:
        client.enqueue("slow", {"name": "file"})
        wait_for((shop / "file-begun").exists)

        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)

        assert process.returncode == 0
        assert (shop / "file").exists()
        assert find(shop) is None


def test_a_drain_that_is_interrupted_does_not_pass_for_done(shop: Path) -> None:
    _enqueue_beforehand(shop, ("slow", {"name": "file"}))
    with _running(shop, "--drain") as (process, _):
        wait_for((shop / "file-begun").exists)

        process.send_signal(signal.SIGINT)
        _, talk = process.communicate(timeout=20)

        assert process.returncode == 130
        assert "not drained" in talk


def test_a_second_up_of_the_same_topology_is_refused(shop: Path) -> None:
    with _running(shop) as (process, _):
        second = _up(shop)

        assert second.returncode == 1
        [line] = second.stderr.splitlines()
        assert f'topology "shop" is already up here (process {process.pid})' in line
        assert process.poll() is None


def test_workers_that_cannot_work_are_given_up(shop: Path) -> None:
    (shop / "jobs.py").write_text("import no_such_module\n")

    result = _up(shop)

    assert result.returncode == 1
    assert "no_such_module" in result.stdout
    assert "every worker was given up" in result.stderr


def test_a_worker_that_was_given_up_is_a_failure_whatever_the_others_did(shop: Path) -> None:
    (shop / "topology.yaml").write_text(f"{TOPOLOGY}  broken: {{env: {{BROKEN: 'yes'}}}}\n")
    (shop / "jobs.py").write_text(f"import os\n{JOBS}\nassert not os.environ.get('BROKEN')\n")
    with _running(shop) as (process, _):
        assert process.stdout is not None
        while "child given up" not in process.stdout.readline():
            assert process.poll() is None

        process.send_signal(signal.SIGINT)
        _, talk = process.communicate(timeout=20)

    assert process.returncode == 1
    assert "error: broken-0 given up: the lines above say why" in talk


def test_an_up_is_found_from_where_it_was_started(shop: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    argv = [sys.executable, "-m", "bananas_topology", "up", "../topology.yaml"]
    with subprocess.Popen(
        argv, cwd=elsewhere, env=_environ(), stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            wait_for(lambda: find(elsewhere))
            assert find(elsewhere) == find(shop)
            assert process.stdout is not None
            process.stdout.readline()
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=20)
        finally:
            process.kill()

    assert find(elsewhere) is None
    assert not (elsewhere / ".bananas" / "shop" / "up.json").exists()
    assert process.returncode == 0
