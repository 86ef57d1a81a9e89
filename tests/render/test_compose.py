from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from bananas_topology.contract.api import API_SETTINGS
from bananas_topology.contract.worker import WORKER_SETTINGS
from bananas_topology.errors import RenderFailed
from bananas_topology.launch import launch_for, launch_for_api
from bananas_topology.render.compose.target import ComposeTarget
from bananas_topology.spec.load import load
from bananas_topology.spec.model import Topology
from bananas_topology.units import parse_duration_ms, parse_memory_bytes
from tests.conftest import MakeTopology
from tests.render.cluster import ALL_TOPOLOGIES
from tests.render.goldens import FOLDER, assert_golden, topology_id

each_topology = pytest.mark.parametrize("path", ALL_TOPOLOGIES, ids=topology_id)

ALL = """\
handlers: [shop.jobs]
pools:
  worker: {mode: default, replicas: 3}
scheduler: {}
"""


def text_of(topology: Topology) -> str:
    (file,) = ComposeTarget().render(topology).files
    return file.text


def services_of(topology: Topology) -> dict[str, dict[str, Any]]:
    services: dict[str, dict[str, Any]] = yaml.safe_load(text_of(topology))["services"]
    return services


def notices_of(topology: Topology) -> str:
    return "\n".join(ComposeTarget().render(topology).notices)


@each_topology
def test_a_topology_renders_to_its_golden(path: Path) -> None:
    assert_golden(ComposeTarget().render(load(path, {})), path, "compose")


def test_goldens_are_valid_by_the_compose_specification() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    goldens = [str(path) for path in FOLDER.joinpath("compose").rglob("*.yaml")]

    done = subprocess.run([*command, *goldens], capture_output=True, text=True, check=False)

    assert len(goldens) == len(ALL_TOPOLOGIES)
    assert done.returncode == 0, done.stdout + done.stderr


def has_compose() -> bool:
    docker = shutil.which("docker")
    return (
        docker is not None
        and not subprocess.run(
            [docker, "compose", "version"], capture_output=True, check=False
        ).returncode
    )


@pytest.mark.skipif(not has_compose(), reason="docker compose is not installed")
def test_docker_compose_accepts_the_goldens() -> None:
    names = ("REDIS_PASSWORD", "REDIS_URL", "API_TOKEN", "SMTP_PASSWORD")
    needed = dict.fromkeys(names, "abc")
    for path in FOLDER.joinpath("compose").rglob("*.yaml"):
        done = subprocess.run(
            ["docker", "compose", "-f", str(path), "config", "-q"],
            env={**os.environ, **needed},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), path


@each_topology
def test_a_worker_gets_the_variables_of_its_launch(path: Path) -> None:
    topology = load(path, {})
    services = services_of(topology)

    for pool in topology.pools:
        launch = launch_for(topology, pool)
        service = services[pool.name]
        given = {
            name: None if text is None else text.replace("$$", "$")
            for name, text in service["environment"].items()
        }
        for name, reference in pool.container.references.items():
            assert given[name] is None or not reference.is_optional
            given[name] = given[name] or "${OPTIONAL:?}"
        for name in (*pool.secrets, *pool.container.references):
            assert re.search(r"\$\{\w+:\?", given.pop(name) or "")
        for name in service["secrets"]:
            assert given.pop(f"{name}_FILE") == f"/run/secrets/{name}"
        given.pop("REDIS_URL", None)
        assert given.pop("METRICS_PORT") == "6061"
        assert given.pop("LIVENESS_FILE") == "/tmp/alive"
        assert given == dict(launch.env)
        assert service["entrypoint"] == ["python", "-m", launch.module]
        assert parse_duration_ms(service["stop_grace_period"]) == launch.grace_ms
        assert service["deploy"]["replicas"] == pool.replicas


@each_topology
def test_variables_are_in_table_order(path: Path) -> None:
    variables = [setting.variable for setting in (*API_SETTINGS, *WORKER_SETTINGS)]
    places = {variable: place for place, variable in enumerate(variables)}
    text = text_of(load(path, {}))

    for block in re.findall(r"environment:.*\n((?:(?:  )+[A-Z<][A-Z_<]+: .*\n)+)", text):
        names = [line.split(":")[0].strip() for line in block.splitlines() if "<<" not in line]
        known = [places[name] for name in names if name in places]
        assert known == sorted(known)
        assert all(name in places for name in names[: len(known)])


@each_topology
def test_services_avoid_the_mistakes_of_hand_written_files(path: Path) -> None:
    text = text_of(load(path, {}))
    document = yaml.safe_load(text)

    assert next(iter(document)) == "name"
    assert "version" not in document
    for secret, source in document["secrets"].items():
        assert source == {"file": f"${{SECRETS_DIR:-./secrets}}/{secret}"}
    for name, service in document["services"].items():
        is_init = service["restart"] == "no"
        assert is_init or service["restart"] == "unless-stopped", name
        assert service["init"] is True
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert not service["user"].startswith(("0", "root"))
        assert is_init or service["healthcheck"]["test"]
        assert service["logging"]["options"] == {"max-size": "10m", "max-file": "5"}
        assert "container_name" not in service
        for port in service.get("ports", []):
            match = re.fullmatch(r"(\d+)(?:-(\d+))?:\d+", port)
            assert match is not None, port
            first, last = match.groups()
            assert int(last or first) - int(first) + 1 >= service["deploy"]["replicas"]
        for server in service.get("depends_on", {}):
            is_server = document["services"][server]["restart"] != "no"
            condition = "service_healthy" if is_server else "service_completed_successfully"
            assert service["depends_on"][server] == {"condition": condition}


@each_topology
def test_the_managed_redis_is_durable_bounded_and_unreachable_from_outside(path: Path) -> None:
    topology = load(path, {})
    document = yaml.safe_load(text_of(topology))
    redis = document["services"].pop("redis", None)
    if topology.redis.is_external:
        assert redis is None
        return

    for service in document["services"].values():
        assert next(iter(service["depends_on"])) == "redis"
    (start,) = redis["command"]
    limit = parse_memory_bytes(redis["deploy"]["resources"]["limits"]["memory"])
    assert "--appendonly yes" in start
    assert "--maxmemory-policy noeviction" in start
    assert f"--maxmemory {limit // 4 * 3} " in start
    assert "ports" not in redis
    assert redis["networks"] == ["redis"]
    assert document["networks"]["redis"] == {"internal": True}


def test_an_external_url_is_a_required_file_and_never_rendered(
    make_topology: MakeTopology,
) -> None:
    topology = make_topology(ALL + "redis: {url: 'redis://app:s3cret@db.example.com:6379/0'}\n")

    services = services_of(topology)

    assert services["worker"]["environment"]["REDIS_URL_FILE"] == "/run/secrets/REDIS_URL"
    assert services["worker"]["secrets"] == ["REDIS_URL"]
    assert "REDIS_URL" not in services["worker"]["environment"]
    assert list(services) == ["worker", "scheduler"]
    assert "depends_on" not in services["worker"]
    assert "s3cret" not in text_of(topology)
    assert "db.example.com" not in text_of(topology)


def test_a_secret_is_a_required_variable_of_its_own_pool_only(
    make_topology: MakeTopology,
) -> None:
    topology = make_topology(
        """
        handlers: [shop.jobs]
        pools:
          worker: {mode: default, secrets: [SMTP_PASSWORD]}
        scheduler: {}
        """
    )

    services = services_of(topology)

    assert services["worker"]["environment"]["SMTP_PASSWORD"].startswith("${SMTP_PASSWORD:?")
    assert "SMTP_PASSWORD" not in services["scheduler"]["environment"]
    needed = {
        "# Required files, in SECRETS_DIR or ./secrets: REDIS_PASSWORD",
        "# Required variables, from the environment or .env: SMTP_PASSWORD",
    }
    assert needed <= set(text_of(topology).splitlines())


def test_text_reaches_the_worker_unchanged(make_topology: MakeTopology) -> None:
    topology = make_topology(
        """
        handlers: [shop.jobs]
        pools:
          worker:
            mode: default
            env: {PRICE: "5$$ or $${X}", FLAG: on, VERSION: 1.10, TIME: "22:30", NOTE: "a\\n\\nb"}
        scheduler: {}
        """
    )

    environment = services_of(topology)["worker"]["environment"]

    assert environment["PRICE"] == "5$$ or $${X}"
    assert environment["FLAG"] == "on"
    assert environment["VERSION"] == "1.10"
    assert environment["TIME"] == "22:30"
    assert environment["NOTE"] == "a\n\nb"


def test_the_api_gets_the_variables_of_its_launch(make_topology: MakeTopology) -> None:
    topology = make_topology(ALL + "api: {port: 9000, replicas: 2, env: {GREETING: hi}}\n")
    assert topology.api is not None

    api = services_of(topology)["api"]

    given = api["environment"]
    assert given.pop("REDIS_URL") == "redis://redis:6379/0"
    assert api["secrets"] == ["REDIS_PASSWORD", "API_TOKEN"]
    for name in api["secrets"]:
        assert given.pop(f"{name}_FILE") == f"/run/secrets/{name}"
    assert given == dict(launch_for_api(topology, topology.api).env)
    assert api["entrypoint"] == ["python", "-m", "bananas_topology.api"]
    assert "ports" not in api


def test_replicas_never_share_a_host_port(make_topology: MakeTopology) -> None:
    topology = make_topology(ALL + "api: {replicas: 3, publish: 8080-8089}\n")

    assert services_of(topology)["api"]["ports"] == ["8080-8089:8080"]


def test_only_the_topologys_own_image_is_built(make_topology: MakeTopology) -> None:
    topology = make_topology(
        """
        image: shop:1
        build: .
        handlers: [shop.jobs]
        pools:
          worker: {mode: specialized, priorities: [high]}
          other: {mode: specialized, priorities: [normal, low], image: "other:2"}
        scheduler: {}
        """
    )

    services = services_of(topology)

    assert services["worker"]["build"] == "."
    assert "build" not in services["other"]
    assert "build" not in services["redis"]


def test_every_container_has_its_own_log_files(make_topology: MakeTopology) -> None:
    topology = make_topology(
        """
        handlers: [shop.jobs]
        logging: {file: {enabled: true}}
        pools: {worker: {mode: thin, replicas: 3}}
        """
    )

    volumes = services_of(topology)["worker"]["volumes"]

    assert volumes == [{"type": "volume", "target": "/var/log/bananas"}]
    assert "pools.worker.logging.file writes to /var/log/bananas" in notices_of(topology)


def test_what_compose_cannot_express_is_a_notice(make_topology: MakeTopology) -> None:
    topology = make_topology(
        """
        handlers: [shop.jobs]
        pools:
          worker:
            mode: default
            replicas: 2
            autoscale: {min: 2, max: 5, queue_depth: 60}
            placement:
              prefer: {zone: a}
              require: {disk: ssd, kubernetes.io/arch: amd64}
              tolerations: [{key: gpu, operator: Exists}]
            disruption: {max_unavailable: 1}
            egress: [{cidr: 10.0.0.0/8}]
        scheduler: {}
        api: {service_type: LoadBalancer, ingress: {host: api.example.com}}
        """
    )

    notices = notices_of(topology)

    for field in (
        "pools.worker.autoscale is ignored",
        "pools.worker.placement.prefer is ignored",
        "pools.worker.placement.require becomes a constraint that only Swarm obeys",
        "pools.worker.placement.require kubernetes.io/arch is ignored",
        "pools.worker.placement.tolerations is ignored",
        "pools.worker.disruption is ignored",
        "pools.worker.egress is ignored",
        "redis.managed.storage 10Gi is not enforced",
        "api.service_type LoadBalancer is ignored",
        "api.ingress is ignored",
    ):
        assert field in notices
    worker = services_of(topology)["worker"]
    assert worker["deploy"]["placement"] == {"constraints": ["node.labels.disk == ssd"]}


PATCHES = """\
handlers: [shop.jobs]
pools:
  high: {mode: specialized, priorities: [high]}
  rest: {mode: specialized, priorities: [normal, low]}
scheduler: {}
compose:
  patches:
"""


def test_a_patch_applies_to_shared_entries(make_topology: MakeTopology) -> None:
    topology = make_topology(
        PATCHES
        + """\
    - {service: high, merge: {read_only: null, image: "shop:$${TAG:-1}", environment: {A: "$${B}"}}}
    - {service: rest, json: [{op: replace, path: /healthcheck/retries, value: 9}]}
"""
    )

    services = services_of(topology)

    assert "read_only" not in services["high"]
    assert services["high"]["image"] == "shop:${TAG:-1}"
    assert services["high"]["environment"]["A"] == "${B}"
    assert services["rest"]["read_only"] is True
    assert services["rest"]["healthcheck"]["retries"] == 9
    assert services["scheduler"]["healthcheck"]["retries"] == 3


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        ("{service: hihg, merge: {read_only: false}}", r"compose\.patches\[0\].*hihg"),
        ("{service: high, json: [{op: remove, path: /nothing}]}", r"compose\.patches\[0\].*high"),
        ("{service: high, merge: {enviroment: {A: b}}}", 'did you mean "environment"'),
        ("{service: high, merge: {image: null}}", "high has no image"),
    ],
)
def test_a_patch_that_is_certainly_a_mistake_is_rejected(
    make_topology: MakeTopology, patch: str, expected: str
) -> None:
    topology = make_topology(f"{PATCHES}    - {patch}\n")

    with pytest.raises(RenderFailed, match=expected):
        ComposeTarget().render(topology)
