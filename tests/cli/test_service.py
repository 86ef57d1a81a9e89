"""`up` as a service: what it tells systemd."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bananas_topology import Client
from bananas_topology.system.notify import VARIABLE, NotifySocket
from tests.cli.running import JOBS, TOPOLOGY
from tests.waiting import wait_for


class Service:
    """`up` as a service manager runs it: everything that it has reported, by field."""

    def __init__(self, process: subprocess.Popen[bytes], receiver: NotifySocket) -> None:
        self.process = process
        self._receiver = receiver
        self.received: dict[str, list[str]] = {}

    def has_reported(self, name: str, pattern: str = "1") -> bool:
        for message in self._receiver.receive():
            assert message.pid == self.process.pid
            for field, value in message.fields.items():
                self.received.setdefault(field, []).append(value)
        return any(re.search(pattern, value) for value in self.received.get(name, ()))


@pytest.fixture
def service(tmp_path: Path, server_url: str, prefix: str) -> Iterator[Service]:
    (tmp_path / "topology.yaml").write_text(TOPOLOGY)
    (tmp_path / "jobs.py").write_text(JOBS)
    (tmp_path / "env").write_text(f"REDIS_URL={server_url}\nREDIS_KEY_PREFIX={prefix}\n")
    argv = [sys.executable, "-m", "bananas_topology", "up", "--env-file", "env"]
    with NotifySocket(tmp_path / "notify") as receiver:
        environ = os.environ | {VARIABLE: str(receiver.path)}
        with subprocess.Popen(
            argv,
            cwd=tmp_path,
            env=environ,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as process:
            service = Service(process, receiver)
            try:
                wait_for(lambda: service.has_reported("READY"), 30)
                yield service
            finally:
                process.kill()


def test_up_reports_readiness_counts_and_its_stop(service: Service, producer: Client) -> None:
    producer.enqueue("quick", 1)
    counts = r"2 of 2 processes ready, \d of 6 slots busy, 1 jobs completed, 0 failed"
    wait_for(lambda: service.has_reported("STATUS", counts))
    assert service.has_reported("WATCHDOG")
    service.process.send_signal(signal.SIGTERM)
    wait_for(lambda: service.has_reported("STOPPING"))
    # A success, which is not restarted.
    assert service.process.wait(20) == 0


@pytest.mark.parametrize("replicas", ["1", "nonsense"])
def test_up_reports_when_it_reloads_and_when_that_is_over(
    service: Service, tmp_path: Path, replicas: str
) -> None:
    (tmp_path / "topology.yaml").write_text(
        TOPOLOGY.replace("replicas: 2", f"replicas: {replicas}")
    )
    service.received.clear()
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000

    service.process.send_signal(signal.SIGHUP)

    wait_for(lambda: service.has_reported("RELOADING"))
    assert int(service.received["MONOTONIC_USEC"][0]) >= before
    service.received.clear()
    wait_for(lambda: service.has_reported("READY"))
    service.received.clear()
    count = 1 if replicas == "1" else 2
    wait_for(lambda: service.has_reported("STATUS", f"{count} of {count} processes ready"))
    assert "RELOADING" not in service.received
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(20) == 0


def test_a_reload_that_is_asked_for_during_another_is_not_lost(
    service: Service, tmp_path: Path
) -> None:
    file = tmp_path / "topology.yaml"
    for replicas in (3, 1):
        file.write_text(TOPOLOGY.replace("replicas: 2", f"replicas: {replicas}"))
        service.received.clear()
        service.process.send_signal(signal.SIGHUP)
        wait_for(lambda: service.has_reported("RELOADING"))

    wait_for(lambda: service.has_reported("READY"))
    wait_for(lambda: service.has_reported("STATUS", "1 of 1 processes ready"))
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(20) == 0
