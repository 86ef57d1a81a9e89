"""`up -d` and the commands for what runs, with real workers and the bundled server."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from functools import partial

import pytest

from bananas_topology.client import Client, NewJob
from bananas_topology.supervisor.record import find
from bananas_topology.system.processes import start_time_token
from tests.cli.running import effects_in, processes_of, record_of, shop_in, succeed
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


@job("hold")
def hold(payload: float) -> None:
    while not Path("go").exists():
        time.sleep(0.01)
    time.sleep(payload)


@job("effect")
def effect(payload: int, context: JobContext) -> int:
    time.sleep(0.01)
    with open(f"effect-{payload}", "a") as file:
        file.write(f"{context.attempt}\\n")
    return context.attempt
"""


@pytest.fixture
def shop(bundled_shell: Shell) -> Iterator[Shell]:
    with shop_in(bundled_shell, TOPOLOGY, JOBS) as shop:
        yield shop


def test_detached_run_is_ready_when_the_command_returns_and_leaves_nothing(shop: Shell) -> None:
    result = shop("up", "-d")

    assert result.returncode == 0, result.stderr
    assert "shop is running; stop it with `bananas down`" in result.stderr
    processes = processes_of(shop)
    assert list(processes) == ["worker-0", "worker-1", "other-0"]
    assert {each["state"] for each in processes.values()} == {"ready"}
    assert (processes["worker-0"]["pool"], processes["worker-0"]["slots"]) == ("worker", 3)
    record = record_of(shop)
    assert os.getsid(record.pid) == record.pid
    state = shop.directory / ".bananas" / "shop"
    server = json.loads((state / "server.lock").read_text())["pid"]
    pids = [record.pid, server, *(each["pid"] for each in processes.values())]

    succeed(shop, "down")

    assert [pid for pid in pids if start_time_token(pid) is not None] == []
    left = {path.name for path in state.iterdir()}
    kept = {"data", "logs", "server.lock", "server.log", "server.password", "topology.json"}
    assert left == {*kept, "up.lock"}
    assert shop("ps").returncode == 1


def test_second_start_says_that_it_is_running(shop: Shell) -> None:
    succeed(shop, "up", "-d")
    pid = record_of(shop).pid

    again = shop("up", "-d")
    foreground = shop("up")

    assert (again.returncode, foreground.returncode) == (0, 1)
    assert f"shop is already running (process {pid})" in again.stderr
    assert "already running here" in foreground.stderr
    assert record_of(shop).pid == pid
    succeed(shop, "down")


def test_handlers_that_cannot_be_imported_fail_the_start_once_with_their_line(shop: Shell) -> None:
    (shop.directory / "jobs.py").write_text("x = 1\nimport no_such_module\n")

    result = shop("up", "-d")

    assert result.returncode == 1
    assert result.stderr.count("No module named 'no_such_module'") == 1
    assert "jobs.py, line 2" in result.stderr
    assert "not ready: worker-0, worker-1, other-0" in result.stderr
    assert find(shop.directory) is None
    assert "no_such_module" in shop("logs", "worker").stdout


def test_failed_start_is_over_when_the_command_returns(shop: Shell) -> None:
    # The server, which `up` stops last, does not answer for a while.
    (shop.directory / "jobs.py").write_text(
        "import json, os, signal, subprocess\n"
        "pid = json.load(open('.bananas/shop/server.lock'))['pid']\n"
        "os.kill(pid, signal.SIGSTOP)\n"
        "argv = ['sh', '-c', f'sleep 2; kill -CONT {pid}']\n"
        "subprocess.Popen(argv, start_new_session=True, stdout=-3, stderr=-3)\n"
        "import no_such_module\n"
    )

    result = shop("up", "-d", "--only", "other")

    assert result.returncode == 1
    assert "gave up restarting other-0; see `bananas logs`" in result.stderr
    assert "keeps running" not in result.stderr
    assert find(shop.directory) is None


def test_start_without_a_word_fails_with_the_reason_of_the_exits(shop: Shell) -> None:
    (shop.directory / "jobs.py").write_text("import os\nos._exit(3)")

    result = shop("up", "-d")

    assert result.returncode == 1
    assert "gave up restarting all processes; see `bananas logs`" in result.stderr
    assert "not ready: worker-0, worker-1, other-0 (exit code 3)\n" in result.stderr


def test_start_without_time_to_wait_fails_in_words(shop: Shell) -> None:
    result = shop("up", "-d", "--wait-timeout", "0")

    assert (result.returncode, "error: not ready" in result.stderr) == (1, True), result.stderr
    wait_for(lambda: find(shop.directory))
    succeed(shop, "down", "--now")


def test_files_called_like_modules_of_python_and_of_libraries_do_not_matter(shop: Shell) -> None:
    for name in ("email", "json", "queue", "random", "typing", "redis", "msgspec", "hiredis"):
        (shop.directory / f"{name}.py").write_text("raise ImportError('mine')\n")

    succeed(shop, "up", "-d")
    succeed(shop, "enqueue", "nap", "--payload", "0", "--wait")
    succeed(shop, "down")


def test_start_that_takes_too_long_fails_and_runs_on(shop: Shell) -> None:
    (shop.directory / "jobs.py").write_text(
        "print('loading', flush=True)\nimport time\ntime.sleep(60)"
    )

    # Long enough for one process, even on a busy machine, to come to its handlers.
    result = shop("up", "-d", "--only", "other", "--wait-timeout", "6s")

    assert result.returncode == 1
    last_lines = "last lines:\n  loading\n"
    assert f"not ready: other-0 (starting); {last_lines}" in result.stderr
    assert "keeps running" in result.stderr
    assert {each["state"] for each in processes_of(shop).values()} == {"starting"}
    succeed(shop, "down", "--now")


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
    with shop.start("up", stdout=subprocess.DEVNULL) as process:
        wait_for(lambda: find(shop.directory))
        wait_for(lambda: all(each["state"] == "ready" for each in processes_of(shop).values()))

        succeed(shop, "down")

        assert process.wait(20) == 0


def test_run_killed_with_9_is_recognized_as_gone(shop: Shell) -> None:
    succeed(shop, "up", "-d")
    os.kill(record_of(shop).pid, signal.SIGKILL)

    wait_for(lambda: find(shop.directory) is None)
    assert "nothing is running here" in shop("ps").stderr
    assert "worker ready" in shop("logs", "worker").stdout
    succeed(shop, "up", "-d")
    assert len(processes_of(shop)) == 3
    succeed(shop, "down")


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
        succeed(inside, "up", "-d", f"{name}.yaml")

    assert "choose one with -f" in inside("ps").stderr
    assert inside("scale", "worker=2", "-f", "two.yaml").returncode == 0
    assert len(inside("ps", "-f", "one.yaml").stdout.splitlines()) == 3
    assert len(inside("ps", "-f", "two.yaml").stdout.splitlines()) == 4
    for name in ("one", "two"):
        succeed(inside, "down", "-f", f"{name}.yaml")
    assert find(deep) is None


def test_scale_says_what_it_waits_for_and_interrupts_no_job(shop: Shell) -> None:
    succeed(shop, "up", "-d")
    with Client(record_of(shop).redis_url) as client:
        ids = [client.enqueue("hold", 0.0) for _ in range(6)]
        wait_for(lambda: sum(each["busy"] for each in processes_of(shop).values()) == 6)

        with shop.start(
            "scale", "worker=1", "other=2", stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stderr is not None
            waiting = re.compile(r"waiting for worker-1 to finish \d running jobs?")
            assert any(waiting.search(line) for line in process.stderr)
            (shop.directory / "go").touch()
            _, messages = process.communicate(timeout=60)

        assert process.returncode == 0
        assert "started 1 process, stopped 1" in messages
        assert list(processes_of(shop)) == ["worker-0", "other-0", "other-1"]
        for job_id in ids:
            client.wait(job_id, "20s")
    assert shop("scale", "nothing=1").returncode == 2
    assert shop("scale", "worker=-1").returncode == 2
    assert shop("restart", "nothing").returncode == 2
    assert shop("logs", "nothing").returncode == 2
    assert shop("scale", "worker").returncode == 2
    succeed(shop, "down")


def test_jobs_that_end_as_their_worker_leaves_are_counted(shop: Shell) -> None:
    succeed(shop, "up", "-d", "--scale", "worker=1", "--only", "worker")
    with Client(record_of(shop).redis_url) as client:
        ids = [client.enqueue("hold", seconds) for seconds in (0.1, 0.5, 0.9)]
        wait_for(lambda: processes_of(shop)["worker-0"]["busy"] == 3)
        with shop.start("restart") as process:
            wait_for(lambda: processes_of(shop)["worker-0"]["state"] == "draining")
            (shop.directory / "go").touch()
            assert process.wait(60) == 0
        for job_id in ids:
            client.wait(job_id, "20s")

    assert processes_of(shop)["worker-0"]["completed"] == 3
    succeed(shop, "down")


def test_every_job_has_one_effect_through_scaling_and_restarts(shop: Shell) -> None:
    succeed(shop, "up", "-d")
    count = 1500
    with Client(record_of(shop).redis_url) as client:
        client.enqueue_many(NewJob("effect", number) for number in range(count))
    pids = {each["pid"] for each in processes_of(shop).values()}

    for arguments in (
        ("scale", "worker=4"),
        ("restart",),
        ("scale", "worker=1"),
        ("restart", "worker"),
    ):
        result = shop(*arguments)
        assert result.returncode == 0, result.stderr

    assert not pids & {each["pid"] for each in processes_of(shop).values()}
    # A file is empty for a moment.
    wait_for(lambda: sum(map(bool, effects_in(shop.directory))) == count, 60)
    assert set(effects_in(shop.directory)) == {"1\n"}
    succeed(shop, "down")


def test_restart_loads_changed_handlers_and_keeps_the_old_where_they_are_broken(
    shop: Shell,
) -> None:
    succeed(shop, "up", "-d", "--only", "worker")
    before = {each["pid"] for each in processes_of(shop).values()}
    (shop.directory / "jobs.py").write_text("raise RuntimeError('broken release')")

    broken = shop("restart")

    assert broken.returncode == 1
    assert "exited before it was ready (exit code 2: invalid settings or handlers)" in broken.stderr
    assert {each["pid"] for each in processes_of(shop).values()} == before
    (shop.directory / "jobs.py").write_text(JOBS.replace("return context.attempt", "return 'new'"))
    assert shop("restart").returncode == 0
    with Client(record_of(shop).redis_url) as client:
        assert client.wait(client.enqueue("effect", 1), "20s") == "new"
    succeed(shop, "down")


@pytest.mark.parametrize("is_hard", [True, False])
def test_processes_need_open_files(shop: Shell, is_hard: bool) -> None:
    hard = 70 if is_hard else resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limit = partial(resource.setrlimit, resource.RLIMIT_NOFILE, (70, hard))
    with shop.start("up", "-d", "--only", "worker", preexec_fn=limit) as started:
        assert started.wait(60) == 0

    scaled = shop("scale", "worker=4")

    expected = "for 4 processes, expected a limit of 72 open files or more, got 70: raise it"
    assert (scaled.returncode, expected in scaled.stderr) == (is_hard, is_hard), scaled.stderr
    succeed(shop, "down")


def test_down_requeues_what_outlasts_its_timeout(shop: Shell) -> None:
    succeed(shop, "up", "-d")
    with Client(record_of(shop).redis_url) as client:
        job_id = client.enqueue("nap", 300.0)
    wait_for(lambda: sum(each["busy"] for each in processes_of(shop).values()) == 1)
    began = time.monotonic()

    succeed(shop, "down", "--timeout", "1s")

    assert 1.0 <= time.monotonic() - began < 50
    succeed(shop, "up", "-d")
    with Client(record_of(shop).redis_url) as client:
        wait_for(lambda: client.get(job_id).status == "processing")
    wait_for(lambda: sum(each["busy"] for each in processes_of(shop).values()) == 1)
    assert [path.name for path in shop.directory.glob("nap-*")] == ["nap-attempt-1"]
    began = time.monotonic()
    succeed(shop, "down", "--now")
    assert time.monotonic() - began < 50


def test_second_down_interrupts_no_job_unless_it_says_so(shop: Shell) -> None:
    succeed(shop, "up", "-d")
    record = record_of(shop)
    with Client(record.redis_url) as client:
        job_id = client.enqueue("hold", 0.0)
        wait_for(lambda: sum(each["busy"] for each in processes_of(shop).values()) == 1)
        downs = [shop.start("down") for _ in range(2)]
        requested = "requested by `bananas down`"
        wait_for(lambda: shop("logs", "supervisor").stdout.count(requested) == 2)
        (shop.directory / "go").touch()
        assert [down.wait(30) for down in downs] == [0, 0]
    assert "stopping immediately" not in shop("logs").stdout
    succeed(shop, "up", "-d")
    with Client(record_of(shop).redis_url) as client:
        assert client.get(job_id).status == "completed"
    succeed(shop, "down")


def test_exit_is_shown_with_its_reason(shop: Shell) -> None:
    succeed(shop, "up", "-d")
    pid = processes_of(shop)["worker-0"]["pid"]
    os.kill(pid, signal.SIGKILL)

    wait_for(
        lambda: (now := processes_of(shop)["worker-0"])["state"] == "ready" and now["pid"] != pid
    )
    again = processes_of(shop)["worker-0"]
    assert (again["restarts"], again["last_exit"]) == (1, "killed by SIGKILL")
    assert "killed by SIGKILL" in shop("ps").stdout
    succeed(shop, "down")


def test_logs_follow_until_the_run_ends(shop: Shell) -> None:
    succeed(shop, "up", "-d")
    with shop.start(
        "logs", "-f", "--tail", "1", "worker", stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        # It prints what has been logged once it follows all files.
        process.stdout.readline()

        succeed(shop, "down")

        shown, _ = process.communicate(timeout=20)
    assert shown.count("worker stopped") == 2
    assert "other-0" not in shown


def test_logs_stop_following_when_nobody_reads_them(shop: Shell) -> None:
    succeed(shop, "up", "-d")
    with shop.start("logs", "-f", "--tail", "1", stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()

        assert process.wait(20) == 1

    succeed(shop, "down")


def test_ps_fits_a_terminal_of_80_columns(shop: Shell) -> None:
    succeed(shop, "up", "-d")

    code, shown = shop.on_terminal("ps")

    plain = re.sub(r"\x1b\[\d*m", "", shown)
    assert code == 0
    assert all(len(line) <= 80 for line in plain.splitlines())
    assert re.search(r"worker-0 +\d+ +ready +\S+ +0 +0/3 +0", plain)
    succeed(shop, "down")
