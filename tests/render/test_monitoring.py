"""Alerts and autoscalers use only metrics that a worker or the api really exports."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from bananas_topology.render.kubernetes.hpa import QUEUE_DEPTH_METRIC
from tests.conftest import MakeTopology
from tests.jobs.servers import free_port
from tests.render.cluster import objects_of
from tests.waiting import wait_for

TOPOLOGY = """\
handlers: [shop.jobs]
pools:
  worker: {mode: default}
scheduler: {}
api: {secrets: [API_TOKEN]}
kubernetes: {monitoring: prometheus-operator}
"""

JOBS = """\
from bananas_topology import job


@job("greet")
def greet(payload):
    return None
"""


@pytest.fixture
def scraped(server_url: str, prefix: str, tmp_path: Path) -> Iterator[str]:
    """The metrics of a ready worker with a scheduler."""
    port = free_port()
    (tmp_path / "shop_jobs.py").write_text(JOBS, "utf-8")
    process = subprocess.Popen(
        [sys.executable, "-m", "bananas_topology.worker"],
        env={
            "PATH": os.environ["PATH"],
            "REDIS_URL": server_url,
            "REDIS_KEY_PREFIX": prefix,
            "WORKER_MODE": "thin",
            "WORKER_HANDLERS": "shop_jobs",
            "PYTHONPATH": str(tmp_path),
            "METRICS_PORT": str(port),
        },
        stdout=subprocess.DEVNULL,
    )
    try:
        _wait_until_ready(port, process)
        yield _get(port, "/metrics")
    finally:
        process.terminate()
        process.wait()


def test_alerts_use_metrics_that_workers_export(make_topology: MakeTopology, scraped: str) -> None:
    objects = objects_of(make_topology(TOPOLOGY))
    (rule,) = (each for each in objects if each["kind"] == "PrometheusRule")
    (group,) = rule["spec"]["groups"]

    used = set(re.findall(r"bananas_\w+", json.dumps([each["expr"] for each in group["rules"]])))
    exported = set(re.findall(r"# TYPE (\w+)", scraped))

    assert used
    assert used | {QUEUE_DEPTH_METRIC} <= exported
    # With the labels and ranges that the alerts expect.
    assert re.search(r'^bananas_worker_utilization\{pool="default"\} 0\.0$', scraped, re.M)
    assert re.search(r'^bananas_queue_depth\{priority="high"\} 0\.0$', scraped, re.M)
    assert re.search(r"^bananas_scheduler_up\{.*\} 1\.0$", scraped, re.M)


def test_alerts_have_the_documented_thresholds(make_topology: MakeTopology) -> None:
    objects = objects_of(make_topology(TOPOLOGY))
    (rule,) = (each for each in objects if each["kind"] == "PrometheusRule")

    alerts = {each["alert"]: each for each in rule["spec"]["groups"][0]["rules"]}

    assert alerts["BananasQueueDeep"]["expr"].endswith("> 1000")
    assert alerts["BananasQueueDeep"]["for"] == "5m"
    assert alerts["BananasWorkersBusy"]["expr"].endswith("> 0.8")
    assert alerts["BananasErrorRateHigh"]["expr"].endswith("> 0.05")
    assert alerts.keys() > {"BananasNoScheduler", "BananasDeadJobsGrowing"}


def test_both_workers_and_the_api_are_scraped(make_topology: MakeTopology) -> None:
    objects = objects_of(make_topology(TOPOLOGY))
    (monitor,) = (each for each in objects if each["kind"] == "PodMonitor")
    wanted = monitor["spec"]["selector"]["matchLabels"].items()

    scraped = {
        port["name"]
        for each in objects
        if each["kind"] == "Deployment"
        and wanted <= each["spec"]["template"]["metadata"]["labels"].items()
        for container in each["spec"]["template"]["spec"]["containers"]
        for port in container["ports"]
    }

    endpoints = {each["port"]: each for each in monitor["spec"]["podMetricsEndpoints"]}
    assert endpoints.keys() == scraped
    assert "authorization" not in endpoints["metrics"]
    credentials = endpoints["http"]["authorization"]["credentials"]
    assert credentials == {"name": "shop-secrets", "key": "API_TOKEN"}
    # Scraped once: by the monitor, not by annotations as well.
    assert "prometheus.io" not in json.dumps(objects)


def _wait_until_ready(port: int, process: subprocess.Popen[bytes]) -> None:
    def is_ready() -> bool:
        assert process.poll() is None, "the worker has exited"
        with suppress(OSError):
            return bool(_get(port, "/readyz"))
        return False

    wait_for(is_ready, 60)


def _get(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as response:
        return str(response.read().decode())


def test_prometheus_sends_the_read_only_token_if_there_is_one(make_topology: MakeTopology) -> None:
    text = TOPOLOGY.replace("secrets: [API_TOKEN]", "secrets: [API_READ_TOKEN]")
    assert text != TOPOLOGY
    objects = objects_of(make_topology(text))
    (monitor,) = (each for each in objects if each["kind"] == "PodMonitor")
    (api,) = (
        each
        for each in objects
        if each["metadata"]["name"].endswith("api") and each["kind"] == "Deployment"
    )

    [_, endpoint] = monitor["spec"]["podMetricsEndpoints"]
    reference = endpoint["authorization"]["credentials"]
    assert reference["key"] == "API_READ_TOKEN"
    [container] = api["spec"]["template"]["spec"]["containers"]
    variables = {each["name"]: each for each in container["env"]}
    assert variables["API_READ_TOKEN"]["valueFrom"]["secretKeyRef"] == reference
