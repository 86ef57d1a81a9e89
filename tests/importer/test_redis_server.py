"""Which Redis of the files, if any, becomes the managed one, and what its command says."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import yaml

from bananas_topology.importer.importer import Imported, import_files
from bananas_topology.importer.status import Status


def _import(*texts: str) -> Imported:
    return import_files([(f"{at}.yml", text) for at, text in enumerate(texts)], "shop")


def _redis(imported: Imported) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(imported.text).get("redis", {})
    return found


def _note(imported: Imported, value: str) -> tuple[Status, str]:
    [found] = [each for each in imported.statuses if each.value == value]
    return found.status, found.note


def _compose(url: str, servers: str = 'redis: {image: "redis:7.2.4"}') -> str:
    worker = f"w: {{image: x, environment: {{WORKER_MODE: thin, REDIS_URL: {url!r}}}}}"
    return f"services:\n  {servers}\n  {worker}\n"


@pytest.mark.parametrize(
    ("url", "servers"),
    [
        ("redis://cache:6379", 'cache: {image: "valkey/valkey:9.0.1"}'),
        ("redis://:pw@queue:6379/0", 'queue: {image: "redis:7.2.4", container_name: other}'),
        ("redis://other", 'queue: {image: "redis:7.2.4", container_name: other}'),
        ("redis://alias", 'q: {image: "redis:7.2", networks: {n: {aliases: [alias]}}}'),
        ("${REDIS_URL:-redis://redis:6379/0}", 'redis: {image: "redis:7.2.4"}'),
        ("redis://${HOST:-redis}:${PORT:-6379}", 'redis: {image: "redis:7.2.4"}'),
    ],
)
def test_a_server_of_the_files_is_managed_whatever_its_name(url: str, servers: str) -> None:
    imported = _import(_compose(url, servers))

    assert "url" not in _redis(imported)
    assert "image" in _redis(imported)["managed"]


@pytest.mark.parametrize(
    "url",
    ["redis://redis.prod.example.com:6379/4", "rediss://my-redis:6380", "redis://redis.svc.x"],
)
def test_an_external_server_stays_external_beside_one_in_the_files(url: str) -> None:
    imported = _import(_compose(url))

    assert _redis(imported) == {"url": url}
    assert _note(imported, "redis:7.2.4")[0] is Status.DROPPED
    assert any("not the server in use" in notice for notice in imported.notices)


def test_of_two_servers_the_one_that_is_used_is_managed() -> None:
    servers = 'a: {image: "redis:6.2.1"}\n  b: {image: "redis:7.2.4"}'

    imported = _import(_compose("redis://b", servers))

    assert _redis(imported)["managed"]["image"] == "redis:7.2.4"
    assert _note(imported, "redis:6.2.1")[0] is Status.DROPPED


def test_files_are_imported_in_any_order() -> None:
    parts = [
        'services: {redis: {image: "redis:7.2.4"}}',
        'services: {w: {environment: {WORKER_MODE: thin, REDIS_URL: "redis://redis"}}}',
    ]

    texts = [_import(*each).text.partition("version")[2] for each in itertools.permutations(parts)]

    assert texts[0] == texts[1]
    assert "url" not in texts[0]


def test_a_database_that_the_managed_server_does_not_use_is_reported() -> None:
    for url in ("redis://redis:6379/3", "redis://redis:6379?db=3"):
        assert _note(_import(_compose(url)), url)[0] is Status.DROPPED


def test_tools_for_redis_are_not_servers() -> None:
    for image in (
        "rediscommander/redis-commander:1.2",
        "redis/redisinsight:2.0",
        "redis-exporter:1.0",
    ):
        imported = _import(_compose("redis://redis", f'ui: {{image: "{image}"}}'))

        assert _redis(imported) == {"url": "redis://redis"}


def test_files_without_any_server_get_a_notice() -> None:
    imported = _import("services: {w: {environment: [WORKER_MODE=thin]}}")

    assert any("no Redis and no REDIS_URL" in notice for notice in imported.notices)


POD = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: w, namespace: shop}
spec:
  template:
    spec:
      containers:
      - {name: w, image: x, env: [{name: WORKER_MODE, value: thin}, %s]}
"""

SERVER = """
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: queue, namespace: shop}
spec:
  template:
    metadata: {labels: {app: q}}
    spec: {containers: [{name: q, image: "redis:7.2.4"}]}
---
apiVersion: v1
kind: Service
metadata: {name: jobs, namespace: shop}
spec: {selector: {app: q}, ports: [{port: 6379}]}
"""


def _pod(url: str) -> str:
    return POD % f"{{name: REDIS_URL, value: {url!r}}}"


@pytest.mark.parametrize(
    ("host", "is_managed"),
    [
        ("jobs", True),
        ("jobs.shop", True),
        ("jobs.shop.svc", True),
        ("jobs.shop.svc.cluster.local.", True),
        ("queue-0.jobs.shop.svc.cluster.local", True),
        ("jobs.other.svc.cluster.local", False),
        ("jobs.example.com", False),
        ("redis", False),
    ],
)
def test_a_server_is_reached_by_the_names_of_its_service(host: str, is_managed: bool) -> None:
    imported = _import(_pod(f"redis://{host}:6379") + SERVER)

    assert ("url" not in _redis(imported)) is is_managed
    assert (_note(imported, "redis:7.2.4")[0] is Status.KEPT) is is_managed


@pytest.mark.parametrize(
    "entry",
    [
        "{name: REDIS_URL, valueFrom: {configMapKeyRef: {name: facts, key: redis}}}",
        "{name: P, valueFrom: {secretKeyRef: {name: s, key: p}}}, "
        '{name: REDIS_URL, value: "redis://:$(P)@redis.example.com"}',
    ],
)
def test_a_url_that_is_not_in_the_files_is_of_an_external_server(entry: str) -> None:
    imported = _import(POD % entry)

    assert _redis(imported) == {"url": "${REDIS_URL}"}
    assert "add it there" in _note(imported, "REDIS_URL")[1]


def _command(command: str) -> Imported:
    return _import(
        _compose("redis://redis", f'redis: {{image: "redis:7.2.4", command: {command}}}')
    )


@pytest.mark.parametrize(
    ("command", "dropped"),
    [
        ("[redis-server, --appendonly, yes, --maxmemory, 1gb]", []),
        ("redis-server --appendonly yes --requirepass $PASSWORD", []),
        ("sh -c 'exec redis-server --appendonly yes'", []),
        ("[redis-server, --appendonly, yes, --databases, 32]", ["--databases", "32"]),
        ("[redis-server, --appendonly, yes, --save, 60, 1]", ["--save", "60", "1"]),
        ("[redis-server, /etc/redis.conf, --appendonly, yes]", ["/etc/redis.conf"]),
    ],
)
def test_options_that_the_managed_server_does_not_have_are_dropped(
    command: str, dropped: list[str]
) -> None:
    statuses = [each for each in _command(command).statuses if ".command" in each.place]

    assert [each.value for each in statuses if each.status is Status.DROPPED] == dropped
    assert not [each for each in statuses if each.status is Status.MISTAKE]


def test_a_policy_that_evicts_jobs_is_a_mistake_and_no_option_that_is_dropped() -> None:
    imported = _command("[redis-server, --appendonly, yes, --maxmemory-policy, allkeys-lru]")

    statuses = [each.status for each in imported.statuses if ".command" in each.place]
    assert statuses.count(Status.MISTAKE) == 1
    assert Status.DROPPED not in statuses


def test_a_variable_with_a_memory_limit_counts_with_its_default() -> None:
    imported = _command("[redis-server, --appendonly, yes, --maxmemory, '${MEMORY:-3gb}']")

    assert _redis(imported)["managed"].get("memory", "4Gi") == "4Gi"


@pytest.mark.parametrize("memory", ["mem_limit: 3g", "deploy: {resources: {limits: {memory: 3g}}}"])
def test_the_memory_of_the_server_is_kept(memory: str) -> None:
    imported = _import(_compose("redis://redis", f'redis: {{image: "redis:7.2.4", {memory}}}'))

    assert _redis(imported)["managed"]["memory"] == "3Gi"


@pytest.mark.parametrize(
    ("volume", "is_new"), [("redis-data:/data", False), ("jobs:/data", True), ("/srv:/data", True)]
)
def test_data_that_the_managed_server_does_not_have_gets_a_notice(
    volume: str, is_new: bool
) -> None:
    server = f'redis: {{image: "redis:7.2.4", volumes: ["{volume}"]}}'

    imported = _import(_compose("redis://redis", server))

    assert any("copy the data" in notice for notice in imported.notices) is is_new
