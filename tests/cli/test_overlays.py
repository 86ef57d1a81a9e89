"""Overlays and values of the command line, for every command that takes a topology."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.cli.shell import JOBS, Shell
from tests.waiting import wait_for

BASE = """\
version: 1
name: shop
handlers: [jobs]
pools:
  worker: {mode: thin, concurrency: 2}
"""
PROD = "pools: {worker: {replicas: 3}}\n"


@pytest.fixture
def files(shell: Shell) -> Shell:
    (shell.directory / "base.yaml").write_text(BASE)
    (shell.directory / "prod.yaml").write_text(PROD)
    (shell.directory / "jobs.py").write_text(JOBS)
    return shell


def test_a_service_does_not_read_overlays_unless_told(files: Shell) -> None:
    merged = files("render", "--systemd", "base.yaml", "-f", "prod.yaml")
    single = files("render", "--systemd", "base.yaml")

    assert "add what is merged into it to ExecStart" in merged.stderr
    assert "`bananas up base.yaml -f prod.yaml`" in merged.stderr
    assert single.stderr == ""


@pytest.mark.parametrize("given", ["base.yaml -f prod.yaml", "-f base.yaml -f prod.yaml"])
def test_the_first_file_is_the_topology_and_others_are_merged(files: Shell, given: str) -> None:
    arguments = [*given.split(), "--set", "pools.worker.concurrency=7"]

    planned = files("up", "--dry-run", *arguments)
    validated = files("validate", *arguments)
    rendered = files("render", "--compose", *arguments)

    assert planned.stdout.splitlines()[1].startswith("worker\tthin\t3\t21")
    assert validated.stderr == "base.yaml: valid: 1 pool, 3 processes, 21 threads\n"
    assert "replicas: 3" in rendered.stdout
    assert 'WORKER_CONCURRENCY: "7"' in rendered.stdout


def test_the_default_file_takes_overrides(files: Shell) -> None:
    (files.directory / "topology.yaml").write_text(BASE)

    planned = files("up", "--dry-run", "--set", "pools.worker.replicas=4")

    assert planned.stdout.splitlines()[1].startswith("worker\tthin\t4\t8")


def test_a_diagnostic_names_the_file_that_has_the_value(files: Shell) -> None:
    (files.directory / "prod.yaml").write_text("pools:\n  worker: {replicas: many}\n")

    validated = files("validate", "base.yaml", "-f", "prod.yaml", "--set", "image=a b")
    _, shown = files.on_terminal("validate", "base.yaml", "-f", "prod.yaml")
    planned = files("queues", "-f", "base.yaml", "-f", "prod.yaml")

    first, second = validated.stdout.splitlines()
    assert first.startswith("prod.yaml:2:22: error BT101: ")
    assert second.startswith("--set:1:7: error BT106: ")
    assert "worker: {replicas: many}" in shown
    assert "run `bananas validate base.yaml -f prod.yaml`" in planned.stderr


@pytest.mark.parametrize(
    "command", ["validate", "up --dry-run", "render --k8s", "queues", "doctor"]
)
def test_a_malformed_override_is_a_wrong_command_line(files: Shell, command: str) -> None:
    (files.directory / "topology.yaml").write_text(BASE)

    result = files(*command.split(), "--set", "replicas")

    assert result.returncode == 2
    assert "expected PATH=VALUE" in result.stderr


def test_an_overlay_can_come_from_standard_input(files: Shell) -> None:
    planned = files("up", "--dry-run", "base.yaml", "-f", "-", stdin=PROD)

    assert planned.stdout.splitlines()[1].startswith("worker\tthin\t3\t6")


@pytest.mark.parametrize("command", ["validate -", "up --dry-run -f -", "queues -f -"])
def test_standard_input_cannot_be_two_files(files: Shell, command: str) -> None:
    result = files(*command.split(), "-f", "-", stdin=BASE)

    assert result.returncode == 2
    assert "standard input can be read only once" in result.stderr


def test_an_overlay_from_standard_input_is_merged_into_each_file(files: Shell) -> None:
    (files.directory / "other.yaml").write_text(BASE)

    validated = files("validate", "base.yaml", "other.yaml", "-f", "-", stdin=PROD)

    assert validated.stderr.splitlines() == [
        "base.yaml: valid: 1 pool, 3 processes, 6 threads",
        "other.yaml: valid: 1 pool, 3 processes, 6 threads",
    ]


def test_commands_connect_as_the_overlay_says(files: Shell, prefix: str) -> None:
    arguments = ["-f", "base.yaml", "--set", f"redis.key_prefix={prefix}-other"]

    enqueued = files("enqueue", "double", "--payload", "1", *arguments)
    queues = json.loads(files("queues", "--format", "json", *arguments).stdout)

    assert enqueued.returncode == 0, enqueued.stderr
    assert queues["queues"]["normal"]["ready"] == 1
    files("dead", "list", *arguments)


def test_up_in_the_background_has_the_overlays(files: Shell) -> None:
    arguments = ["-f", "base.yaml", "-f", "prod.yaml", "--set", "name=shop-prod"]

    started = files("up", "-d", *arguments)
    try:
        assert started.returncode == 0, started.stderr
        ps = json.loads(files("ps", "--format", "json", *arguments).stdout)
        other = files("ps", "-f", "base.yaml", "--set", "name=shop-dev")
        logs = files("logs", *(word.replace("-f", "--file") for word in arguments))
    finally:
        stopped = files("down", *arguments)

    assert ps["name"] == "shop-prod"
    assert [each["name"] for each in ps["processes"]] == [f"worker-{at}" for at in range(3)]
    assert other.returncode == 1
    assert "worker-2" in logs.stdout
    assert stopped.returncode == 0, stopped.stderr


def test_a_run_from_standard_input_is_found_by_the_same_text(files: Shell) -> None:
    with files.start("up", "-f", "-", stdin=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        process.stdin.write(BASE)
        process.stdin.close()
        try:
            wait_for(lambda: files("ps", "-f", "-", stdin=BASE).returncode == 0)
            other = files("ps", "-f", "-", stdin=BASE.replace("shop", "other"))
        finally:
            stopped = files("down", "-f", "-", stdin=BASE)
    assert (other.returncode, "is not running" in other.stderr) == (1, True)
    assert "stopped shop" in stopped.stderr
    assert process.returncode == 0
