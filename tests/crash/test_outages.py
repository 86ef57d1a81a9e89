"""Redis away in every way there is, while jobs run: the workers stay, and nothing is run twice."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis

from bananas_topology.jobs.connection import connect
from bananas_topology.jobs.embedded import EmbeddedServer
from tests.crash.fleet import RuleContext
from tests.crash.network import Network, Weather
from tests.waiting import wait_for

#: Seconds that an outage takes. Thirty are as good as three: nothing in a worker counts them.
OUTAGE_S = 3.0

#: Seconds after the end of an outage until jobs are done again; twice what a worker promises, as
#: tests share the machine.
BACK_S = 4.0

JOBS = 400
NAP_S = 0.02


@pytest.fixture
def network(server_url: str) -> Iterator[Network]:
    network = Network(urlsplit(server_url).port or 0)
    yield network
    network.close()


def _assert_work_is_taken_up(scene: RuleContext) -> None:
    before = scene.inspector.backlog().completed
    wait_for(lambda: scene.inspector.backlog().completed > before + 8, BACK_S, "for work")


def _assert_said_once(scene: RuleContext, worker: str, outages: int = 1) -> None:
    messages = [str(entry["msg"]) for entry in scene.log(worker)]
    assert sum(message.startswith("redis lost") for message in messages) == outages, messages
    assert messages.count("redis back") == outages


@pytest.mark.parametrize("weather", [each for each in Weather if each is not Weather.FINE])
def test_a_worker_outlives_a_network_that_fails(
    scene: RuleContext, network: Network, weather: Weather
) -> None:
    with replace(scene, url=network.url).worker("a", WORKER_CONCURRENCY="8"):
        scene.enqueue("nap", NAP_S, JOBS)
        wait_for(lambda: scene.inspector.backlog().completed > 20, 20)

        with network.being(weather, OUTAGE_S):
            pass

        _assert_work_is_taken_up(scene)
        scene.wait_until_done(30)
    assert set(scene.runs().values()) == {1}
    if weather is not Weather.STALLED:  # what comes late only was never away
        _assert_said_once(scene, "a")


def test_a_worker_that_starts_before_its_server_waits_for_it(
    scene: RuleContext, network: Network
) -> None:
    scene.enqueue("nap", NAP_S, 20)
    far = replace(scene, url=network.url)
    with contextlib.ExitStack() as stack:
        with network.being(Weather.CUT, 0):
            process = stack.enter_context(far.starting("a"))
            wait_for(lambda: _has_said(far, "waiting for redis"), 20)

        scene.wait_until_done(20)
        assert process.poll() is None


Trouble = Callable[[redis.Redis], None]


def _out_of_memory(client: redis.Redis) -> None:
    client.config_set("maxmemory", "1mb")


def _enough_memory(client: redis.Redis) -> None:
    client.config_set("maxmemory", "0")


def _read_only(client: redis.Redis) -> None:
    client.replicaof("127.0.0.1", "1")


def _writable(client: redis.Redis) -> None:
    client.replicaof("no", "one")


def _another_password(client: redis.Redis) -> None:
    client.config_set("requirepass", "changed")
    client.client_kill_filter(skipme=True)


def _no_password(client: redis.Redis) -> None:
    client.config_set("requirepass", "")


def _no_scripts(client: redis.Redis) -> None:
    client.script_flush()


@pytest.mark.parametrize(
    ("begin", "end", "is_outage"),
    [
        pytest.param(_out_of_memory, _enough_memory, True, id="out of memory"),
        pytest.param(_read_only, _writable, True, id="read-only after a failover"),
        pytest.param(_another_password, _no_password, True, id="another password"),
        pytest.param(_no_scripts, _no_scripts, False, id="scripts forgotten"),
    ],
)
def test_a_worker_outlives_a_server_that_refuses(
    prefix: str, tmp_path: Path, begin: Trouble, end: Trouble, is_outage: bool
) -> None:
    (tmp_path / "server").mkdir()
    with (
        EmbeddedServer(tmp_path / "server", durable=False) as server,
        connect(server.start()) as client,
    ):
        scene = RuleContext(server.url, prefix, tmp_path, client)
        with scene.worker("a", WORKER_CONCURRENCY="8"):
            scene.enqueue("nap", NAP_S, JOBS)
            wait_for(lambda: scene.inspector.backlog().completed > 20, 20)

            begin(client)
            if is_outage:
                wait_for(lambda: _has_said(scene, "redis lost"), 20)
            end(client)

            _assert_work_is_taken_up(scene)
            scene.wait_until_done(30)
        assert set(scene.runs().values()) == {1}
        if is_outage:
            _assert_said_once(scene, "a")


def _has_said(scene: RuleContext, message: str) -> bool:
    return any(str(entry["msg"]).startswith(message) for entry in scene.log("a"))
