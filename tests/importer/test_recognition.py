"""Which services are processes of Bananas, and which files describe one deployment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from bananas_topology.errors import ImportRefused
from bananas_topology.importer.importer import import_files
from bananas_topology.spec.load import check_bytes

#: As in the root of the Go repository: processes differ in their image only.
ROOT = """
services:
  redis: {image: "redis:7-alpine"}
  api:
    build: {context: ., dockerfile: docker/Dockerfile.api}
    ports: ["8080:8080"]
    depends_on: {redis: {condition: service_healthy}}
  worker:
    build: {context: ., dockerfile: docker/Dockerfile.worker}
    environment: [REDIS_URL=redis://redis:6379]
    deploy: {replicas: 3}
  scheduler:
    build: {context: ., dockerfile: docker/Dockerfile.scheduler}
    environment: [REDIS_URL=redis://redis:6379]
"""


def _import(*texts: str) -> dict[str, Any]:
    text = import_files([(f"{at}.yml", each) for at, each in enumerate(texts)], "shop").text
    result = check_bytes(text.encode(), Path("topology.yaml"), {})
    assert result.topology is not None, result.diagnostics
    topology: dict[str, Any] = yaml.safe_load(text)
    return topology


def test_processes_are_recognized_by_their_dockerfile() -> None:
    topology = _import(ROOT)

    assert topology["pools"] == {"worker": {"replicas": 3}}
    assert topology["scheduler"] == {}
    assert topology["api"] == {"publish": 8080}
    assert "redis" not in topology


def _expect_roles(fields: str) -> None:
    """Import a service of each role, named in its fields in place of ``%s``."""
    services = "\n".join(
        f"  {name}: {{{fields % role}}}"
        for name, role in (("jobs", "worker"), ("cron", "scheduler"), ("web", "api"))
    )

    topology = _import(f"services:\n{services}\n")

    assert list(topology["pools"]) == ["jobs"]
    assert (topology["scheduler"], topology["api"]) == ({}, {})


@pytest.mark.parametrize(
    "command",
    [
        *("/app/%s", "[/app/%s]", "/usr/local/bin/%s --verbose", "./%s", "bin/%s"),
        "air -c docker/.air.%s.toml",
        *("/app/bananas-%s", "sh -c '/app/%s'", "[sh, -c, 'exec ./%s']", "tini -- /app/%s"),
    ],
)
def test_processes_are_recognized_by_the_command_of_the_go_version(command: str) -> None:
    _expect_roles("image: reg/x:1, command: " + command)


@pytest.mark.parametrize(
    "build",
    [
        *("{dockerfile: %s.Dockerfile}", "{dockerfile: docker/%s/Dockerfile}", "{target: %s}"),
        "{context: ., dockerfile: Dockerfile-%s}",
    ],
)
def test_processes_are_recognized_by_how_their_image_is_built(build: str) -> None:
    _expect_roles("build: " + build)


@pytest.mark.parametrize(
    "what",
    ["command: /app/%s", "build: {dockerfile: Dockerfile.%s}", "image: acme/bananas-%s:1"],
)
def test_variables_that_all_processes_share_do_not_make_all_of_them_workers(what: str) -> None:
    shared = "{WORKER_HANDLERS: jobs, WORKER_CONCURRENCY: 5, API_PORT: 8080}"
    services = "\n".join(
        f"  {name}: {{{what % role}, environment: {shared}}}"
        for name, role in (("jobs", "worker"), ("cron", "scheduler"), ("web", "api"))
    )

    topology = _import(f"services:\n{services}\n")

    assert list(topology["pools"]) == ["jobs"]
    assert "scheduler" in topology
    assert "api" in topology


def test_a_service_called_api_is_the_api_unless_it_has_a_mode() -> None:
    for variables, expected in (("WORKER_CONCURRENCY: 5", True), ("WORKER_MODE: thin", False)):
        environment = f"{{REDIS_URL: 'redis://r', {variables}}}"
        worker = "w: {environment: {WORKER_MODE: thin}}"

        topology = _import(f"services:\n  {worker}\n  api: {{environment: {environment}}}\n")

        assert ("api" in topology) is expected


def test_a_command_that_only_mentions_a_worker_is_not_one_of_bananas() -> None:
    services = "  w: {image: x, command: celery worker}\n  v: {image: x, command: run worker.py}\n"

    with pytest.raises(ImportRefused, match="not a Bananas deployment"):
        _import(f"services:\n{services}")


def test_a_file_with_only_a_scheduler_becomes_a_pool() -> None:
    topology = _import(
        "services: {s: {environment: [WORKER_MODE=scheduler-only, SCHEDULER_INTERVAL=2s]}}"
    )

    assert topology["pools"] == {
        "scheduler-only": {"mode": "scheduler-only", "scheduler_interval": "2s"}
    }


def test_further_schedulers_become_pools_without_what_schedulers_ignore() -> None:
    variables = "{WORKER_MODE: scheduler-only, WORKER_CONCURRENCY: 5, ENABLE_SCHEDULER: false, %s}"
    services = "\n".join(
        f"  {name}: {{environment: {variables % f'SCHEDULER_INTERVAL: {interval}'}, "
        "stop_grace_period: 2m}"
        for name, interval in (("a", "2s"), ("b", "5s"))
    )

    topology = _import(f"services:\n{services}\n")

    assert topology["scheduler"] == {"interval": "2s"}
    assert topology["pools"] == {"b": {"mode": "scheduler-only", "scheduler_interval": "5s"}}


@pytest.mark.parametrize("variable", ["WORKER_MODE=specialized", "ENABLE_SCHEDULER=false"])
def test_a_deployment_without_a_scheduler_gets_one(variable: str) -> None:
    text = f"services: {{w: {{environment: [{variable}, WORKER_HANDLERS=jobs]}}}}"
    imported = import_files([("a.yml", text)], "shop")

    assert yaml.safe_load(imported.text)["scheduler"] == {}
    assert any("added `scheduler`" in notice for notice in imported.notices)


def test_names_that_a_topology_does_not_accept_are_changed() -> None:
    service = "{environment: [WORKER_MODE=thin]}"

    pools = _import(f"services: {{Worker_High: {service}, scheduler: {service}}}")["pools"]

    assert list(pools) == ["worker-high", "scheduler-pool"]


def test_alternatives_are_refused() -> None:
    other = ROOT.replace("replicas: 3", "replicas: 5")

    with pytest.raises(ImportRefused, match=r'0\.yml and 1\.yml both define service "redis"'):
        _import(ROOT, other)


def test_compose_files_and_manifests_of_one_deployment_are_refused() -> None:
    manifest = "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}"

    with pytest.raises(ImportRefused, match="import one kind"):
        _import(ROOT, manifest)


def test_limits_at_the_top_of_a_service_and_its_grace_are_kept() -> None:
    service = (
        "{environment: [WORKER_MODE=thin], mem_limit: 512m, mem_reservation: 256m, cpus: 0.5, "
        "stop_grace_period: 10m}"
    )

    assert _import(f"services: {{w: {service}}}")["pools"]["w"] == {
        "mode": "thin",
        "grace": "10m",
        "resources": {
            "requests": {"memory": "256Mi"},
            "limits": {"cpu": "500m", "memory": "512Mi"},
        },
    }
