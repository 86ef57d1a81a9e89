"""`up -d` and the commands for what runs, with real workers and the bundled server."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bananas_topology.client import Client, NewJob
from bananas_topology.supervisor.record import RunRecord, find, is_running
from bananas_topology.system.processes import start_time_token
from tests.cli.shell import Shell
from tests.waiting import wait_for

TOPOLOGY = """\
version: 1
name: shop
handlers: [jobs]
pools:
  worker: {mode: thin, concurrency: 3, replicas: 2}
  other: {mode: specialized, priorities: [low], concurrency: 2}
"""

JOBS = """\
import time
from pathlib import Path

from bananas_topology import JobContext, job


@job("nap")
def nap(payload: float, context: JobContext) -> None:
    Path(f"nap-attempt-{context.attempt}").touch()
    time.sleep(payload)


@job("effect")
def effect(payload: int, context: JobContext) -> int:
    time.sleep(0.01)
    with open(f"effect-{payload}", "a") as file:
        file.write(f"{context.attempt}\\n")
    return context.attempt
"""


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shell]:
    """A directory with a topology; what still runs there at the end is killed."""
    (tmp_path / "topology.yaml").write_text(TOPOLOGY)
    (tmp_path / "jobs.py").write_text(JOBS)
    kept = {
        name: text for name, text in os.environ.items() if name not in ("REDIS_URL", "NO_COLOR")
    }
    yield Shell(tmp_path, kept | {"PYTHONDONTWRITEBYTECODE": "1"})
    for path in tmp_path.glob("*/.bananas/*/up.json"):
        _kill(path)
    for path in tmp_path.glob(".bananas/*/up.json"):
        _kill(path)


def _kill(path: Path) -> None:
    record = RunRecord(**json.loads(path.read_text()))
    if is_running(record):
        os.kill(record.pid, signal.SIGKILL)


def _record(shop: Shell) -> RunRecord:
    record = find(shop.directory)
    assert record is not None
    return record


def _ps(shop: Shell) -> dict[str, dict[str, Any]]:
    result = shop("ps", "--format", "json")
    assert result.returncode == 0, result.stderr
    return {each["name"]: each for each in json.loads(result.stdout)["processes"]}


def _up(shop: Shell, *arguments: str) -> None:
    result = shop("up", "-d", *arguments)
    assert result.returncode == 0, result.stderr


def _down(shop: Shell, *arguments: str) -> None:
    result = shop("down", *arguments)
    assert result.returncode == 0, result.stderr


def test_detached_run_is_ready_when_the_command_returns_and_leaves_nothing(shop: Shell) -> None:
    result = shop("up", "-d")

    assert result.returncode == 0, result.stderr
    assert "shop is running; stop it with `bananas down`" in result.stderr
    processes = _ps(shop)
    assert list(processes) == ["worker-0", "worker-1", "other-0"]
    assert {each["state"] for each in processes.values()} == {"ready"}
    assert (processes["worker-0"]["pool"], processes["worker-0"]["slots"]) == ("worker", 3)
    record = _record(shop)
    assert os.getsid(record.pid) == record.pid
    state = shop.directory / ".bananas" / "shop"
    server = json.loads((state / "server.lock").read_text())["pid"]
    pids = [record.pid, server, *(each["pid"] for each in processes.values())]

    _down(shop)

    assert [pid for pid in pids if start_time_token(pid) is not None] == []
    left = {path.name for path in state.iterdir()}
    assert left == {*("data", "logs", "server.lock", "server.log", "server.password", "up.lock")}
    assert shop("ps").returncode == 1


def test_second_start_says_that_it_is_running(shop: Shell) -> None:
    _up(shop)
    pid = _record(shop).pid

    again = shop("up", "-d")
    foreground = shop("up")

    assert (again.returncode, foreground.returncode) == (0, 1)
    assert f"shop is already running (process {pid})" in again.stderr
    assert "already running here" in foreground.stderr
    assert _record(shop).pid == pid
    _down(shop)


def test_handlers_that_cannot_be_imported_fail_the_start_once_with_their_line(shop: Shell) -> None:
    (shop.directory / "jobs.py").write_text("x = 1\nimport no_such_module\n")

    result = shop("up", "-d")

    assert result.returncode == 1
    assert result.stderr.count("No module named 'no_such_module'") == 1
    assert "jobs.py, line 2" in result.stderr
    assert "not ready: worker-0, worker-1, other-0" in result.stderr
    assert find(shop.directory) is None
    assert "no_such_module" in shop("logs", "worker").stdout


def test_start_that_takes_too_long_fails_and_runs_on(shop: Shell) -> None:
    (shop.directory / "jobs.py").write_text(
        "print('loading', flush=True)\nimport time\ntime.sleep(60)"
    )

    result = shop("up", "-d", "--wait-timeout", "5s")

    assert result.returncode == 1
    assert "not ready: worker-0, worker-1, other-0; last lines:\n  loading\n" in result.stderr
    assert "keeps running" in result.stderr
    assert {each["state"] for each in _ps(shop).values()} == {"starting"}
    _down(shop, "--now")


def test_server_that_cannot_be_reached_fails_the_start(shop: Shell) -> None:
    result = shop("up", "-d", REDIS_URL="redis://:s3cret@127.0.0.1:1")

    assert result.returncode == 1
    assert "cannot reach Redis at 127.0.0.1:1" in result.stderr
    assert (
        "s3cret"
        not in result.stderr + (shop.directory / ".bananas/shop/logs/supervisor.log").read_text()
    )
    assert find(shop.directory) is None


def test_foreground_run_is_controlled_too(shop: Shell) -> None:
    argv = [sys.executable, "-m", "bananas_topology", "up"]
    with subprocess.Popen(
        argv, cwd=shop.directory, env=shop.environ, stdout=subprocess.DEVNULL
    ) as process:
        wait_for(lambda: find(shop.directory))
        wait_for(lambda: all(each["state"] == "ready" for each in _ps(shop).values()))

        _down(shop)

        assert process.wait(20) == 0


def test_run_killed_with_9_is_recognized_as_gone(shop: Shell) -> None:
    _up(shop)
    os.kill(_record(shop).pid, signal.SIGKILL)

    wait_for(lambda: find(shop.directory) is None)
    assert "nothing is running here" in shop("ps").stderr
    assert "worker ready" in shop("logs", "worker").stdout
    _up(shop)
    assert len(_ps(shop)) == 3
    _down(shop)


@pytest.mark.parametrize("depth", [1, 120])
def test_topologies_run_side_by_side_even_in_deep_folders(shop: Shell, depth: int) -> None:
    deep = shop.directory / ("d" * depth)
    deep.mkdir()
    (deep / "jobs.py").write_text(JOBS)
    text = TOPOLOGY.replace("replicas: 2", "replicas: 1")
    for name in ("one", "two"):
        (deep / f"{name}.yaml").write_text(text.replace("name: shop", f"name: {name}"))
    inside = Shell(deep, shop.environ)
    for name in ("one", "two"):
        _up(inside, f"{name}.yaml")

    assert "choose one with -f" in inside("ps").stderr
    assert inside("scale", "worker=2", "-f", "two.yaml").returncode == 0
    assert len(inside("ps", "-f", "one.yaml").stdout.splitlines()) == 3
    assert len(inside("ps", "-f", "two.yaml").stdout.splitlines()) == 4
    for name in ("one", "two"):
        _down(inside, "-f", f"{name}.yaml")
    assert find(deep) is None


def test_scale_says_what_it_waits_for_and_interrupts_no_job(shop: Shell) -> None:
    _up(shop)
    with Client(_record(shop).redis_url) as client:
        ids = [client.enqueue("nap", 8.0) for _ in range(6)]
        wait_for(lambda: sum(each["busy"] for each in _ps(shop).values()) == 6)

        result = shop("scale", "worker=1", "other=2")

        assert result.returncode == 0, result.stderr
        assert re.search(r"waiting for worker-1 to finish \d running jobs?", result.stderr)
        assert "started 1 process, stopped 1" in result.stderr
        assert list(_ps(shop)) == ["worker-0", "other-0", "other-1"]
        for job_id in ids:
            client.wait(job_id, "20s")
    assert shop("scale", "nothing=1").returncode == 2
    assert shop("scale", "worker=-1").returncode == 2
    assert shop("restart", "nothing").returncode == 2
    assert shop("logs", "nothing").returncode == 2
    assert shop("scale", "worker").returncode == 2
    _down(shop)


def test_every_job_has_one_effect_through_scaling_and_restarts(shop: Shell) -> None:
    _up(shop)
    count = 1500
    with Client(_record(shop).redis_url) as client:
        client.enqueue_many(NewJob("effect", number) for number in range(count))
    pids = {each["pid"] for each in _ps(shop).values()}

    for arguments in (
        ("scale", "worker=4"),
        ("restart",),
        ("scale", "worker=1"),
        ("restart", "worker"),
    ):
        result = shop(*arguments)
        assert result.returncode == 0, result.stderr

    assert not pids & {each["pid"] for each in _ps(shop).values()}
    wait_for(lambda: len(list(shop.directory.glob("effect-*"))) == count, 60)
    effects = {path.read_text() for path in shop.directory.glob("effect-*")}
    assert effects == {"1\n"}
    _down(shop)


def test_restart_loads_changed_handlers_and_keeps_the_old_where_they_are_broken(
    shop: Shell,
) -> None:
    _up(shop, "--only", "worker")
    before = {each["pid"] for each in _ps(shop).values()}
    (shop.directory / "jobs.py").write_text("raise RuntimeError('broken release')")

    broken = shop("restart")

    assert broken.returncode == 1
    assert "exited before it was ready (exit code 2: invalid settings or handlers)" in broken.stderr
    assert {each["pid"] for each in _ps(shop).values()} == before
    (shop.directory / "jobs.py").write_text(JOBS.replace("return context.attempt", "return 'new'"))
    assert shop("restart").returncode == 0
    with Client(_record(shop).redis_url) as client:
        assert client.wait(client.enqueue("effect", 1), "20s") == "new"
    _down(shop)


def test_down_requeues_what_outlasts_its_timeout(shop: Shell) -> None:
    _up(shop)
    with Client(_record(shop).redis_url) as client:
        job_id = client.enqueue("nap", 60.0)
    wait_for(lambda: sum(each["busy"] for each in _ps(shop).values()) == 1)
    began = time.monotonic()

    _down(shop, "--timeout", "1s")

    assert 1.0 <= time.monotonic() - began < 15
    _up(shop)
    with Client(_record(shop).redis_url) as client:
        wait_for(lambda: client.get(job_id).status == "processing")
    wait_for(lambda: sum(each["busy"] for each in _ps(shop).values()) == 1)
    assert [path.name for path in shop.directory.glob("nap-*")] == ["nap-attempt-1"]
    began = time.monotonic()
    _down(shop, "--now")
    assert time.monotonic() - began < 10


def test_second_down_interrupts_no_job_unless_it_says_so(shop: Shell) -> None:
    _up(shop)
    record = _record(shop)
    with Client(record.redis_url) as client:
        client.enqueue("nap", 6.0)
        wait_for(lambda: sum(each["busy"] for each in _ps(shop).values()) == 1)
        argv = [sys.executable, "-m", "bananas_topology", "down"]
        downs = []
        for _ in range(2):
            downs.append(subprocess.Popen(argv, cwd=shop.directory, env=shop.environ))
            wait_for(lambda: "stopping" in {each["state"] for each in _ps(shop).values()})
        assert [down.wait(30) for down in downs] == [0, 0]
    assert "stopping immediately" not in shop("logs").stdout
    _up(shop)
    with Client(_record(shop).redis_url):
        assert sum(each["busy"] for each in _ps(shop).values()) == 0
    _down(shop)


def test_exit_is_shown_with_its_reason(shop: Shell) -> None:
    _up(shop)
    pid = _ps(shop)["worker-0"]["pid"]
    os.kill(pid, signal.SIGKILL)

    wait_for(lambda: (now := _ps(shop)["worker-0"])["state"] == "ready" and now["pid"] != pid)
    again = _ps(shop)["worker-0"]
    assert (again["restarts"], again["last_exit"]) == (1, "killed by SIGKILL")
    assert "killed by SIGKILL" in shop("ps").stdout
    _down(shop)


def test_logs_follow_until_the_run_ends(shop: Shell) -> None:
    _up(shop)
    argv = [sys.executable, "-m", "bananas_topology", "logs", "-f", "--tail", "0", "worker"]
    with subprocess.Popen(
        argv, cwd=shop.directory, env=shop.environ, stdout=subprocess.PIPE, text=True
    ) as process:
        time_to_open = shop("ps")
        assert time_to_open.returncode == 0
        wait_for(lambda: _has_open(process.pid, "worker-0.log"))

        _down(shop)

        shown, _ = process.communicate(timeout=20)
    assert shown.count("worker stopped") == 2
    assert "other-0" not in shown


def _has_open(pid: int, name: str) -> bool:
    links = Path(f"/proc/{pid}/fd")
    return any(os.readlink(link).endswith(name) for link in list(links.iterdir()) if link.exists())


def test_ps_fits_a_terminal_of_80_columns(shop: Shell) -> None:
    _up(shop)

    code, shown = shop.on_terminal("ps")

    plain = re.sub(r"\x1b\[\d*m", "", shown)
    assert code == 0
    assert all(len(line) <= 80 for line in plain.splitlines())
    assert re.search(r"worker-0 +\d+ +ready +\S+ +0 +0/3 +0", plain)
    _down(shop)
