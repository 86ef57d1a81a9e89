"""`diff` and `apply` where credentials have changed, or are missing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from bananas_topology import Client
from tests.cli.running import hang_up, processes_of, record_of, shop_in, succeed
from tests.cli.shell import Shell
from tests.jobs.servers import running, wait_until

TOPOLOGY = """\
version: 1
name: shop
handlers: [jobs]
redis: {url: "${REDIS_URL}"}
scheduler: {}
pools:
  worker: {mode: specialized, priorities: [high, normal]}
"""

JOBS = """\
from bananas_topology import job


@job("double")
def double(payload: int) -> int:
    return 2 * payload
"""


@pytest.fixture
def shop(bundled_shell: Shell) -> Iterator[Shell]:
    with shop_in(bundled_shell, TOPOLOGY, JOBS) as shop:
        yield shop


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """A server with the password `first`."""
    with running(tmp_path / "server", "--requirepass", "first") as port:
        wait_until(redis.Redis(port=port, password="first").ping)
        yield port


def _url(port: int, password: str) -> str:
    return f"redis://:{password}@127.0.0.1:{port}/0"


def _rotate(port: int, password: str) -> None:
    """Change the password, and close all connections, as a restart of the server does."""
    with redis.Redis(port=port, password="first") as admin:
        admin.config_set("requirepass", password)
        admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


def test_a_rotated_password_reaches_workers_and_commands(shop: Shell, port: int) -> None:
    env_file = shop.directory / ".env"
    env_file.write_text(f"REDIS_URL={_url(port, 'first')}\n")
    succeed(shop, "up", "-d")
    before = processes_of(shop)

    _rotate(port, "second")
    env_file.write_text(f"REDIS_URL={_url(port, 'mistyped')}\n")
    refused = shop("apply", "--yes")
    unchanged = processes_of(shop)
    env_file.write_text(f"REDIS_URL={_url(port, 'second')}\n")
    with Client(_url(port, "second")) as producer:
        producer.enqueue("double", 1, delay="1h", priority="high")
        lost = shop("diff", "--set", "pools.worker.priorities=[normal]")
        diff = shop("diff", "--format", "json")
        succeed(shop, "apply", "--yes")
        result = producer.wait(producer.enqueue("double", 2), "20s")
    settled = shop("diff").returncode
    succeed(shop, "scale", "worker=2")

    assert (refused.returncode, "cannot be used" in refused.stderr) == (1, True), refused.stderr
    assert {name: each["pid"] for name, each in unchanged.items()} == {
        name: each["pid"] for name, each in before.items()
    }
    assert "1 waiting job would have no worker: 1 double (high)" in lost.stdout
    assert [each["pool"] for each in json.loads(diff.stdout)["difference"]["pools"]] == [
        "worker",
        "scheduler",
    ]
    assert "second" not in diff.stdout + diff.stderr + lost.stdout + lost.stderr
    assert result == 4
    assert record_of(shop).redis_url == _url(port, "second")
    assert {each["state"] for each in processes_of(shop).values()} == {"ready"}
    assert settled == 0
    succeed(shop, "down")


def test_commands_do_not_take_another_password_for_another_server(shop: Shell, port: int) -> None:
    (shop.directory / ".env").write_text(f"REDIS_URL={_url(port, 'first')}\n")
    succeed(shop, "up", "-d")
    _rotate(port, "second")
    (shop.directory / ".env").write_text(f"REDIS_URL={_url(port, 'second')}\n")

    result = shop("queues")

    assert (result.returncode, result.stderr) == (0, "")
    succeed(shop, "down")


def test_unset_secrets_of_the_changed_topology_are_named(shop: Shell, port: int) -> None:
    env_file = shop.directory / ".env"
    env_file.write_text(f"REDIS_URL={_url(port, 'first')}\n")
    succeed(shop, "up", "-d")
    (shop.directory / "topology.yaml").write_text(
        f"{TOPOLOGY}defaults: {{secrets: [MAIL_TOKEN]}}\n"
    )
    warning = "warning: MAIL_TOKEN of worker, scheduler is not set"

    diff = shop("diff", "--format", "json")
    again = shop("up", "-d", "--yes")
    hang_up(shop)

    assert "MAIL_TOKEN of worker, scheduler is" in shop("logs", "supervisor").stdout
    assert json.loads(diff.stdout)["unset"] == {"MAIL_TOKEN": ["worker", "scheduler"]}
    assert warning in diff.stderr
    assert (again.returncode, again.stderr.count(warning)) == (0, 1), again.stderr
    env_file.write_text(f"REDIS_URL={_url(port, 'first')}\nMAIL_TOKEN=x\n")
    assert warning not in succeed(shop, "apply", "--yes")
    succeed(shop, "down")
