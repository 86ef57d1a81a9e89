"""`up --metrics-port`: the metrics of all processes at one port."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bananas_topology import Client
from bananas_topology.local.client import request
from bananas_topology.supervisor.record import RunRecord, find
from tests.cli.running import JOBS, shop_in, succeed
from tests.cli.shell import Shell
from tests.jobs.servers import free_port
from tests.waiting import wait_for

TOPOLOGY = """\
version: 1
name: shop
handlers: [jobs]
redis: {url: "${REDIS_URL}", key_prefix: "${REDIS_KEY_PREFIX}"}
pools:
  worker: {mode: specialized, priorities: [high, normal], concurrency: 3, replicas: 2}
  other: {mode: specialized, priorities: [low], concurrency: 1}
scheduler: {}
api: {port: "${API_PORT}"}
"""

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@pytest.fixture
def shop(shell: Shell) -> Iterator[Shell]:
    shell.environ["API_PORT"] = str(free_port())
    with shop_in(shell, TOPOLOGY, JOBS) as shop:
        yield shop


def _scrape(port: int) -> Samples:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
        text = response.read().decode()
    families = list(text_string_to_metric_families(text))
    assert len({family.name for family in families}) == len(families)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def _value(samples: Samples, name: str, **labels: str) -> float:
    return samples.get((name, tuple(sorted(labels.items()))), 0.0)


def _processes(record: RunRecord) -> list[dict[str, object]]:
    found: list[dict[str, object]] = request(record, "ps")["processes"]
    return found


def test_one_scrape_has_the_metrics_of_all_processes(shop: Shell, producer: Client) -> None:
    port = free_port()
    with shop.start("up", "--metrics-port", str(port), stdout=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: find(shop.directory) or process.poll() is not None, 30)
            record = find(shop.directory)
            assert record is not None
            wait_for(lambda: all(p["state"] == "ready" for p in _processes(record)), 60)
            _check(port, shop, producer, record)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)


def _check(port: int, shop: Shell, producer: Client, record: RunRecord) -> None:
    labels = {"pool": "worker", "job_type": "quick"}

    def completed() -> float:
        return _value(_scrape(port), "bananas_jobs_completed_total", **labels)

    for number in range(20):
        producer.enqueue("quick", number)
    producer.enqueue("fail", priority="low")
    wait_for(lambda: completed() == 20, 20)
    found = _scrape(port)
    assert _value(found, "bananas_job_duration_seconds_count", **labels) == 20
    fail = {"pool": "other", "job_type": "fail"}
    wait_for(lambda: _value(_scrape(port), "bananas_jobs_buried_total", **fail) == 1, 20)
    assert _value(found, "bananas_worker_total", pool="worker") == 6
    assert _value(found, "bananas_worker_ready", pool="worker") == 2
    assert _value(found, "bananas_queue_depth", priority="normal") == 0
    assert _value(found, "bananas_process_ready", pool="api", process="api-0") == 1
    assert _value(found, "bananas_process_memory_bytes", pool="supervisor", process="supervisor")
    body = json.dumps({"name": "quick", "payload": 1}).encode()
    url = f"http://127.0.0.1:{shop.environ['API_PORT']}/jobs"
    post = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(post, timeout=10) as response:
        assert response.status == 202
    wait_for(lambda: completed() == 21, 20)
    # A scrape leaves out an api that does not answer it within a second.
    wait_for(lambda: _value(_scrape(port), "bananas_jobs_enqueued_total", pool="api") == 1)

    # Counters go on when a worker is replaced, and the exit is counted.
    victim = next(p for p in _processes(record) if p["name"] == "worker-0")
    os.kill(int(str(victim["pid"])), signal.SIGKILL)
    exits = {"pool": "worker", "reason": "sigkill"}
    wait_for(lambda: _value(_scrape(port), "bananas_process_exits_total", **exits) == 1, 20)
    wait_for(lambda: _value(_scrape(port), "bananas_worker_ready", pool="worker") == 2, 30)
    assert completed() == 21
    found = _scrape(port)
    restarted = {"pool": "worker", "process": "worker-0"}
    assert _value(found, "bananas_process_restarts_total", **restarted) == 1


def test_an_applied_topology_is_measured_under_its_new_pools(shop: Shell, producer: Client) -> None:
    port = free_port()
    file = shop.directory / "topology.yaml"
    file.write_text(TOPOLOGY.partition("api:")[0])
    succeed(shop, "up", "-d", "--metrics-port", str(port))
    try:
        producer.wait(producer.enqueue("quick", 1), "10s")
        old = {"pool": "worker", "job_type": "quick"}
        wait_for(lambda: _value(_scrape(port), "bananas_jobs_completed_total", **old) == 1)
        file.write_text(file.read_text().replace("  worker:", "  renamed:"))

        succeed(shop, "apply", "--yes")
        producer.wait(producer.enqueue("quick", 1), "10s")

        new = {"pool": "renamed", "job_type": "quick"}
        wait_for(lambda: _value(_scrape(port), "bananas_jobs_completed_total", **new) == 1)
        found = _scrape(port)
        assert _value(found, "bananas_jobs_completed_total", **old) == 1
        assert _value(found, "bananas_worker_ready", pool="renamed") == 2
        assert ("bananas_worker_ready", (("pool", "worker"),)) not in found
        assert {dict(key[1])["pool"] for key in found if key[0] == "bananas_process_ready"} == {
            "renamed",
            "other",
            "scheduler",
        }
    finally:
        succeed(shop, "down")


def test_a_port_in_use_is_an_error_of_one_line(shop: Shell) -> None:
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = str(taken.getsockname()[1])

        result = shop("up", "--metrics-port", port)

    assert result.returncode == 1
    assert f"error: cannot serve metrics on port {port}: Address already in use" in result.stderr
