from __future__ import annotations

import os
import signal
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bananas_topology.client import Client
from bananas_topology.errors import JobFailed
from bananas_topology.jobs.bundled_server import BundledServer
from bananas_topology.jobs.connection import connect
from tests.jobs.servers import free_port
from tests.test_liveness import check_liveness
from tests.waiting import wait_for
from tests.worker.support import Gate, Starter

#: Names that existing dashboards use.
NAMES = {
    "bananas_jobs_enqueued_total",
    "bananas_jobs_completed_total",
    "bananas_jobs_failed_total",
    "bananas_job_duration_seconds_bucket",
    "bananas_job_wait_seconds_bucket",
    "bananas_queue_depth",
    "bananas_processing_queue_depth",
    "bananas_dead_letter_queue_depth",
    "bananas_worker_active",
    "bananas_worker_total",
    "bananas_worker_utilization",
    "bananas_error_rate",
    "bananas_scheduler_up",
}


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def _samples(text: str) -> dict[tuple[str, str], float]:
    """The values by name and job type (or priority)."""
    samples: dict[tuple[str, str], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            label = sample.labels.get("job_type") or sample.labels.get("priority") or ""
            samples[sample.name, label] = sample.value
    return samples


def test_a_worker_exports_its_counts(start: Starter, producer: Client) -> None:
    port = free_port()
    worker = start(METRICS_PORT=str(port), WORKER_POOL="fast")
    for _ in range(3):
        producer.wait(producer.enqueue("echo", 1), timeout=10)
    with pytest.raises(JobFailed):
        producer.wait(producer.enqueue("fail", "x"), timeout=10)

    assert get(port, "/livez")[0] == 200
    assert get(port, "/readyz")[0] == 200
    assert get(port, "/nowhere")[0] == 404
    # A job's result is stored a moment before the worker has counted it.
    wait_for(lambda: _samples(get(port, "/metrics")[1]).get(("bananas_jobs_failed_total", "fail")))
    samples = _samples(get(port, "/metrics")[1])

    assert {name for name, _ in samples} >= NAMES
    assert samples["bananas_jobs_completed_total", "echo"] == 3
    assert samples["bananas_job_duration_seconds_count", "echo"] == 3
    assert samples["bananas_job_wait_seconds_count", "echo"] == 3
    assert samples["bananas_jobs_failed_total", "fail"] == 1
    assert samples["bananas_dead_letter_queue_depth", ""] == 1
    assert samples["bananas_queue_depth", "high"] == 0
    assert samples["bananas_worker_total", ""] == 10
    assert 'pool="fast"' in get(port, "/metrics")[1]
    assert worker.end() == 0


def test_a_port_in_use_is_reported_in_one_line(start: Starter) -> None:
    port = free_port()
    start(METRICS_PORT=str(port))

    second = start(ready=False, METRICS_PORT=str(port))

    assert second.process.wait(20) == 1
    [line] = second.text().splitlines()
    assert line == (
        f"error: METRICS_PORT is {port}: cannot listen on it: Address already in use; "
        "set another port, or stop the process that uses it"
    )


def test_a_worker_stays_alive_but_not_ready_while_the_server_stalls(
    start: Starter, tmp_path: Path, gate: Gate
) -> None:
    port, file = free_port(), tmp_path / "alive"
    with BundledServer(tmp_path / "server", durable=False) as server:
        url = server.start()
        with connect(url) as client:
            info: Any = client.info("server")
        worker = start(REDIS_URL=url, METRICS_PORT=str(port), LIVENESS_FILE=str(file))
        with Client(url, key_prefix=start.prefix) as producer:
            running = producer.enqueue("hold", gate.payload)
            gate.wait_for(1)

            os.kill(info["process_id"], signal.SIGSTOP)
            try:
                gate.open()
                worker.wait_for_log("connection lost", within_s=60)

                # It is logged a moment before the probes know.
                wait_for(lambda: get(port, "/readyz")[0] == 503)
                assert get(port, "/livez")[0] == 200
                assert check_liveness(file).returncode == 0
                # Metrics that need no server are still served.
                assert "bananas_worker_total" in get(port, "/metrics")[1]
            finally:
                os.kill(info["process_id"], signal.SIGCONT)

            assert producer.wait(running, timeout=20) == "done"
            assert producer.wait(producer.enqueue("echo", 2), timeout=20) == 2
        worker.wait_for_log("connection restored")
        assert worker.text().count("connection lost") == 1
        assert worker.end() == 0
