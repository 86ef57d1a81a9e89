from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from bananas_topology.contract.worker import WORKER_SETTINGS
from bananas_topology.launch import launch_for
from bananas_topology.render.kubernetes.target import KubernetesTarget
from bananas_topology.spec.load import load
from tests.render.cluster import (
    ALL_TOPOLOGIES,
    VERSIONS,
    container_of,
    environment_of,
    find,
    objects_of,
    pod_of,
    validate,
)
from tests.render.goldens import FOLDER, ROOT, assert_golden, topology_id

GOLDENS = sorted((FOLDER / "k8s").glob("*"))
#: Custom resource definitions as their projects publish them, if they are there.
CRDS = ROOT.parent / "shared" / "crds"

each_topology = pytest.mark.parametrize("path", ALL_TOPOLOGIES, ids=topology_id)
WORKLOADS = ("Deployment", "StatefulSet")
CUSTOM = ("keda.sh/v1alpha1", "monitoring.coreos.com/v1")


@each_topology
def test_a_topology_renders_to_its_golden(path: Path) -> None:
    assert_golden(KubernetesTarget().render(load(path, {})), path, "k8s")


@each_topology
def test_objects_are_valid_for_three_versions_of_kubernetes(path: Path) -> None:
    for each in objects_of(load(path, {})):
        if each["apiVersion"] not in CUSTOM:
            for version in VERSIONS:
                validate(each, version)


@pytest.mark.skipif(not CRDS.is_dir(), reason="no CRDs beside this checkout")
@each_topology
def test_custom_objects_are_valid_by_their_definitions(path: Path) -> None:
    for each in objects_of(load(path, {})):
        if each["apiVersion"] in CUSTOM:
            # The schema itself is not checked, because its patterns are Go's.
            jsonschema.Draft202012Validator(_schema_of(each)).validate(each)


def _schema_of(each: dict[str, Any]) -> dict[str, Any]:
    for path in CRDS.glob("*.yaml"):
        definition = yaml.safe_load(path.read_text("utf-8"))["spec"]
        if definition["names"]["kind"] == each["kind"]:
            (version,) = definition["versions"]
            return dict(_closed(version["schema"]["openAPIV3Schema"]))
    raise AssertionError(f"no definition of {each['kind']}")


def _closed(schema: Any) -> Any:
    """The same schema, rejecting unknown fields, which a cluster would drop silently."""
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(each) for key, each in schema.items()}
    if "properties" in schema and schema.get("type") == "object":
        closed.setdefault("additionalProperties", False)
    return closed


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
@pytest.mark.parametrize("folder", GOLDENS, ids=lambda folder: folder.name)
def test_kustomize_builds_the_goldens(folder: Path) -> None:
    done = subprocess.run(
        ["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
    built = {
        (each["kind"], each["metadata"]["name"]) for each in yaml.safe_load_all(done.stdout) if each
    }
    (path,) = (each for each in ALL_TOPOLOGIES if topology_id(each) == folder.name)
    rendered = objects_of(load(path, {}))
    # Whoever deletes a kustomization keeps the namespace, with the Secret and the data.
    assert built == {
        (each["kind"], each["metadata"]["name"]) for each in rendered if each["kind"] != "Namespace"
    }


@each_topology
def test_the_namespace_comes_first_and_contains_all_objects(path: Path) -> None:
    first, *others = objects_of(load(path, {}))

    assert first["kind"] == "Namespace"
    assert first["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {each["metadata"]["namespace"] for each in others} == {first["metadata"]["name"]}


@each_topology
def test_objects_have_the_recommended_labels_and_selectors_match_their_pods(path: Path) -> None:
    for each in objects_of(load(path, {})):
        labels = each["metadata"]["labels"]
        assert labels["app.kubernetes.io/managed-by"] == "bananas"
        assert {"app.kubernetes.io/name", "app.kubernetes.io/instance"} <= labels.keys()
        if each["kind"] in WORKLOADS:
            wanted = each["spec"]["selector"]["matchLabels"]
            assert wanted.items() <= each["spec"]["template"]["metadata"]["labels"].items()
            # Selectors are immutable: they must not contain what a topology may change.
            assert not wanted.keys() & {"app.kubernetes.io/version", "app.kubernetes.io/name"}


@each_topology
def test_pods_are_restricted(path: Path) -> None:
    for each in objects_of(load(path, {})):
        if each["kind"] not in WORKLOADS:
            continue
        pod, container = pod_of(each), container_of(each)
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        given = {volume["name"] for volume in pod["volumes"]}
        claimed = {
            claim["metadata"]["name"] for claim in each["spec"].get("volumeClaimTemplates", ())
        }
        assert mounted == given | claimed
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert probe in container
            assert "tcpSocket" not in container[probe]


@each_topology
def test_the_grace_period_covers_the_longest_job(path: Path) -> None:
    topology = load(path, {})
    objects = objects_of(topology)

    for pool in topology.pools:
        (workload,) = _deployments_of(objects, pool.name)
        seconds = pod_of(workload)["terminationGracePeriodSeconds"]
        assert seconds * 1000 >= launch_for(topology, pool).grace_ms > pool.worker.grace_ms


@each_topology
def test_replicas_are_set_unless_an_autoscaler_sets_them(path: Path) -> None:
    topology = load(path, {})
    objects = objects_of(topology)
    scaled = {
        each["spec"]["scaleTargetRef"]["name"]
        for each in objects
        if each["kind"] in ("HorizontalPodAutoscaler", "ScaledObject")
    }

    for each in objects:
        if each["kind"] == "Deployment":
            assert ("replicas" in each["spec"]) == (each["metadata"]["name"] not in scaled)
            assert each["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    for pool in topology.pools:
        if pool.autoscale is None:
            (workload,) = _deployments_of(objects, pool.name)
            assert workload["spec"]["replicas"] == pool.replicas


@each_topology
def test_no_budget_blocks_a_drain(path: Path) -> None:
    objects = objects_of(load(path, {}))
    budgets = [each for each in objects if each["kind"] == "PodDisruptionBudget"]

    assert len(budgets) == sum(each["kind"] in WORKLOADS for each in objects)
    for budget in budgets:
        spec = budget["spec"]
        assert spec["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
        assert spec.get("maxUnavailable", 1) >= 1
        if "minAvailable" in spec:
            workload = find(objects, "Deployment", budget["metadata"]["name"])
            assert spec["minAvailable"] < workload["spec"]["replicas"]


@each_topology
def test_the_managed_redis_is_durable_bounded_protected_and_never_evicts(path: Path) -> None:
    topology = load(path, {})
    objects = objects_of(topology)
    if topology.redis.is_external:
        assert not [each for each in objects if each["kind"] == "StatefulSet"]
        return
    (server,) = (each for each in objects if each["kind"] == "StatefulSet")
    container = container_of(server)
    script = container["command"][-1]

    assert "--appendonly yes" in script
    assert "--maxmemory-policy noeviction" in script
    assert f"--maxmemory {topology.redis.managed.memory_bytes // 4 * 3} " in script
    assert "requirepass" in script
    service = find(objects, "Service", server["spec"]["serviceName"])
    assert service["spec"]["clusterIP"] == "None"
    policy = find(objects, "NetworkPolicy", "allow-into-redis")
    assert all("namespaceSelector" not in each for each in policy["spec"]["ingress"][0]["from"])


@each_topology
def test_traffic_is_denied_unless_listed(path: Path) -> None:
    topology = load(path, {})
    policies = [each for each in objects_of(topology) if each["kind"] == "NetworkPolicy"]

    deny = policies[0]["spec"]
    assert deny["policyTypes"] == ["Ingress", "Egress"]
    assert not {"ingress", "egress"} & deny.keys()
    assert deny["podSelector"] == {"matchLabels": {"app.kubernetes.io/instance": topology.name}}
    for policy in policies:
        for direction in ("ingress", "egress"):
            for rule in policy["spec"].get(direction, ()):
                assert rule, policy["metadata"]["name"]


@each_topology
def test_variables_are_in_table_order_and_secrets_are_references(path: Path) -> None:
    topology = load(path, {})
    objects = objects_of(topology)
    places = {setting.variable: place for place, setting in enumerate(WORKER_SETTINGS)}

    assert not [each for each in objects if each["kind"] == "Secret"]
    for pool in topology.pools:
        (workload,) = _deployments_of(objects, pool.name)
        names = [entry["name"] for entry in container_of(workload)["env"]]
        known = [places[name] for name in names if name in places]
        assert known == sorted(known)
        assert all(name in places for name in names[: len(known)])
        seen = environment_of(workload)
        for name in pool.secrets:
            assert seen[name]["secretKeyRef"] == {"name": topology.kubernetes.secret, "key": name}


def _deployments_of(objects: list[dict[str, Any]], pool: str) -> list[dict[str, Any]]:
    return [
        each
        for each in objects
        if each["kind"] == "Deployment" and each["metadata"]["labels"].get("bananas/pool") == pool
    ]
