"""Variables and volumes from existing objects, in both targets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bananas_topology.spec.load import check_bytes, load
from bananas_topology.spec.model import Topology
from tests.render.cluster import container_of, find, objects_of
from tests.render.test_compose import services_of

TOPOLOGY = Path(__file__).parent / "topologies" / "existing-objects.yaml"


@pytest.fixture(scope="module")
def topology() -> Topology:
    return load(TOPOLOGY, {})


@pytest.fixture(scope="module")
def pod(topology: Topology) -> dict[str, Any]:
    deployment = find(objects_of(topology), "Deployment", "transcode")
    spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return spec


@pytest.fixture(scope="module")
def service(topology: Topology) -> dict[str, Any]:
    made: dict[str, Any] = services_of(topology)["transcode"]
    return made


def test_a_variable_comes_from_a_key_of_an_existing_object(pod: dict[str, Any]) -> None:
    env = {each["name"]: each for each in pod["containers"][0]["env"]}

    assert env["DATABASE_URL"]["valueFrom"] == {"secretKeyRef": {"name": "pg-app", "key": "uri"}}
    optional = {"name": "observability", "key": "SENTRY_DSN", "optional": True}
    assert env["SENTRY_DSN"]["valueFrom"] == {"secretKeyRef": optional}
    facts = {"name": "cluster-facts", "key": "region.name"}
    assert env["REGION"]["valueFrom"] == {"configMapKeyRef": facts}


def test_compose_takes_it_from_the_shell(service: dict[str, Any]) -> None:
    env = service["environment"]

    assert env["DATABASE_URL"].startswith("${DATABASE_URL:?")
    assert env["SENTRY_DSN"] is None


def test_every_volume_is_mounted_where_it_belongs(pod: dict[str, Any]) -> None:
    volumes = {each["name"]: each for each in pod["volumes"]}
    mounts = {each["mountPath"]: each for each in pod["containers"][0]["volumeMounts"]}

    for path, is_read_only, source in (
        ("/var/cache/media", False, {"emptyDir": {"sizeLimit": "5Gi"}}),
        ("/models", True, {"persistentVolumeClaim": {"claimName": "redis-data"}}),
        ("/srv/output", False, {"persistentVolumeClaim": {"claimName": "media-output"}}),
        ("/etc/tls", True, {"secret": {"secretName": "media-tls", "defaultMode": 0o440}}),
        ("/etc/media", True, {"configMap": {"name": "media-files"}}),
    ):
        mount = mounts[path]
        assert mount.get("readOnly", False) is is_read_only
        assert volumes[mount["name"]] == {"name": mount["name"], **source}


def test_a_claim_is_never_the_volume_of_the_managed_server(service: dict[str, Any]) -> None:
    sources = {each["target"]: each.get("source") for each in service["volumes"]}

    assert sources["/models"] == "redis-data-claim"


def test_a_volume_with_a_name_of_ours_is_another_volume() -> None:
    text = b"""
version: 1
name: shop
handlers: [shop.jobs]
pools:
  a:
    volumes:
      tmp: {path: /a, temporary: 1Gi}
      credentials: {path: /b, claim: c}
      env: {path: /c, claim: d}
"""
    topology = check_bytes(text, Path("a.yaml"), {}).topology
    assert topology is not None

    deployment = find(objects_of(topology), "Deployment", "a")
    names = [each["name"] for each in deployment["spec"]["template"]["spec"]["volumes"]]
    assert len(set(names)) == len(names) == 5
    assert len(container_of(deployment)["volumeMounts"]) == 5


def test_a_pool_replaces_a_volume_of_the_defaults_as_a_whole(topology: Topology) -> None:
    (volume,) = topology.pools[1].container.volumes

    assert (volume.path, volume.claim) == ("/etc/media-low", None)
    assert volume.source is not None
    assert volume.source.is_secret
