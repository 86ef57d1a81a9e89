"""Helpers to read a Kubernetes rendering as a cluster would."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

from bananas_topology.render.kubernetes.target import KubernetesTarget
from bananas_topology.spec.model import Topology
from tests.render.goldens import TOPOLOGIES

#: Test topologies for fields that those in the repository do not use.
EXTRA = sorted(Path(__file__).with_name("topologies").glob("*.yaml"))

ALL_TOPOLOGIES = [*TOPOLOGIES, *EXTRA]

#: Kubernetes versions that the manifests must be valid for: oldest, middle, latest.
VERSIONS = ("1.29", "1.32", "1.36")


def objects_of(topology: Topology) -> list[dict[str, Any]]:
    """Every object that `kubectl apply -f -` would receive, in order."""
    return documents_of(KubernetesTarget().render(topology).stream())


def documents_of(text: str) -> list[dict[str, Any]]:
    # The C parser reads the same YAML 1.1, ten times as fast.
    return [each for each in yaml.load_all(text, yaml.CSafeLoader) if each is not None]


# Otherwise it reads the same files again for every object.
kubernetes_validate.utils.schema_contents = functools.cache(
    kubernetes_validate.utils.schema_contents
)
kubernetes_validate.utils.all_versions = functools.cache(kubernetes_validate.utils.all_versions)


def validate(each: dict[str, Any], version: str) -> None:
    """Validate an object by the strict schema of a Kubernetes version."""
    kubernetes_validate.validate(each, version, strict=True)


def find(objects: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    """The only object of a kind and name."""
    (found,) = (
        each for each in objects if each["kind"] == kind and each["metadata"]["name"] == name
    )
    return found


def pod_of(workload: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = workload["spec"]["template"]["spec"]
    return spec


def container_of(workload: dict[str, Any]) -> dict[str, Any]:
    (container,) = pod_of(workload)["containers"]
    return dict(container)


def environment_of(workload: dict[str, Any]) -> dict[str, Any]:
    """The variables that a container sees; references are not resolved."""
    container = container_of(workload)
    seen: dict[str, Any] = {}
    for entry in container["env"]:
        seen[entry["name"]] = entry.get("valueFrom") or expanded(entry.get("value", ""))
    return seen


def expanded(text: str) -> str:
    """A variable's value after Kubernetes has expanded references in it."""
    assert not re.search(r"(?<!\$)(?:\$\$)*\$\(", text), f"{text} contains a reference"
    return re.sub(r"\$([$])", r"\1", text)
