"""Two `bananas up` with one Redis and key prefix: their workers must not have the same names."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from tests.cli.running import JOBS, TOPOLOGY, record_of, shop_in, succeed
from tests.cli.shell import Shell

#: What the second one says.
WARNING = "already run on "


@pytest.fixture
def shop(shell: Shell) -> Iterator[Shell]:
    with shop_in(shell, TOPOLOGY, JOBS) as shop:
        yield shop


def _up(shop: Shell, name: str, pool: str) -> str:
    """Start another topology; returns its messages."""
    text = TOPOLOGY.replace("name: shop", f"name: {name}").replace("worker:", f"{pool}:")
    (shop.directory / f"{name}.yaml").write_text(text)
    return succeed(shop, "up", "-d", f"{name}.yaml")


def test_workers_of_the_same_name_are_named_at_the_start(shop: Shell) -> None:
    first = succeed(shop, "up", "-d")

    assert "workers named worker-0, worker-1 already run on " in _up(shop, "same", "worker")
    assert WARNING not in first + _up(shop, "different", "other")


def test_what_a_killed_run_has_left_behind_is_no_reason_to_warn(shop: Shell) -> None:
    succeed(shop, "up", "-d")
    os.kill(record_of(shop).pid, signal.SIGKILL)

    assert WARNING not in succeed(shop, "up", "-d")
    succeed(shop, "down")
