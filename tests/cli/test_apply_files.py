"""`apply` and SIGHUP with what else a topology is made of: overlays, values, variables of files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from bananas_topology import Client
from tests.cli.running import hang_up, processes_of, shop_in, succeed
from tests.cli.shell import Shell

TOPOLOGY = """\
version: 1
name: shop
handlers: [jobs]
redis: {key_prefix: "${REDIS_KEY_PREFIX}"}
pools:
  worker: {mode: thin, concurrency: 2, replicas: "${REPLICAS:-1}"}
"""

JOBS = """\
import os

from bananas_topology import job


@job("greet")
def greet(payload: None) -> str:
    return os.environ.get("GREETING", "")
"""


@pytest.fixture
def shop(shell: Shell) -> Iterator[Shell]:
    for name in ("GREETING", "REPLICAS"):
        shell.environ.pop(name, None)
    with shop_in(shell, TOPOLOGY, JOBS) as shop:
        yield shop


def _write(shop: Shell, name: str, text: str) -> None:
    (shop.directory / name).write_text(text)


def test_edited_variables_of_the_env_file_are_applied(shop: Shell, producer: Client) -> None:
    _write(shop, ".env", "GREETING=one\nREPLICAS=1\nSHELL_HAS=file\n")
    shop.environ["SHELL_HAS"] = "shell"
    succeed(shop, "up", "-d")
    assert producer.wait(producer.enqueue("greet", None), "10s") == "one"
    assert shop("diff").returncode == 0

    _write(shop, ".env", "GREETING=two\nREPLICAS=2\nSHELL_HAS=edited\n")
    diff = shop("diff").stdout
    succeed(shop, "apply", "--yes")
    applied = producer.wait(producer.enqueue("greet", None), "10s")
    processes = len(processes_of(shop))
    _write(shop, ".env", "REPLICAS=2\n")
    hang_up(shop)
    hung_up = producer.wait(producer.enqueue("greet", None), "10s")

    assert diff.splitlines() == [
        "~ pools.worker: 1 → 2 processes, 1 process to replace",
        "~   env.GREETING: changed",
        "~   env.REPLICAS: changed",
    ]
    assert (applied, processes) == ("two", 2)
    assert hung_up == ""
    assert shop("diff").returncode == 0
    succeed(shop, "down")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("GREETING=pa$word", ".env:1: variable word is not set"),
        ("REDIS_URL=redis://elsewhere", "REDIS_URL has changed: the waiting jobs would stay"),
        ("REDIS_URL=nonsense", "nonsense"),
    ],
)
def test_unusable_env_file_changes_nothing(
    shop: Shell, server_url: str, text: str, error: str
) -> None:
    del shop.environ["REDIS_URL"]
    _write(shop, ".env", f"REDIS_URL={server_url}\n")
    succeed(shop, "up", "-d")
    before = processes_of(shop)["worker-0"]["pid"]
    _write(shop, ".env", text)

    result = shop("apply", "--yes")
    hang_up(shop)

    assert (result.returncode, error in result.stderr) == (1, True), result.stderr
    assert error in shop("logs", "supervisor").stdout
    assert processes_of(shop)["worker-0"]["pid"] == before
    succeed(shop, "down")


def test_named_env_files_are_read_again_and_can_be_exchanged(shop: Shell, producer: Client) -> None:
    for name in ("one", "two", ".env"):
        _write(shop, name, f"GREETING={name}\n")
    succeed(shop, "up", "-d", "--env-file", "one")
    _write(shop, "one", "GREETING=edited\n")

    hang_up(shop)
    edited = producer.wait(producer.enqueue("greet", None), "10s")
    succeed(shop, "apply", "--yes", "--env-file", "two")
    exchanged = producer.wait(producer.enqueue("greet", None), "10s")
    _write(shop, "two", "GREETING=again\n")
    succeed(shop, "apply", "--yes")

    assert (edited, exchanged) == ("edited", "two")
    assert producer.wait(producer.enqueue("greet", None), "10s") == "again"
    succeed(shop, "down")


def _with_pipe(shop: Shell, text: str, *arguments: str) -> None:
    """Run a command with `--env-file <(…)`."""
    read_end, write_end = os.pipe()
    os.write(write_end, text.encode())
    os.close(write_end)
    argv = [sys.executable, "-m", "bananas_topology", *arguments, "--env-file"]
    subprocess.run(
        [*argv, f"/dev/fd/{read_end}"],
        cwd=shop.directory,
        env=shop.environ,
        pass_fds=[read_end],
        check=True,
        timeout=60,
    )
    os.close(read_end)


def test_variables_from_a_pipe_stay_until_others_are_given(shop: Shell, producer: Client) -> None:
    _with_pipe(shop, "GREETING=one", "up", "-d")

    hang_up(shop)
    kept = producer.wait(producer.enqueue("greet", None), "10s")
    assert shop("diff").returncode == 0
    _with_pipe(shop, "GREETING=two", "apply", "--yes")
    assert shop("diff").returncode == 0

    assert kept == "one"
    assert producer.wait(producer.enqueue("greet", None), "10s") == "two"
    succeed(shop, "down")


def test_overlays_and_values_are_read_again_and_can_be_exchanged(shop: Shell) -> None:
    _write(shop, "prod.yaml", "pools: {worker: {replicas: 2}}\n")
    _write(shop, "night.yaml", "pools: {worker: {concurrency: 1}}\n")
    base = ("-f", "topology.yaml")
    succeed(shop, "up", "-d", *base, "-f", "prod.yaml", "--set", "pools.worker.concurrency=3")

    _write(shop, "prod.yaml", "pools: {worker: {replicas: 3}}\n")
    hang_up(shop)
    edited = _slots(shop)
    night = (*base, "-f", "prod.yaml", "-f", "night.yaml", "--set", "pools.worker.replicas=1")
    diff = json.loads(shop("diff", "--format", "json", *night).stdout)["difference"]["pools"]
    succeed(shop, "apply", "--yes", *night)
    exchanged = _slots(shop)
    hang_up(shop)

    assert edited == [3, 3, 3]
    assert [(each["before"], each["after"]) for each in diff] == [(3, 1)]
    assert exchanged == _slots(shop) == [1]
    succeed(shop, "down")


def test_overlay_that_does_not_become_ready_is_rolled_back_and_forgotten(shop: Shell) -> None:
    _write(shop, "broken.yaml", "handlers: [missing]\n")
    succeed(shop, "up", "-d", "--set", "pools.worker.concurrency=3")
    before = processes_of(shop)["worker-0"]["pid"]

    result = shop("apply", "--yes", "-f", "topology.yaml", "-f", "broken.yaml")
    hang_up(shop)

    assert (result.returncode, "rolled back" in result.stderr) == (1, True), result.stderr
    assert processes_of(shop)["worker-0"]["pid"] == before
    assert _slots(shop) == [3]
    assert shop("diff").returncode == 0
    succeed(shop, "down")


def test_renamed_file_is_the_one_that_is_read_again(shop: Shell) -> None:
    succeed(shop, "up", "-d")
    (shop.directory / "topology.yaml").rename(shop.directory / "new.yaml")

    missing = shop("apply", "--yes")
    succeed(shop, "apply", "--yes", "new.yaml")

    assert "error BT001" in missing.stderr
    assert shop("ps", "-f", "new.yaml").returncode == 0
    _write(shop, "new.yaml", TOPOLOGY.replace(":-1}", ":-2}"))
    hang_up(shop)
    assert len(processes_of(shop)) == 2
    succeed(shop, "down")


def _slots(shop: Shell) -> list[int]:
    return [each["slots"] for each in processes_of(shop).values()]
