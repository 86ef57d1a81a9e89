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
        ("/models", False, {"persistentVolumeClaim": {"claimName": "redis-data"}}),
        ("/srv/shared", True, {"persistentVolumeClaim": {"claimName": "shared"}}),
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


def test_commands_run_before_the_worker_with_all_that_it_has(
    topology: Topology, pod: dict[str, Any]
) -> None:
    fetch, migrate = pod["initContainers"]
    (worker,) = pod["containers"]

    assert [fetch["name"], migrate["name"]] == ["init-fetch-models", "init-migrate"]
    assert (fetch["image"], migrate["image"]) == ("ghcr.io/acme/models:7", worker["image"])
    # Kubernetes would expand $(HEAD).
    assert migrate["command"][-1] == "--to=$$(HEAD)"
    for name in ("env", "envFrom", "volumeMounts", "securityContext", "resources"):
        assert migrate[name] == worker[name]
    (inherited,) = _pod_of(topology, "plain")["initContainers"]
    assert inherited["name"] == "init-migrate"
    assert "initContainers" not in _pod_of(topology, "scheduler")


def test_compose_runs_them_one_after_the_other_and_then_the_workers(topology: Topology) -> None:
    services = services_of(topology)
    first, second = services["transcode-fetch-models"], services["transcode-migrate"]
    done = {"condition": "service_completed_successfully"}

    assert first["entrypoint"] == ["fetch", "/models"]
    assert first["restart"] == second["restart"] == "no"
    assert second["depends_on"]["transcode-fetch-models"] == done
    assert services["transcode"]["depends_on"]["transcode-migrate"] == done
    assert services["plain"]["depends_on"]["plain-migrate"] == done
    url = services["transcode"]["environment"]["DATABASE_URL"]
    assert second["environment"]["DATABASE_URL"] == url
    assert {each["target"] for each in second["volumes"]} == {
        each["target"] for each in services["transcode"]["volumes"]
    }


def test_a_slow_start_is_not_taken_for_a_failure(topology: Topology) -> None:
    deployment = find(objects_of(topology), "Deployment", "transcode")
    probe = container_of(deployment)["startupProbe"]

    assert probe["failureThreshold"] * probe["periodSeconds"] == 15 * 60
    assert probe["httpGet"]["path"] == "/livez?started"
    assert deployment["spec"]["progressDeadlineSeconds"] == 20 * 60
    other = find(objects_of(topology), "Deployment", "plain")
    assert "progressDeadlineSeconds" not in other["spec"]
    check = services_of(topology)["transcode"]["healthcheck"]
    assert (check["start_period"], check["test"][-1]) == ("15m", "--started")


def test_pods_have_the_classes_and_devices_of_their_pool(
    topology: Topology, pod: dict[str, Any]
) -> None:
    assert (pod["priorityClassName"], pod["runtimeClassName"]) == ("batch", "nvidia")
    assert pod["containers"][0]["resources"]["limits"] == {
        "memory": "8Gi",
        "ephemeral-storage": "10Gi",
        "nvidia.com/gpu": "2",
        "smarter-devices/fuse": "1",
    }
    assert _pod_of(topology, "scheduler")["runtimeClassName"] == "gvisor"
    assert _pod_of(topology, "api")["priorityClassName"] == "interactive"
    reserved = services_of(topology)["transcode"]["deploy"]["resources"]["reservations"]
    assert reserved["devices"] == [{"driver": "nvidia", "count": 2, "capabilities": ["gpu"]}]


def test_openshift_assigns_the_user_and_has_its_own_dns(topology: Topology) -> None:
    objects = objects_of(topology)
    for name in ("transcode", "api"):
        security = _pod_of(topology, name)["securityContext"]
        assert security == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    (rule,) = find(objects, "NetworkPolicy", "allow-dns")["spec"]["egress"]

    (peer,) = rule["to"]
    assert "openshift-dns" in str(peer)
    assert {each["port"] for each in rule["ports"]} == {53, 5353}


def test_the_service_account_is_the_topologys(topology: Topology) -> None:
    account = find(objects_of(topology), "ServiceAccount", "media")
    pod = _pod_of(topology, "transcode")

    assert account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"].endswith(":role/media")
    assert pod["serviceAccountName"] == "media"
    assert pod["containers"][0]["imagePullPolicy"] == "Always"
    assert account["imagePullSecrets"] == pod["imagePullSecrets"] == [{"name": "ghcr"}]


def test_an_existing_service_account_is_not_rendered() -> None:
    text = b"""
version: 1
name: shop
handlers: [shop.jobs]
pools: {a: {}}
kubernetes: {service_account: {name: shared, create: false}}
"""
    topology = check_bytes(text, Path("a.yaml"), {}).topology
    assert topology is not None

    objects = objects_of(topology)
    assert "ServiceAccount" not in {each["kind"] for each in objects}
    deployment = find(objects, "Deployment", "a")
    assert deployment["spec"]["template"]["spec"]["serviceAccountName"] == "shared"


def test_a_variable_of_an_existing_secret_is_not_set_beside_a_file_with_credentials() -> None:
    text = b"""
version: 1
name: shop
handlers: [shop.jobs]
redis: {url: redis://db}
pools: {a: {env_from: [{secret: shop-env}]}}
api: {env_from: [{secret: shop-env}]}
"""
    topology = check_bytes(text, Path("a.yaml"), {}).topology
    assert topology is not None

    for name, empty in (("a", ["REDIS_URL"]), ("api", ["API_TOKEN", "REDIS_URL"])):
        env = {each["name"]: each for each in _pod_of(topology, name)["containers"][0]["env"]}
        assert {f"{each}_FILE" for each in empty} <= env.keys()
        # An empty variable, which `kubectl diff` finds unchanged.
        assert [env[each] for each in empty] == [{"name": each} for each in empty]
        variables = services_of(topology)[name]["environment"]
        assert [variables[each] for each in empty] == [""] * len(empty)


def test_handlers_get_a_secret_with_the_name_of_the_apis_token() -> None:
    text = b"""
version: 1
name: shop
handlers: [shop.jobs]
pools: {a: {secrets: [API_TOKEN]}}
api: {secrets: [API_TOKEN]}
"""
    topology = check_bytes(text, Path("a.yaml"), {}).topology
    assert topology is not None

    reference = {"secretKeyRef": {"name": "shop-secrets", "key": "API_TOKEN"}}
    (worker,) = _pod_of(topology, "a")["containers"]
    (api,) = _pod_of(topology, "api")["containers"]
    assert {"name": "API_TOKEN", "valueFrom": reference} in worker["env"]
    assert "API_TOKEN" not in {each["name"] for each in api["env"]}
    services = services_of(topology)
    assert services["a"]["environment"]["API_TOKEN"].startswith("${API_TOKEN:?")
    assert "API_TOKEN" not in services["api"]["environment"]


def _pod_of(topology: Topology, name: str) -> dict[str, Any]:
    deployment = find(objects_of(topology), "Deployment", name)
    spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return spec
