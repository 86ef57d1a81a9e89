"""Suggestions of the shell, asked for as bash does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bananas_topology.client import Client
from bananas_topology.jobs.connection import connect
from bananas_topology.jobs.keys import Keys
from tests.cli.running import record_of, shop_in, succeed
from tests.cli.shell import JOBS, Shell
from tests.waiting import wait_for

TOPOLOGY = """\
version: 1
name: shop
handlers: [jobs]
pools:
  worker-high: {mode: specialized, priorities: [high], replicas: 2}
  worker-low: {mode: specialized, priorities: [low, normal], scheduler: true}
"""


@pytest.fixture
def shop(bundled_shell: Shell) -> Iterator[Shell]:
    with shop_in(bundled_shell, TOPOLOGY, JOBS) as shop:
        yield shop


def _suggested(shop: Shell, *words: str) -> list[str]:
    """What is suggested for the last of the words."""
    asking = {
        "_BANANAS_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(("bananas", *words)),
        "COMP_CWORD": str(len(words)),
    }
    result = subprocess.run(
        [Path(sys.executable).with_name("bananas")],
        cwd=shop.directory,
        env=shop.environ | asking,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.stderr == ""
    return result.stdout.split()


def test_names_of_what_runs_and_ids_of_jobs_are_suggested(shop: Shell) -> None:
    succeed(shop, "up", "-d")
    with Client(record_of(shop).redis_url) as client:
        client.enqueue("double", 1, id="order-1", delay="1h")
        client.enqueue("double", 1, id="other-2", delay="1h")
        client.enqueue("unknown", 1, id="parked-3")
    with connect(record_of(shop).redis_url) as server:
        wait_for(lambda: server.llen(Keys("bananas").parked_queue("normal", "unknown")))

    assert _suggested(shop, "restart", "worker") == ["worker-high", "worker-low"]
    assert _suggested(shop, "restart", "worker-l") == ["worker-low"]
    assert _suggested(shop, "scale", "worker-h") == ["worker-high="]
    assert _suggested(shop, "logs", "worker-high-") == ["worker-high-0", "worker-high-1"]
    assert _suggested(shop, "job", "or") == ["order-1"]
    assert _suggested(shop, "job", "p") == ["parked-3"]
    succeed(shop, "down")


def test_nothing_is_suggested_or_printed_when_nothing_can_be_asked(shop: Shell) -> None:
    assert _suggested(shop, "restart", "w") == []
    assert _suggested(shop, "job", "o") == []
    (shop.directory / "topology.yaml").write_text("version: [")
    assert _suggested(shop, "job", "o") == []
