"""Every check of the server fires, on servers that are set up wrongly."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis

from bananas_topology.doctor.check import Result, Status
from bananas_topology.doctor.examination import Examination
from bananas_topology.jobs.server_facts import own_address
from bananas_topology.system.clock import sleep
from tests.doctor.seeding import SOUND, examined, results
from tests.jobs.servers import HOST, Proxy, ask, free_port, running, wait_until

WARNING, FAILURE = Status.WARNING, Status.FAILURE


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A server that tests may set up as they like; each sets it back."""
    with running(tmp_path_factory.mktemp("server"), "--appendonly", "yes") as port:
        wait_until(lambda: ask(port).ping())
        yield port


def _fill(server: Any) -> None:
    """Have keys evicted, then make it look as if nothing ever had been."""
    server.config_set("maxmemory-policy", "allkeys-lru")
    server.config_set("maxmemory", str(server.info("memory")["used_memory"] + 200_000))
    for number in range(400):
        server.set(f"key-{number}", "x" * 4000)
    server.config_set("maxmemory", "0")
    server.config_set("maxmemory-policy", "noeviction")
    server.flushall()


def _nearly_full(server: Any) -> None:
    server.config_set("maxmemory", str(int(server.info("memory")["used_memory"] * 1.05)))


def _changed(**changes: Any) -> Callable[[Examination], Examination]:
    """What a server of another kind would say of itself."""

    def change(examination: Examination) -> Examination:
        assert examination.live is not None
        server = replace(examination.live.server, **changes)
        return replace(examination, live=replace(examination.live, server=server))

    return change


#: Code, status, settings of the server, what to do with it, and what to change of what it says.
ON_A_SERVER: list[
    tuple[str, Status, dict[str, str], Callable[[Any], object] | None, dict[str, Any]]
] = [
    ("DR202", FAILURE, {}, None, {"version": "6.0.16"}),
    ("DR203", FAILURE, {"maxmemory-policy": "allkeys-lru"}, None, {}),
    ("DR203", FAILURE, {}, _fill, {}),
    ("DR204", FAILURE, {"appendonly": "no", "save": ""}, None, {}),
    ("DR204", WARNING, {"appendonly": "no", "save": "3600 1"}, None, {}),
    ("DR204", FAILURE, {}, None, {"is_aof_ok": False}),
    ("DR205", FAILURE, {}, _nearly_full, {}),
    ("DR205", WARNING, {}, None, {"max_memory": 4 * 2**30, "system_memory": 4 * 2**30}),
    ("DR205", WARNING, {}, None, {"used_memory": 3 * 2**30, "system_memory": 4 * 2**30}),
    ("DR206", FAILURE, {"maxclients": "5"}, None, {}),
    ("DR206", WARNING, {}, None, {"rejected_connections": 3}),
    ("DR208", FAILURE, {}, None, {"latency_ms": 300.0}),
    ("DR209", WARNING, {}, None, {"clock_offset_ms": -4000.0}),
    ("DR210", WARNING, {}, None, {"is_local": False}),
    ("DR211", WARNING, {"timeout": "5"}, None, {}),
    ("DR212", FAILURE, {}, None, {"is_cluster": True}),
]


@pytest.mark.parametrize(("code", "status", "settings", "act", "changes"), ON_A_SERVER)
def test_a_server_that_is_set_up_wrongly_is_found(
    port: int,
    code: str,
    status: Status,
    settings: dict[str, str],
    act: Callable[[Any], object] | None,
    changes: dict[str, Any],
) -> None:
    server = ask(port)
    before = {name: server.config_get(name)[name] for name in (*settings, "maxmemory")}
    for name, value in settings.items():
        server.config_set(name, value)
    if act is not None:
        act(server)
    try:
        examination = examined(SOUND, url=f"redis://{HOST}:{port}")
    finally:
        for name, value in before.items():
            server.config_set(name, value)
        server.config_resetstat()

    result = results(_changed(**changes)(examination))[code]

    assert result.verdict.status is status, result.verdict.measured
    assert result.remedy


def test_connections_of_others_leave_the_topology_fewer(port: int) -> None:
    text = SOUND.replace("replicas: 1}}", "replicas: 6}}")  # 7 processes of 4 connections
    others = [ask(port) for _ in range(30)]
    ask(port).config_set("maxclients", "70")
    try:
        for each in others:
            each.ping()
        found = results(examined(text, url=f"redis://{HOST}:{port}"))
    finally:
        ask(port).config_set("maxclients", "10000")
        for each in others:
            each.close()

    assert found["DR206"].verdict.status in (WARNING, FAILURE), found["DR206"].verdict.measured


def test_a_server_that_refuses_writes_without_replicas_is_found(port: int) -> None:
    ask(port).config_set("min-replicas-to-write", "1")
    try:
        found = results(examined(SOUND, url=f"redis://{HOST}:{port}"))
    finally:
        ask(port).config_set("min-replicas-to-write", "0")

    assert found["DR207"].verdict.status is FAILURE
    assert "0 replicas online, writes require 1" in found["DR207"].verdict.measured


def test_an_append_only_file_that_cannot_be_rewritten_is_found(tmp_path: Path) -> None:
    with running(tmp_path / "server", "--appendonly", "yes") as port:
        wait_until(lambda: ask(port).ping())
        shutil.rmtree(tmp_path / "server")
        with suppress(redis.ResponseError):
            ask(port).bgrewriteaof()
        wait_until(lambda: ask(port).info("persistence")["aof_last_bgrewrite_status"] == "err")

        found = results(examined(SOUND, url=f"redis://{HOST}:{port}"))

    assert found["DR204"].verdict.status is FAILURE


def test_a_server_that_other_hosts_reach_without_a_password_is_found(port: int) -> None:
    address = _own_address()
    server = ask(port)
    server.config_set("bind", f"{HOST} {address}")
    try:
        protected = results(examined(SOUND, url=f"redis://{HOST}:{port}"))["DR210"]
        server.config_set("protected-mode", "no")
        found = results(examined(SOUND, url=f"redis://{HOST}:{port}"))["DR210"]
        by_address = results(examined(SOUND, url=f"redis://{address}:{port}"))["DR210"]
    finally:
        server.config_set("protected-mode", "yes")
        server.config_set("bind", HOST)

    assert protected.verdict.status is Status.OK
    assert found.verdict.status is WARNING
    assert "from other hosts" in found.verdict.measured
    assert by_address.verdict.status is WARNING


def _own_address() -> str:
    try:
        return own_address()
    except OSError:
        pytest.skip("this host has no address of its own")


def test_a_server_that_is_set_up_well_passes(port: int) -> None:
    examination = examined(SOUND, url=f"redis://{HOST}:{port}")
    # How quickly a busy machine answers says nothing about the server.
    found = results(_changed(latency_ms=5.0)(examination))

    redis_checks = [each for code, each in found.items() if code.startswith("DR2")]
    assert not [each for each in redis_checks if each.verdict.status is not Status.OK]


def test_a_server_that_hides_its_settings_is_examined_all_the_same(port: int) -> None:
    ask(port).acl_setuser("app", enabled=True, passwords=["+s3cret"], commands=["+@all", "-config"],
                          keys=["*"], channels=["*"])  # fmt: skip
    ask(port).config_set("appendonly", "no")
    try:
        found = results(examined(SOUND, url=f"redis://app:s3cret@{HOST}:{port}"))
    finally:
        ask(port).config_set("appendonly", "yes")
        ask(port).acl_deluser("app")

    assert found["DR201"].verdict.status is Status.OK
    assert found["DR204"].verdict.status is WARNING
    assert "does not report" in found["DR211"].verdict.measured
    assert found["DR210"].verdict.measured == "password used"


def test_a_server_that_does_not_answer_fails_and_the_rest_is_skipped() -> None:
    url = f"redis://{HOST}:{free_port()}"

    found = results(examined(SOUND, url=url))

    assert found["DR201"].verdict.status is FAILURE
    assert "cannot reach" in found["DR201"].verdict.measured
    assert {found[code].verdict.status for code in ("DR203", "DR401", "DR501")} == {Status.SKIPPED}
    assert found["DR101"].verdict.status is Status.OK


def _found_through(port: int, on_request: Callable[[bytes], bool]) -> dict[str, Result]:
    """The results for a server behind a proxy that calls `on_request` with each request."""
    proxy = Proxy(port, on_request=on_request)
    try:
        return results(examined(SOUND, url=f"redis://{HOST}:{proxy.port}"))
    finally:
        proxy.close()


def test_a_slow_way_to_the_server_is_found(port: int) -> None:
    def delay(_: bytes) -> bool:
        sleep(0.03)
        return True

    found = _found_through(port, delay)

    # A failure from 250 ms on, which the proxy may take on a busy machine.
    assert found["DR208"].verdict.status in (WARNING, FAILURE)
    assert found["DR210"].verdict.status is Status.OK


def test_a_pause_is_not_taken_for_a_wrong_clock(port: int) -> None:
    paused: list[bytes] = []

    def pause_once(request: bytes) -> bool:
        if b"TIME" in request and not paused:
            paused.append(request)
            sleep(2.2)
        return True

    found = _found_through(port, pause_once)

    assert paused
    assert found["DR209"].verdict.status is Status.OK, found["DR209"].verdict.measured


def test_a_replica_is_no_server_to_write_to_and_its_lag_is_found(port: int, tmp_path: Path) -> None:
    arguments = ("--replicaof", HOST, str(port))
    with running(tmp_path / "replica", *arguments) as replica:
        wait_until(lambda: ask(replica).info("replication")["master_link_status"] == "up")
        of_replica = results(examined(SOUND, url=f"redis://{HOST}:{replica}"))
        wait_until(lambda: ask(port).info("replication")["slave0"]["state"] == "online")
        examination = examined(SOUND, url=f"redis://{HOST}:{port}")
        assert examination.live is not None
        [known] = examination.live.server.replicas
        behind = results(_changed(replicas=(replace(known, lag_s=40),))(examination))

    assert of_replica["DR207"].verdict.status is FAILURE
    assert results(examination)["DR207"].verdict.status is Status.OK
    assert behind["DR207"].verdict.status is WARNING
