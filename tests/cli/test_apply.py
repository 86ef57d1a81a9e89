"""`diff` and `apply`, `up -d` and SIGHUP, with real workers and the bundled server."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from urllib.request import urlopen

import pytest

from bananas_topology.client import Client, NewJob
from bananas_topology.supervisor.record import find
from tests.cli.running import effects_in, processes_of, record_of, shop_in, succeed
from tests.cli.shell import Shell
from tests.jobs.servers import free_port
from tests.waiting import wait_for

TOPOLOGY = """\
version: 1
name: shop
handlers: [jobs]
pools:
  worker: {mode: default, concurrency: 3, replicas: 2}
"""

SPLIT = """\
version: 1
name: split
handlers: [jobs]
pools:
  naps: {mode: job-specialized, job_types: [nap], concurrency: 2}
  effects: {mode: job-specialized, job_types: [effect], concurrency: 2, scheduler: true}
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
def hold(payload: None, context: JobContext) -> int:
    while not Path("go").exists():
        time.sleep(0.01)
    return context.attempt


@job("effect")
def effect(payload: int, context: JobContext) -> int:
    with open(f"effect-{payload}", "a") as file:
        file.write(f"{context.attempt}\\n")
    return context.attempt
"""


@pytest.fixture
def shop(bundled_shell: Shell) -> Iterator[Shell]:
    with shop_in(bundled_shell, TOPOLOGY, JOBS) as shop:
        yield shop


def _edit(shop: Shell, before: str, after: str) -> None:
    file = shop.directory / "topology.yaml"
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after))


def _pids(shop: Shell) -> dict[str, int]:
    return {name: each["pid"] for name, each in processes_of(shop).items()}


def _ready(shop: Shell) -> set[str]:
    return {name for name, each in processes_of(shop).items() if each["state"] == "ready"}


def test_what_was_just_started_does_not_differ(shop: Shell) -> None:
    succeed(shop, "up", "-d")
    before = _pids(shop)

    diff = shop("diff")
    applied = succeed(shop, "apply")
    again = succeed(shop, "up", "-d", "--log-level", "debug", "--metrics-port", "1")

    assert "--log-level, --metrics-port ignored" in again
    assert (diff.returncode, diff.stdout) == (0, "no differences\n")
    assert "nothing to change" in applied
    assert "already running" in again
    assert _pids(shop) == before
    succeed(shop, "down")


def test_difference_is_shown_and_applied_without_touching_the_rest(shop: Shell) -> None:
    _edit(shop, "replicas: 2}", "replicas: 2}\n  other: {mode: specialized, priorities: [low]}")
    succeed(shop, "up", "-d")
    before = _pids(shop)
    _edit(shop, "concurrency: 3, replicas: 2", "concurrency: 5, replicas: 3")

    diff = shop("diff")
    machine = json.loads(shop("diff", "--format", "json").stdout)
    refused = shop("apply")
    applied = succeed(shop, "apply", "--yes")

    assert diff.returncode == 1
    assert diff.stdout.splitlines() == [
        "~ pools.worker: 2 → 3 processes, 2 processes to replace",
        "~   concurrency: 3 → 5",
    ]
    [pool] = machine["difference"]["pools"]
    assert (pool["pool"], pool["before"], pool["after"]) == ("worker", 2, 3)
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    assert "applied topology.yaml: 4 processes, 3 before" in applied
    after = processes_of(shop)
    assert after["other-0"]["pid"] == before["other-0"]
    workers = [each for each in after.values() if each["pool"] == "worker"]
    assert [each["slots"] for each in workers] == [5, 5, 5]
    assert not {each["pid"] for each in workers} & set(before.values())
    assert shop("diff").returncode == 0
    succeed(shop, "down")


def test_the_api_compares_pools_with_the_topology_that_was_applied(shop: Shell) -> None:
    port = free_port()
    file = shop.directory / "topology.yaml"
    file.write_text(f"{TOPOLOGY}api: {{port: {port}}}\n")

    def numbers() -> tuple[int, dict[str, int] | None]:
        with urlopen(f"http://127.0.0.1:{port}/pools", timeout=10) as response:
            [pool] = json.load(response)["pools"]
        return pool["workers"], pool["wanted"]

    succeed(shop, "up", "-d", "--scale", "worker=1")
    assert numbers() == (1, {"min": 1, "max": 1})
    assert shop("scale", "worker=2").returncode == 0
    assert numbers() == (2, {"min": 1, "max": 1})
    _edit(shop, "replicas: 2", "replicas: 3")
    applied = succeed(shop, "apply", "--yes")

    assert "applied topology.yaml: 4 processes, 3 before" in applied
    assert numbers() == (3, {"min": 3, "max": 3})
    assert shop("diff").stdout == "no differences\n"
    succeed(shop, "down")


def test_question_on_a_terminal_is_answered(shop: Shell) -> None:
    succeed(shop, "up", "-d")
    before = _pids(shop)
    _edit(shop, "replicas: 2", "replicas: 1")

    code, shown = shop.on_terminal("apply", answer="n\n")

    assert (code, "Apply? [y/N]" in shown) == (1, True)
    assert _pids(shop) == before
    code, shown = shop.on_terminal("up", "-d", answer="y\n")
    assert (code, "2 → 1 processes" in shown) == (0, True)
    assert len(_pids(shop)) == 1
    succeed(shop, "down")


def test_running_jobs_are_not_interrupted_and_new_ones_are_taken_meanwhile(shop: Shell) -> None:
    succeed(shop, "up", "-d")
    with Client(record_of(shop).redis_url) as client:
        held = client.enqueue("hold", None)
        wait_for(lambda: sum(each["busy"] for each in processes_of(shop).values()) == 1)
        (shop.directory / "split.yaml").write_text(SPLIT.replace("[nap]", "[nap, hold]"))
        with shop.start(
            "apply", "--yes", "split.yaml", stderr=subprocess.PIPE, text=True
        ) as process:
            wait_for(lambda: len(_pids(shop)) == 3 and len(_ready(shop)) == 2)
            assert client.wait(client.enqueue("effect", 1), "10s") == 1
            (shop.directory / "go").touch()
            _, messages = process.communicate(timeout=30)
        assert process.returncode == 0
        assert "to finish 1 running job" in messages
        assert client.wait(held, "5s") == 1
    assert record_of(shop).name == "split"
    succeed(shop, "down")


@pytest.mark.parametrize(
    ("release", "timeout", "error"),
    [
        ("raise RuntimeError('broken')", "60s", "exited before it was ready (exit code 2"),
        ("import time\ntime.sleep(60)", "3s", "not ready within 3 s"),
    ],
)
def test_topology_that_does_not_become_ready_is_rolled_back(
    shop: Shell, release: str, timeout: str, error: str
) -> None:
    succeed(shop, "up", "-d")
    before = _pids(shop)
    (shop.directory / "new.py").write_text(release)
    _edit(shop, "handlers: [jobs]", "handlers: [new]")
    _edit(shop, "  worker:", "  another: {mode: default}\n  worker:")

    result = shop("apply", "--yes", "--wait-timeout", timeout)

    assert result.returncode == 1
    assert error in result.stderr
    assert "rolled back to what ran before" in result.stderr
    assert _pids(shop) == before
    assert shop("diff").returncode == 1
    assert "another" not in shop("ps").stdout
    succeed(shop, "scale", "worker=3")
    succeed(shop, "down")


def test_release_that_breaks_half_way_is_rolled_back_to_as_many_as_before(shop: Shell) -> None:
    _edit(shop, "replicas: 2", "replicas: 3")
    succeed(shop, "up", "-d")
    (shop.directory / "new.py").write_text(
        "import os\nfrom jobs import *\n"
        "with open('starts', 'a') as file: file.write('x')\n"
        "if os.path.getsize('starts') > 2: raise RuntimeError('broken')\n"
    )
    _edit(shop, "handlers: [jobs]", "handlers: [new]")

    result = shop("apply", "--yes")

    assert result.returncode == 1
    assert "rolled back to what ran before" in result.stderr
    assert [each["state"] for each in processes_of(shop).values()] == ["ready"] * 3
    with Client(record_of(shop).redis_url) as client:
        client.wait(client.enqueue("effect", 1), "10s")
    _edit(shop, "handlers: [new]", "handlers: [jobs]")
    assert shop("diff").returncode == 0
    succeed(shop, "down")


def test_jobs_that_would_lose_their_workers_are_counted_and_kept(shop: Shell) -> None:
    _edit(shop, "concurrency: 3, replicas: 2", "concurrency: 1, replicas: 1")
    succeed(shop, "up", "-d")
    before = _pids(shop)
    with Client(record_of(shop).redis_url) as client:
        client.enqueue("nap", 300.0, priority="high")
        for number in range(3):
            client.enqueue("effect", number)
        client.enqueue("effect", 3, delay="1h")
        client.enqueue("no_handler")  # it has no worker now either
    wait_for(lambda: sum(each["busy"] for each in processes_of(shop).values()) == 1)
    (shop.directory / "split.yaml").write_text(SPLIT.replace("[effect]", "[nap]"))

    diff = shop("diff", "split.yaml")
    refused = shop("apply", "--yes", "split.yaml")

    stranded = "4 waiting jobs would have no worker: 4 effect (normal)"
    assert f"! {stranded}" in diff.stdout
    assert (refused.returncode, stranded in refused.stdout) == (1, True)
    assert "nothing was changed" in refused.stderr
    assert _pids(shop) == before
    with shop.start("apply", "--yes", "--force", "split.yaml"):
        wait_for(lambda: {"naps-0", "effects-0"} <= _ready(shop))
        succeed(shop, "down", "--now")


def test_jobs_whose_handler_is_gone_are_found_before_the_old_workers_leave(shop: Shell) -> None:
    _edit(shop, "concurrency: 3, replicas: 2", "concurrency: 1, replicas: 1")
    succeed(shop, "up", "-d")
    before = _pids(shop)
    with Client(record_of(shop).redis_url) as client:
        client.enqueue("nap", 300.0, priority="high")
        client.enqueue("effect", 1)
    wait_for(lambda: sum(each["busy"] for each in processes_of(shop).values()) == 1)
    (shop.directory / "new.py").write_text(JOBS.partition('@job("effect")')[0])
    _edit(shop, "handlers: [jobs]", "handlers: [new]")

    result = shop("apply", "--yes")

    assert result.returncode == 1
    # Twice if the new worker parks it while it is counted.
    assert re.search(r"would have no worker: [12] effect \(normal\)", result.stderr)
    assert "rolled back" in result.stderr
    assert _pids(shop) == before
    succeed(shop, "down", "--now")


def test_hangup_of_a_detached_run_applies_its_file(shop: Shell) -> None:
    succeed(shop, "up", "-d")
    pid = record_of(shop).pid
    _edit(shop, "replicas: 2", "replicas: 3")

    os.kill(pid, signal.SIGHUP)

    wait_for(lambda: len(processes_of(shop)) == 3)
    wait_for(lambda: "apply topology.yaml finished" in shop("logs", "supervisor").stdout)
    (shop.directory / "topology.yaml").write_text("version: 1\npools: {")
    os.kill(pid, signal.SIGHUP)
    wait_for(lambda: "topology not applied" in shop("logs", "supervisor").stdout)
    assert record_of(shop).pid == pid
    succeed(shop, "down")


@pytest.mark.parametrize(
    ("edit", "error"),
    [
        (("name: shop", "name: shop\nredis: {url: redis://elsewhere}"), "redis.url has changed"),
        (("name: shop", "name: shop\nredis: {key_prefix: new}"), "redis.key_prefix has changed"),
        (("pools:", "pool:"), "has errors"),
    ],
)
def test_what_cannot_be_applied_changes_nothing(
    shop: Shell, edit: tuple[str, str], error: str
) -> None:
    succeed(shop, "up", "-d")
    before = _pids(shop)
    _edit(shop, *edit)

    result = shop("apply", "--yes")

    assert (result.returncode, error in result.stderr) == (1, True), result.stderr
    assert _pids(shop) == before
    succeed(shop, "down")


def test_stop_during_an_apply_ends_it(shop: Shell) -> None:
    succeed(shop, "up", "-d")
    (shop.directory / "new.py").write_text("import time\ntime.sleep(60)")
    _edit(shop, "handlers: [jobs]", "handlers: [new]")
    pid = record_of(shop).pid
    os.kill(pid, signal.SIGHUP)
    wait_for(lambda: "starting" in {each["state"] for each in processes_of(shop).values()})

    succeed(shop, "down")

    assert find(shop.directory) is None


def test_topology_keeps_its_jobs_through_every_mode_and_name(shop: Shell) -> None:
    pools = {
        "thin": "worker: {mode: thin}",
        "default": "worker: {mode: default, replicas: 2}",
        "specialized": "quick: {mode: specialized, priorities: [high, normal], scheduler: true}\n"
        "  slow: {mode: specialized, priorities: [low]}",
        "job-specialized": "naps: {mode: job-specialized, job_types: [nap]}\n"
        "  effects: {mode: job-specialized, job_types: [effect], scheduler: true}",
    }
    for name, text in pools.items():
        (shop.directory / f"{name}.yaml").write_text(
            f"version: 1\nname: {name}\nhandlers: [jobs]\npools:\n  {text}\n"
        )
    count = 400
    succeed(shop, "up", "-d", "thin.yaml")
    url = record_of(shop).redis_url
    with Client(url) as client:
        delayed = client.enqueue("effect", count, delay="12s")
    for number, name in enumerate(pools):
        with Client(url) as client:
            first = number * count // 4
            client.enqueue_many(
                NewJob("effect", each, priority=("high", "normal", "low")[each % 3])
                for each in range(first, first + count // 4)
            )
        if number:
            succeed(shop, "apply", "--yes", f"{name}.yaml")
        assert record_of(shop).redis_url == url
    succeed(shop, "down")

    succeed(shop, "up", "-d", "job-specialized.yaml")
    with Client(record_of(shop).redis_url) as client:
        client.wait(delayed, "30s")
    # A file is empty for a moment.
    wait_for(lambda: sum(map(bool, effects_in(shop.directory))) == count + 1)
    assert set(effects_in(shop.directory)) == {"1\n"}
    succeed(shop, "down")


def test_file_with_a_new_name_keeps_its_data_and_another_file_says_where_it_is(
    shop: Shell,
) -> None:
    succeed(shop, "up", "-d")
    with Client(record_of(shop).redis_url) as client:
        job_id = client.enqueue("effect", 1, delay="1h")
    succeed(shop, "down")
    succeed(shop, "up", "-d")
    _edit(shop, "name: shop", "name: store")
    assert json.loads(shop("job", job_id, "--format", "json").stdout)["status"] == "scheduled"
    succeed(shop, "down")

    messages = succeed(shop, "up", "-d")

    assert "note:" not in messages
    assert json.loads(shop("job", job_id, "--format", "json").stdout)["status"] == "scheduled"
    succeed(shop, "down")
    (shop.directory / "other.yaml").write_text(TOPOLOGY.replace("shop", "other"))
    messages = succeed(shop, "up", "-d", "other.yaml")
    assert 'the jobs of topology "store" (topology.yaml) are in .bananas/shop' in messages
    assert "`bananas up --adopt store` continues with them" in messages
    succeed(shop, "down")


def test_data_of_another_topology_is_adopted(shop: Shell) -> None:
    succeed(shop, "up", "-d")
    with Client(record_of(shop).redis_url) as client:
        job_id = client.enqueue("effect", 1, delay="1h")
    (shop.directory / "other.yaml").write_text(TOPOLOGY.replace("shop", "other"))
    running = shop("up", "-d", "other.yaml", "--adopt", "shop")
    succeed(shop, "down")

    missing = shop("up", "-d", "other.yaml", "--adopt", "nothing")
    succeed(shop, "up", "-d", "other.yaml", "--adopt", "shop")

    assert (running.returncode, 'shop" is running' in running.stderr) == (1, True)
    assert (missing.returncode, "there is: shop" in missing.stderr) == (1, True)
    shown = shop("job", job_id, "--format", "json", "-f", "other.yaml").stdout
    assert json.loads(shown)["status"] == "scheduled"
    succeed(shop, "down")
    assert find(shop.directory) is None
