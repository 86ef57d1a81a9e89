"""What the real kubectl does with the manifests, on as much of a cluster as it needs."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bananas_topology.render.kubernetes.prune import prune_command
from bananas_topology.render.kubernetes.secrets import secret_file
from bananas_topology.render.kubernetes.target import KubernetesTarget
from bananas_topology.spec.model import Topology
from bananas_topology.yaml_writer import to_yaml
from tests.conftest import MakeTopology
from tests.render.fake_cluster import FakeCluster, running_cluster

pytestmark = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")

BEFORE = """\
handlers: [shop.jobs]
pools:
  old-name: {mode: default}
  scaled: {mode: default, resources: {requests: {cpu: 1}}, autoscale: {min: 1, max: 3, cpu: 50}}
scheduler: {}
api: {ingress: {host: jobs.example.com}}
"""
AFTER = """\
handlers: [shop.jobs]
pools:
  new-name: {mode: default}
  scaled: {mode: default, replicas: 2, resources: {requests: {cpu: 1}}}
scheduler: {}
"""


@pytest.fixture
def cluster() -> Iterator[FakeCluster]:
    with running_cluster() as cluster:
        yield cluster


def apply(cluster: FakeCluster, home: Path, topology: Topology) -> str:
    """Apply a topology as the documentation says; returns what kubectl says of each object."""
    command = [*shlex.split(prune_command(topology)), "--validate=false"]
    return kubectl(cluster, home, command, KubernetesTarget().render(topology).stream())


def create(cluster: FakeCluster, home: Path, text: str) -> None:
    kubectl(cluster, home, ["kubectl", "apply", "--validate=false", "-f", "-"], text)


def kubectl(cluster: FakeCluster, home: Path, command: list[str], text: str) -> str:
    done = subprocess.run(
        [*command, "--server", cluster.url],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"], "HOME": str(home)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_exactly_what_is_no_longer_rendered_is_deleted(
    cluster: FakeCluster, tmp_path: Path, make_topology: MakeTopology
) -> None:
    before, after = make_topology(BEFORE), make_topology(AFTER)
    apply(cluster, tmp_path, before)
    secret = secret_file(before, {"REDIS_PASSWORD": "p" * 20, "API_TOKEN": "t" * 20})
    create(cluster, tmp_path, secret.text)
    create(cluster, tmp_path, _claim_with_the_labels_of(cluster))
    create(cluster, tmp_path, _deployment_of_somebody_else())
    there = cluster.names

    apply(cluster, tmp_path, after)

    assert there - cluster.names == {
        "Deployment old-name",
        "PodDisruptionBudget old-name",
        "HorizontalPodAutoscaler scaled",
        "Deployment api",
        "PodDisruptionBudget api",
        "Service api",
        "Ingress api",
        "NetworkPolicy allow-into-api",
    }
    assert cluster.names - there == {"Deployment new-name", "PodDisruptionBudget new-name"}


def test_a_server_that_is_no_longer_rendered_leaves_its_data(
    cluster: FakeCluster, tmp_path: Path, make_topology: MakeTopology
) -> None:
    before = make_topology(AFTER)
    apply(cluster, tmp_path, before)
    create(cluster, tmp_path, _claim_with_the_labels_of(cluster))

    apply(cluster, tmp_path, make_topology(AFTER + "redis: {url: 'redis://db:6379'}\n"))

    assert "StatefulSet redis" not in cluster.names
    assert {"PersistentVolumeClaim data-redis-0", "Namespace shop"} <= cluster.names


def test_a_second_apply_changes_nothing(
    cluster: FakeCluster, tmp_path: Path, make_topology: MakeTopology
) -> None:
    topology = make_topology(AFTER)
    apply(cluster, tmp_path, topology)
    # What a server sets by default in a list that is compared as a whole.
    for each in cluster.objects.values():
        for claim in each.get("spec", {}).get("volumeClaimTemplates", ()):
            claim.setdefault("apiVersion", "v1")
            claim.setdefault("kind", "PersistentVolumeClaim")
            claim["spec"].setdefault("volumeMode", "Filesystem")
            claim.setdefault("status", {"phase": "Pending"})

    said = apply(cluster, tmp_path, topology).splitlines()

    assert "statefulset.apps/redis unchanged" in said
    changed = [line for line in said if not line.endswith(" unchanged")]
    # kubectl always sends the selector of a budget, which the API marks as replaced as a whole.
    assert not [line for line in changed if not line.startswith("poddisruptionbudget")]


def test_a_pool_that_gets_an_autoscaler_keeps_its_size(
    cluster: FakeCluster, tmp_path: Path, make_topology: MakeTopology
) -> None:
    before = make_topology(AFTER.replace("replicas: 2", "replicas: 10"))
    after = make_topology(AFTER.replace("replicas: 2", "autoscale: {min: 3, max: 20, cpu: 60}"))
    apply(cluster, tmp_path, before)

    # The runbook's commands.
    what = ["deployment", "scaled", "--namespace", "shop"]
    applied = kubectl(cluster, tmp_path, ["kubectl", "apply", "view-last-applied", *what], "")
    kept = "".join(
        line for line in applied.splitlines(keepends=True) if not line.startswith("  replicas:")
    )
    kubectl(cluster, tmp_path, ["kubectl", "apply", "set-last-applied", "-f", "-"], kept)
    apply(cluster, tmp_path, after)

    path = "/apis/apps/v1/namespaces/shop/deployments/scaled"
    assert cluster.objects[path]["spec"]["replicas"] == 10
    assert "HorizontalPodAutoscaler scaled" in cluster.names


def _claim_with_the_labels_of(cluster: FakeCluster) -> str:
    (labels,) = (
        each["metadata"]["labels"]
        for each in cluster.objects.values()
        if each["kind"] == "StatefulSet"
    )
    metadata = {"name": "data-redis-0", "namespace": "shop", "labels": labels}
    return to_yaml({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata})


def _deployment_of_somebody_else() -> str:
    return "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: theirs, namespace: shop}\n"
