"""Outages of Redis of every kind while jobs run: workers stay up, and no job runs twice."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis

from bananas_topology.jobs.bundled_server import BundledServer
from bananas_topology.jobs.connection import connect
from tests.crash.fleet import Fleet
from tests.crash.network import Condition, Network
from tests.waiting import wait_for

#: Seconds that an outage takes. A longer one makes no difference to a worker.
OUTAGE_S = 3.0

JOBS = 400
NAP_S = 0.02


@pytest.fixture
def network(server_url: str) -> Iterator[Network]:
    network = Network(urlsplit(server_url).port or 0)
    yield network
    network.close()


def _wait_until_resumed(fleet: Fleet) -> None:
    """Wait until the worker has noticed that an outage is over, and all jobs are completed."""
    wait_for(lambda: _has_logged(fleet, "connection restored"))
    fleet.wait_until_done(30)


def _assert_logged_once(fleet: Fleet) -> None:
    messages = [str(entry["msg"]) for entry in fleet.log("a")]
    assert sum(message.startswith("connection lost") for message in messages) == 1, messages
    assert messages.count("connection restored") == 1


@pytest.mark.parametrize("condition", list(Condition)[1:])
def test_a_worker_survives_a_network_failure(
    fleet: Fleet, network: Network, condition: Condition
) -> None:
    with replace(fleet, url=network.url).worker("a", WORKER_CONCURRENCY="8"):
        fleet.enqueue("nap", NAP_S, JOBS)
        wait_for(lambda: fleet.inspector.backlog().completed > 20, 20)

        with network.forced(condition, OUTAGE_S):
            pass

        if condition is Condition.STALLED:  # replies that arrive late are not an outage
            fleet.wait_until_done(30)
        else:
            _wait_until_resumed(fleet)
    assert set(fleet.runs().values()) == {1}
    if condition is not Condition.STALLED:
        _assert_logged_once(fleet)


def test_a_worker_that_starts_before_its_server_waits_for_it(
    fleet: Fleet, network: Network
) -> None:
    fleet.enqueue("nap", NAP_S, 20)
    far = replace(fleet, url=network.url)
    with contextlib.ExitStack() as stack:
        with network.forced(Condition.DOWN, 0):
            process = stack.enter_context(far.starting("a"))
            wait_for(lambda: _has_logged(far, "waiting for Redis"), 20)

        fleet.wait_until_done(20)
        assert process.poll() is None


Change = Callable[[redis.Redis], None]


def _become_replica(client: redis.Redis) -> None:
    client.replicaof("127.0.0.1", "1")


def _become_primary(client: redis.Redis) -> None:
    client.replicaof("no", "one")


def _change_password(client: redis.Redis) -> None:
    client.config_set("requirepass", "changed")
    client.client_kill_filter(skipme=True)


def _remove_password(client: redis.Redis) -> None:
    client.config_set("requirepass", "")


def _flush_scripts(client: redis.Redis) -> None:
    client.script_flush()


@pytest.mark.parametrize(
    ("begin", "end", "is_outage"),
    [
        pytest.param(_become_replica, _become_primary, True, id="read-only after a failover"),
        pytest.param(_change_password, _remove_password, True, id="changed password"),
        pytest.param(_flush_scripts, _flush_scripts, False, id="scripts flushed"),
    ],
)
def test_a_worker_survives_a_server_that_rejects_its_commands(
    prefix: str, tmp_path: Path, begin: Change, end: Change, is_outage: bool
) -> None:
    (tmp_path / "server").mkdir()
    with (
        BundledServer(tmp_path / "server", durable=False) as server,
        connect(server.start()) as client,
    ):
        fleet = Fleet(server.url, prefix, tmp_path, client)
        with fleet.worker("a", WORKER_CONCURRENCY="8"):
            fleet.enqueue("nap", NAP_S, JOBS)
            wait_for(lambda: fleet.inspector.backlog().completed > 20, 20)

            begin(client)
            if is_outage:
                wait_for(lambda: _has_logged(fleet, "connection lost"), 20)
            end(client)

            if is_outage:
                _wait_until_resumed(fleet)
            fleet.wait_until_done(30)
        assert set(fleet.runs().values()) == {1}
        if is_outage:
            _assert_logged_once(fleet)


def _has_logged(fleet: Fleet, message: str) -> bool:
    return any(str(entry["msg"]).startswith(message) for entry in fleet.log("a"))
