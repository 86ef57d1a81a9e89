"""The rendered unit, run by a real systemd."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bananas_topology.render.systemd.target import SystemdTarget
from bananas_topology.spec.load import load
from tests.render.systemd_host import SystemdHost, can_run, running_systemd
from tests.waiting import wait_for

pytestmark = pytest.mark.skipif(not can_run(), reason="requires root, systemd and namespaces")

TOPOLOGY = """\
version: 1
name: shop
handlers: [jobs]
logging: {file: {enabled: true}}
pools:
  worker: {mode: thin, concurrency: 2, secrets: [PASSWORD]}
"""

JOBS = """\
import os
import time

from bananas_topology import job

assert os.environ["PASSWORD"] == "s3cret"
while os.path.exists("hold"):
    time.sleep(0.01)


@job("quick")
def quick(payload: int) -> int:
    return payload
"""

UNIT = "bananas-shop.service"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("systemd")


@pytest.fixture(scope="module")
def host(directory: Path) -> Iterator[SystemdHost]:
    """A systemd with the unit, for an existing user and this interpreter."""
    shop = directory / "srv" / "bananas-shop"
    shop.mkdir(parents=True)
    (shop / "topology.yaml").write_text(TOPOLOGY)
    (shop / "jobs.py").write_text(JOBS)
    bananas = shop / ".venv" / "bin" / "bananas"
    bananas.parent.mkdir(parents=True)
    bananas.write_text('#!/bin/sh\nexec /srv/python -m bananas_topology "$@"\n')
    bananas.chmod(0o755)
    secrets = directory / "srv" / "shop.env"
    secrets.write_text("PASSWORD=s3cret\n")
    secrets.chmod(0o600)
    [file] = SystemdTarget().render(load(shop / "topology.yaml", {})).files
    text = file.text.replace("/etc/bananas-shop.env", "/srv/shop.env")
    text = re.sub(r"^(User|Group)=bananas$", r"\1=daemon", text, flags=re.MULTILINE)
    text = text.replace("-o bananas -g bananas", "-o daemon -g daemon")
    (directory / "units").mkdir()
    (directory / "units" / UNIT).write_text(text)
    _drop_in(directory, "StandardOutput=append:/srv/output", "StandardError=inherit")
    with running_systemd(directory) as host:
        yield host


def _drop_in(directory: Path, *settings: str) -> None:
    """Override settings of the service."""
    path = directory / "units" / f"{UNIT}.d" / f"{settings[0].partition('=')[0]}.conf"
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(("[Service]", *settings, "")))


def _apply_again(host: SystemdHost, before: str, after: str) -> int:
    """Edit the topology and reload the service; returns the exit code of that."""
    edited = host("sed", "-i", f"s/{before}/{after}/", "/srv/bananas-shop/topology.yaml")
    assert edited.returncode == 0, edited.stderr
    return host("systemctl", "reload", UNIT).returncode


def _output(host: SystemdHost, text: str) -> None:
    """Wait for a text in the output of the service."""
    wait_for(lambda: text in host("cat", "/srv/output").stdout)


def _status(host: SystemdHost, count: int) -> None:
    """Wait for the status that systemd shows."""
    wait_for(lambda: host.show(UNIT, "StatusText")["StatusText"].startswith(f"{count} of {count}"))


def test_the_service_starts_reloads_and_stops(host: SystemdHost) -> None:
    started = host("systemctl", "start", UNIT)
    assert started.returncode == 0, host("cat", "/srv/output").stdout
    pid = host.show(UNIT, "MainPID")["MainPID"]
    _status(host, 1)
    assert "worker ready" in host("cat", "/var/log/bananas/worker.log").stdout

    assert _apply_again(host, "concurrency: 2", "concurrency: 2, replicas: 2") == 0
    _status(host, 2)
    assert _apply_again(host, "jobs", "missing") == 1
    _status(host, 2)
    _output(host, "rolled back")
    assert _apply_again(host, "missing", "jobs") == 0

    found = host.show(UNIT, "MainPID", "ActiveState", "NRestarts")
    assert found == {"MainPID": pid, "ActiveState": "active", "NRestarts": "0"}
    assert host("systemctl", "stop", UNIT).returncode == 0
    assert host.show(UNIT, "Result", "ExecMainStatus") == {
        "Result": "success",
        "ExecMainStatus": "0",
    }


def test_systemd_shows_that_a_signalled_service_reloads(host: SystemdHost) -> None:
    assert host("systemctl", "start", UNIT).returncode == 0
    host("sed", "-i", "s/concurrency: 2/concurrency: 3/", "/srv/bananas-shop/topology.yaml")

    host("touch", "/srv/bananas-shop/hold")

    host("systemctl", "kill", "--kill-who=main", "--signal=HUP", UNIT)

    wait_for(lambda: host.show(UNIT, "ActiveState")["ActiveState"] == "reloading")
    host("rm", "/srv/bananas-shop/hold")
    wait_for(lambda: host.show(UNIT, "ActiveState")["ActiveState"] == "active")
    _output(host, "apply topology.yaml finished")
    assert host("systemctl", "stop", UNIT).returncode == 0


def test_a_stalled_supervisor_is_replaced(host: SystemdHost, directory: Path) -> None:
    _drop_in(directory, "WatchdogSec=3")
    assert host("systemctl", "daemon-reload").returncode == 0
    assert host("systemctl", "start", UNIT).returncode == 0
    pid = host.show(UNIT, "MainPID")["MainPID"]

    assert host("systemctl", "kill", "--kill-who=main", "--signal=STOP", UNIT).returncode == 0

    wait_for(lambda: host.show(UNIT, "NRestarts")["NRestarts"] != "0", 90)
    wait_for(lambda: host.show(UNIT, "ActiveState")["ActiveState"] == "active", 30)
    assert host.show(UNIT, "MainPID")["MainPID"] != pid
    assert host("systemctl", "stop", UNIT).returncode == 0
