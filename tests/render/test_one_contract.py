"""The same worker everywhere: in the local plan, in Compose and in Kubernetes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from bananas_topology.contract.worker import from_env
from bananas_topology.launch import launch_for, launch_for_api
from bananas_topology.render.compose.target import ComposeTarget
from bananas_topology.render.containers import METRICS_PORT
from bananas_topology.spec.load import load
from bananas_topology.spec.model import Topology
from bananas_topology.supervisor.plan import LOCAL_VARIABLES, Host, plan_children, select_pools
from tests.render.cluster import (
    ALL_TOPOLOGIES,
    container_of,
    environment_of,
    find,
    objects_of,
)
from tests.render.goldens import topology_id

#: Variables that a target adds or changes; all others are those of the launch.
LOCAL = set(LOCAL_VARIABLES)
FILES = {"REDIS_URL", "REDIS_URL_FILE", "REDIS_PASSWORD_FILE", "API_TOKEN_FILE"}
COMPOSE = {*FILES, "METRICS_PORT", "LIVENESS_FILE"}
KUBERNETES = {*FILES, "METRICS_PORT", "WORKER_ID"}

each_topology = pytest.mark.parametrize("path", ALL_TOPOLOGIES, ids=topology_id)


def _local(topology: Topology) -> dict[str, dict[str, Any]]:
    pools = select_pools(topology, {pool.name: 1 for pool in topology.pools}, ())
    host = Host(environ={}, redis_url="redis://localhost:6379")
    return {plan.pool: dict(plan.env) for plan in plan_children(topology, pools, host)}


def _compose(topology: Topology) -> dict[str, dict[str, Any]]:
    (file,) = ComposeTarget().render(topology).files
    services = yaml.safe_load(file.text)["services"]
    return {
        name: {
            key: str(text).replace("$$", "$")
            for key, text in service.get("environment", {}).items()
        }
        for name, service in services.items()
    }


def _cluster(topology: Topology) -> dict[str, dict[str, Any]]:
    objects = objects_of(topology)
    return {
        each["metadata"]["labels"]["bananas/pool"]: environment_of(each)
        for each in objects
        if each["kind"] == "Deployment" and "bananas/pool" in each["metadata"]["labels"]
    }


@each_topology
def test_a_worker_has_the_same_variables_in_every_target(path: Path) -> None:
    topology = _unpatched(load(path, {}))
    places = (
        (_local(topology), LOCAL),
        (_compose(topology), COMPOSE),
        (_cluster(topology), KUBERNETES),
    )

    for pool in topology.pools:
        expected = dict(launch_for(topology, pool).env)
        for environments, differing in places:
            env = environments[pool.name]
            own = {*differing, *pool.secrets, *pool.container.references}
            assert _without(env, own) == _without(expected, own), pool.name
            assert env.keys() - expected.keys() <= own


@each_topology
def test_a_worker_reads_the_same_settings_in_every_target(path: Path) -> None:
    topology = _unpatched(load(path, {}))
    given = {"REDIS_URL": "redis://somewhere", "WORKER_ID": "one", "LOG_FORMAT": "json"}
    given |= {"REDIS_URL_FILE": "", "REDIS_PASSWORD_FILE": ""}

    for pool in topology.pools:
        configs = [
            from_env({**environments[pool.name], **given, "LOG_COLOR": "true"})
            for environments in (_local(topology), _compose(topology), _cluster(topology))
        ]
        settings = [replace(each, metrics_port=0, liveness_file="") for each in configs]
        assert settings[0] == settings[1] == settings[2]
        assert configs[2].metrics_port == configs[1].metrics_port == METRICS_PORT


@each_topology
def test_a_worker_has_the_same_command_in_every_target(path: Path) -> None:
    topology = load(path, {})
    (file,) = ComposeTarget().render(topology).files
    services = yaml.safe_load(file.text)["services"]
    deployments = {
        each["metadata"]["labels"].get("bananas/pool"): each
        for each in objects_of(topology)
        if each["kind"] == "Deployment"
    }

    for pool in topology.pools:
        command = ["python", "-m", launch_for(topology, pool).module]
        assert services[pool.name]["entrypoint"] == command
        assert container_of(deployments[pool.name])["command"] == command


@each_topology
def test_the_api_has_the_same_variables_in_every_target(path: Path) -> None:
    topology = load(path, {})
    if topology.api is None:
        return
    objects = objects_of(topology)
    (name,) = (
        each["metadata"]["name"]
        for each in objects
        if each["kind"] == "Deployment"
        and each["metadata"]["labels"]["app.kubernetes.io/component"] == "api"
    )
    own = {*FILES, *topology.api.secrets, *topology.api.container.references}
    # Compose has no autoscalers.
    counts = {pool.name: pool.replicas for pool in topology.pools}

    for env, launch in (
        (_compose(topology)["api"], launch_for_api(topology, topology.api, counts)),
        (
            environment_of(find(objects, "Deployment", name)),
            launch_for_api(topology, topology.api),
        ),
    ):
        assert _without(env, own) == _without(dict(launch.env), own)


def _unpatched(topology: Topology) -> Topology:
    return replace(topology, kubernetes=replace(topology.kubernetes, patches=()))


def _without(env: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: text for name, text in env.items() if name not in names}
