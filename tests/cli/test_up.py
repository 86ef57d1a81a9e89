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
from bananas_topology.jobs.bundled_server import BundledServer
from bananas_topology.supervisor.directories import state_directory
from bananas_topology.supervisor.output import SUPERVISOR
from bananas_topology.supervisor.record import RunRecord, find
from tests.cli.screen import on_screen
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


@job("hold")
def hold(payload: dict) -> None:
    Path(payload["name"] + "-started").touch()
    while not Path("go").exists():
        time.sleep(0.01)
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
    """The terminal output of an `up` that exits by itself."""
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


def _enqueue_before(shop: Path, *jobs: tuple[str, object]) -> None:
    """Enqueue jobs in the data of the bundled server of the next `up`."""
    directory = state_directory(shop, "shop", "topology.yaml")
    with BundledServer(directory) as server, Client(server.start()) as client:
        for name, payload in jobs:
            client.enqueue(name, payload)


def test_dry_run_prints_the_plan_and_starts_nothing(shop: Path) -> None:
    result = _up(shop, "--dry-run", "--scale", "worker=4")

    assert result.returncode == 0
    assert result.stdout.splitlines() == [
        "pool\tmode\tprocesses\tthreads\tpriorities\tjob types\tscheduler",
        "worker\tthin\t4\t12\thigh,normal,low\tall\tyes",
        "total\t\t4\t12\t\t\t",
    ]
    assert not (shop / ".bananas").exists()


def test_dry_run_hides_the_password_of_the_server(shop: Path) -> None:
    given = _up(shop, "--dry-run", "--redis-url", "redis://app:hunter2@db:6379/0")
    bundled = _up(shop, "--dry-run")

    assert given.stderr == "redis: redis://app:***@db:6379/0\n"
    assert bundled.stderr == "redis: bundled server\n"


def test_variable_that_the_shell_should_have_is_a_warning(shop: Path) -> None:
    (shop / "topology.yaml").write_text(
        "version: 1\nname: shop\nhandlers: [jobs]\npools:\n"
        "  a:\n"
        "    secrets: [SMTP_PASSWORD, DB_PASSWORD, EMPTY]\n"
        "    env: {URL: {secret: pg}, NAME: {config: pg}, MAYBE: {secret: pg, optional: true}}\n"
        "  b: {secrets: [SMTP_PASSWORD], concurrency: 2}\n"
    )
    environ = _environ(DB_PASSWORD="x", EMPTY="", NAME="x")

    planned = Shell(shop, environ)("up", "--dry-run")
    started = Shell(shop, environ)("up", "--drain", "--only", "b")

    assert [line for line in planned.stderr.splitlines() if "not set" in line] == [
        "warning: SMTP_PASSWORD of a, b is not set",
        "warning: EMPTY of a is not set",
        "warning: URL of a is not set",
    ]
    assert "warning: SMTP_PASSWORD of b is not set\n" in started.stderr
    assert "EMPTY" not in started.stderr


def test_api_is_part_of_the_plan_and_responds(shop: Path) -> None:
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


def test_dry_run_is_a_table_on_a_terminal(shop: Path) -> None:
    shown = re.sub(r"\x1b\[\d*m", "", _on_terminal(shop, "--dry-run"))

    _, *rows = [line.split() for line in shown.splitlines() if line.strip()]
    assert rows[0] == ["pool", "mode", "processes", "threads", "accepts"]
    assert rows[2] == ["worker", "thin", "2", "6", "all", "jobs,", "schedules"]
    assert rows[3] == ["total", "2", "6"]


def test_terminal_output_has_colored_prefixes_and_a_progress_line(shop: Path) -> None:
    _enqueue_before(shop, ("hold", {"name": "file"}))

    with on_screen(Shell(shop, _environ()), "up", "--drain") as screen:
        wait_for(lambda: "0 completed, 0 ready, 1 running" in screen.output)
        (shop / "go").touch()
        assert screen.wait() == 0
        wait_for(lambda: "drained: 1 completed" in screen.output)
        shown = screen.output

    assert re.search(r"\x1b\[\d+mworker-0   \|\x1b\[0m ", shown)
    assert "0 completed, 0 ready, 1 running\r\x1b[2K" in shown


def test_no_color_disables_colors_on_a_terminal(shop: Path) -> None:
    shown = _on_terminal(shop, "--drain", NO_COLOR="1")

    assert "worker-0   | " in shown
    assert not re.search(r"\x1b\[\d*m", shown)


@pytest.mark.parametrize("arguments", [("--scale", "workr=1"), ("--only", "workr")])
def test_unknown_pool_is_reported_on_one_line(shop: Path, arguments: tuple[str, str]) -> None:
    result = _up(shop, *arguments)

    assert result.returncode == 2
    assert result.stdout == ""
    [line] = result.stderr.splitlines()
    assert 'topology "shop" has no pool "workr": did you mean "worker"?' in line


def test_scale_without_a_number_is_a_usage_error(shop: Path) -> None:
    result = _up(shop, "--scale", "worker=many")

    assert result.returncode == 2
    assert "expected POOL=N" in result.stderr


def test_topology_with_errors_is_not_started(shop: Path) -> None:
    (shop / "topology.yaml").write_text(TOPOLOGY.replace("concurrency", "concurency"))

    result = _up(shop)

    assert result.returncode == 1
    assert "topology.yaml:5:" in result.stderr
    assert 'did you mean "concurrency"?' in result.stderr
    assert not (shop / ".bananas").exists()


def test_external_server_with_an_unset_url_is_not_replaced_by_the_bundled_one(shop: Path) -> None:
    (shop / "topology.yaml").write_text(f"{TOPOLOGY}redis: {{url: '${{REDIS_URL}}'}}\n")

    result = _up(shop)

    assert result.returncode == 1
    assert "redis.url in topology.yaml refers to a variable that is not set" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (shop / ".bananas").exists()


def test_missing_api_packages_are_reported_before_anything_starts(shop: Path) -> None:
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


def test_unreachable_server_is_reported_on_one_line(shop: Path) -> None:
    result = _up(shop, REDIS_URL="redis://app:s3cret@127.0.0.1:1/0")

    assert result.returncode == 1
    assert result.stdout == ""
    assert "cannot reach Redis at 127.0.0.1:1" in result.stderr.splitlines()[-1]
    assert "s3cret" not in result.stderr
    assert "Traceback" not in result.stderr


def test_drain_runs_queued_jobs_and_exits(shop: Path) -> None:
    _enqueue_before(shop, *[("touch", {"name": f"file-{index}"}) for index in range(20)])

    result = _up(shop, "--drain")

    assert result.returncode == 0, result
    assert len(list(shop.glob("file-*"))) == 20
    assert "drained: 20 completed" in result.stderr
    assert "redis: bundled Valkey at redis://:***@127.0.0.1:" in result.stderr
    assert "data in .bananas/shop" in result.stderr


def test_drain_fails_if_a_job_died(shop: Path) -> None:
    _enqueue_before(shop, ("touch", {"name": "file"}), ("fail", {}))

    result = _up(shop, "--drain")

    assert result.returncode == 1
    assert "drained: 1 completed, 1 died" in result.stderr
    assert (shop / "file").exists()


def test_every_line_is_prefixed_with_its_worker(shop: Path) -> None:
    result = _up(shop, "--drain")

    workers = {"worker-0", "worker-1"}
    prefixes = {line.partition("|")[0].strip() for line in result.stdout.splitlines()}
    # The supervisor may log too, for example that a busy machine starts a worker slowly.
    assert workers <= prefixes <= workers | {SUPERVISOR}


def test_json_output_parses_line_by_line(shop: Path) -> None:
    _enqueue_before(shop, ("fail", {}))

    result = _up(shop, "--drain", "--log-format", "json")

    entries = [json.loads(line) for line in result.stdout.splitlines()]
    assert {"worker-0", "worker-1"} <= {entry["worker_id"] for entry in entries}


def test_ctrl_c_lets_running_jobs_finish(shop: Path) -> None:
    with _running(shop) as (process, record), Client(record.redis_url) as client:
        client.enqueue("hold", {"name": "file"})
        wait_for((shop / "file-started").exists)

        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        assert any("worker stopping running=1" in line for line in process.stdout)
        (shop / "go").touch()
        process.communicate(timeout=20)

        assert process.returncode == 0
        assert (shop / "file").exists()
        assert find(shop) is None


def test_interrupted_drain_is_not_a_success(shop: Path) -> None:
    _enqueue_before(shop, ("hold", {"name": "file"}))
    with _running(shop, "--drain") as (process, _):
        wait_for((shop / "file-started").exists)

        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        assert any("worker stopping running=1" in line for line in process.stdout)
        (shop / "go").touch()
        _, messages = process.communicate(timeout=20)

        assert process.returncode == 130
        assert "stopped before draining finished" in messages


def test_second_up_of_a_topology_is_refused(shop: Path) -> None:
    with _running(shop) as (process, _):
        second = _up(shop)

        assert second.returncode == 1
        [line] = second.stderr.splitlines()
        assert f'topology "shop" is already running here (process {process.pid})' in line
        assert process.poll() is None


def test_workers_that_cannot_start_are_given_up(shop: Path) -> None:
    (shop / "jobs.py").write_text("import no_such_module\n")

    result = _up(shop)

    assert result.returncode == 1
    assert result.stdout.count("no_such_module") == 1
    assert "error: gave up restarting all processes; see the log above" in result.stderr


def test_worker_given_up_is_a_failure_even_if_others_succeed(shop: Path) -> None:
    (shop / "topology.yaml").write_text(f"{TOPOLOGY}  broken: {{env: {{BROKEN: 'yes'}}}}\n")
    (shop / "jobs.py").write_text(f"import os\n{JOBS}\nassert not os.environ.get('BROKEN')\n")
    with _running(shop) as (process, _):
        assert process.stdout is not None
        while "gave up restarting child" not in process.stdout.readline():
            assert process.poll() is None

        process.send_signal(signal.SIGINT)
        _, messages = process.communicate(timeout=20)

    assert process.returncode == 1
    assert "error: gave up restarting broken-0; see the log above" in messages


def test_up_is_found_in_the_directory_it_was_started_in(shop: Path, tmp_path: Path) -> None:
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


def test_a_pool_with_a_limit_on_jobs_recycles_its_workers(shop: Path) -> None:
    (shop / "topology.yaml").write_text(TOPOLOGY.replace("thin,", "thin, max_jobs: 4,"))
    _enqueue_before(shop, *[("touch", {"name": f"file-{n}"}) for n in range(20)])

    result = _up(shop, "--drain")

    assert result.returncode == 0, result.stdout + result.stderr
    assert len(list(shop.glob("file-*"))) == 20
    assert "worker recycled" in result.stdout
    assert "gave up" not in result.stdout


def test_redis_url_of_a_running_up_lets_other_programs_in(shop: Path) -> None:
    shell = Shell(shop, _environ())
    with _running(shop) as (process, record):
        printed = shell("redis-url")
        named = Shell(shop.parent, _environ())("redis-url", "-f", f"{shop.name}/topology.yaml")
        listed = shell("queues")
        refused = shell("queues", "--redis-url", re.sub(r"//.*@", "//", record.redis_url))
        process.send_signal(signal.SIGINT)
        _, messages = process.communicate(timeout=20)

    assert printed.stdout == named.stdout == f"{record.redis_url}\n"
    assert re.fullmatch(r"redis://:[\w-]{32,}@127\.0\.0\.1:\d+\n", printed.stdout)
    assert listed.returncode == 0
    assert refused.returncode == 1
    assert "`bananas redis-url` prints that of a running `up`" in refused.stderr
    assert "redis: bundled Valkey at redis://:***@127.0.0.1:" in messages
    assert record.redis_url not in messages


def test_redis_url_without_a_running_up_is_an_error(shop: Path) -> None:
    result = Shell(shop, _environ())("redis-url")

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        "error: no running `bananas up` found here: start it, or name its --file\n"
    )


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_foreign_text_cannot_control_the_terminal(shop: Path, log_format: str) -> None:
    hostile = "a\x1b]0;title\x07\x9b2J\u202eb"
    (shop / "jobs.py").write_text(
        "from bananas_topology import Bury, job\n\n\n"
        "@job('say')\ndef say(text: str) -> None:\n    print(text)\n    raise Bury(text)\n"
    )
    directory = state_directory(shop, "shop", "topology.yaml")
    with BundledServer(directory) as server, Client(server.start()) as client:
        client.enqueue("say", hostile, id=hostile)

    result = _up(shop, "--drain", "--log-format", log_format)

    assert result.stdout.count("title") >= 2
    assert [line for line in result.stdout.splitlines() if not line.isprintable()] == []


@pytest.mark.parametrize("redirection", ["", "2>&1"])
def test_up_stops_when_the_reader_of_its_output_has_gone(shop: Path, redirection: str) -> None:
    # Idle workers write nothing that would fail.
    command = f"{sys.executable} -m bananas_topology up {redirection} | head -1"

    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        cwd=shop,
        env=_environ(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert find(shop) is None
    if not redirection:
        assert "error: the reader of the output has exited; stopping\n" in done.stderr
    assert "Traceback" not in done.stderr
