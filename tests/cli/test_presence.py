"""A run whose state directory is deleted, with real processes."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from bananas_topology import Client
from bananas_topology.supervisor.record import RunRecord, is_running
from tests.cli.running import processes_of, record_of, shop_in, succeed
from tests.cli.shell import JOBS, Shell
from tests.waiting import wait_for

TOPOLOGY = """\
version: 1
name: shop
handlers: [jobs]
redis: {key_prefix: "${REDIS_KEY_PREFIX}"}
pools:
  worker: {mode: thin, concurrency: 1}
"""


@pytest.fixture
def shop(shell: Shell) -> Iterator[Shell]:
    with shop_in(shell, TOPOLOGY, JOBS) as shop:
        yield shop


def _answers(shop: Shell) -> bool:
    return shop("ps").returncode == 0


def _is_ready(shop: Shell) -> bool:
    return {each["state"] for each in processes_of(shop).values()} == {"ready"}


def _delete(directory: Path) -> None:
    """Delete a directory at once: the run may restore it before the last of its files is gone."""
    shutil.rmtree(directory.rename(f"{directory}-deleted"))


def test_deleted_state_directory_is_restored_and_no_job_is_interrupted(
    shop: Shell, producer: Client
) -> None:
    succeed(shop, "up", "-d")
    record, worker = record_of(shop), processes_of(shop)["worker-0"]
    job_id = producer.enqueue("hold", str(shop.directory / "go"))
    wait_for(lambda: processes_of(shop)["worker-0"]["busy"] == 1)

    _delete(shop.directory / ".bananas")

    wait_for(lambda: _answers(shop))
    assert record_of(shop) == record
    assert "already running" in succeed(shop, "up", "-d")
    (shop.directory / "go").touch()
    producer.wait(job_id, "10s")
    # It reports over the restored socket, and its lines are kept.
    wait_for(lambda: processes_of(shop)["worker-0"]["completed"] == 1)
    assert processes_of(shop)["worker-0"]["pid"] == worker["pid"]
    assert "were deleted: restored" in shop("logs", "supervisor").stdout
    assert {path.name for path in (shop.directory / ".bananas").iterdir()} == {".gitignore", "shop"}
    succeed(shop, "down")


def test_deleted_sockets_of_a_deep_folder_are_restored(shop: Shell) -> None:
    deep = shop.directory.joinpath(*["x" * 30] * 4)
    deep.mkdir(parents=True)
    for name in ("topology.yaml", "jobs.py"):
        shutil.copy(shop.directory / name, deep)
    there = Shell(deep, shop.environ)
    succeed(there, "up", "-d")
    sockets = Path(record_of(there).control).parent
    assert deep not in sockets.parents

    _delete(sockets)

    wait_for(lambda: _answers(there))
    wait_for(lambda: _is_ready(there))
    assert sockets.stat().st_mode & 0o777 == 0o700
    succeed(there, "down")
    assert not sockets.exists()


def test_run_that_was_replaced_while_its_directory_was_gone_stops(shop: Shell) -> None:
    succeed(shop, "up", "-d")
    former = record_of(shop)
    os.kill(former.pid, signal.SIGSTOP)
    try:
        _delete(shop.directory / ".bananas")
        succeed(shop, "up", "-d")
        new = record_of(shop)
    finally:
        os.kill(former.pid, signal.SIGCONT)

    wait_for(lambda: not is_running(former))

    assert new.pid != former.pid
    assert record_of(shop) == new
    wait_for(lambda: _is_ready(shop))
    # The former one has left alone what belongs to the new one.
    assert "restored" not in shop("logs", "supervisor").stdout
    succeed(shop, "down")
    assert _records(shop) == []


def _records(shop: Shell) -> list[RunRecord]:
    paths = (shop.directory / ".bananas").glob("*/up.json")
    return [RunRecord(**json.loads(path.read_text())) for path in paths]
