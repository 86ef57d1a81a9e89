"""What all pods have in common: security, resources, where they run, how they end."""

from __future__ import annotations

from typing import Any

from bananas_topology.render.containers import USER_ID
from bananas_topology.render.kubernetes.namespace import account_name, pull_secrets
from bananas_topology.render.kubernetes.objects import (
    Object,
    Owner,
    labels,
    selector,
    tag_of,
)
from bananas_topology.spec.model import Amounts, Placement, Resources, Toleration, Topology
from bananas_topology.units import format_cpu, format_memory

#: What a container may write to ``/tmp``, the only place it may write to.
TMP_SIZE = "1Gi"

#: Each preferred label counts alike.
_PREFERENCE_WEIGHT = 100


def container_security() -> Object:
    """As the `restricted` Pod Security Standard wants it, and a root file system to read only."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def pod_security() -> Object:
    """Nobody's user, the runtime's own system call filter."""
    return {
        "runAsNonRoot": True,
        "runAsUser": USER_ID,
        "runAsGroup": USER_ID,
        "fsGroup": USER_ID,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def template(
    topology: Topology,
    owner: Owner,
    container: Object,
    *,
    grace_ms: int,
    placement: Placement | None = None,
    volumes: list[Object] | None = None,
    annotations: dict[str, str] | None = None,
) -> Object:
    """A pod template around one container. `grace_ms` is rounded up to whole seconds."""
    noted = {**topology.kubernetes.annotations, **(annotations or {})}
    spec: Object = {
        "serviceAccountName": account_name(topology),
        "automountServiceAccountToken": False,
        # Kubernetes would set API_PORT and the like for each Service, over our own variables.
        "enableServiceLinks": False,
        "securityContext": pod_security(),
        "terminationGracePeriodSeconds": seconds(grace_ms),
        **_where(placement),
        "topologySpreadConstraints": _spread(topology, owner),
        "containers": [container],
    }
    if topology.kubernetes.image_pull_secrets:
        spec["imagePullSecrets"] = pull_secrets(topology)
    if volumes:
        spec["volumes"] = volumes
    described: Object = {"labels": labels(topology, owner)}
    if noted:
        described["annotations"] = noted
    return {"metadata": described, "spec": spec}


def tmp_mount() -> Object:
    return {"name": "tmp", "mountPath": "/tmp"}


def tmp_volume() -> Object:
    return {"name": "tmp", "emptyDir": {"sizeLimit": TMP_SIZE}}


def resources(wanted: Resources) -> Object:
    """``resources`` of a container, or nothing where the topology says nothing."""
    both = {"requests": _amounts(wanted.requests), "limits": _amounts(wanted.limits)}
    given = {name: amounts for name, amounts in both.items() if amounts}
    return {"resources": given} if given else {}


def pull_policy(image: str) -> str:
    """A tag that moves is looked up anew at each start; one that stays is not."""
    is_moving = "@" not in image and tag_of(image) in (None, "latest")
    return "Always" if is_moving else "IfNotPresent"


def seconds(duration_ms: int) -> int:
    """Whole seconds, rounded up.

    >>> [seconds(ms) for ms in (0, 1, 1000, 1001)]
    [0, 1, 1, 2]
    """
    return -(-duration_ms // 1000)


def _amounts(amounts: Amounts) -> dict[str, str]:
    made: dict[str, str] = {}
    if amounts.cpu_millis is not None:
        made["cpu"] = format_cpu(amounts.cpu_millis)
    if amounts.memory_bytes is not None:
        made["memory"] = format_memory(amounts.memory_bytes)
    return made


def _spread(topology: Topology, owner: Owner) -> list[Object]:
    """Over zones and nodes as evenly as goes; never a reason not to run at all."""
    return [
        {
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": selector(topology, owner)},
            "matchLabelKeys": ["pod-template-hash"],
        }
        for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
    ]


def _where(placement: Placement | None) -> Object:
    if placement is None:
        return {}
    affinity: dict[str, Any] = {}
    if placement.require:
        terms = [
            {"matchExpressions": [_is(key, value) for key, value in placement.require.items()]}
        ]
        affinity["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": terms}
    if placement.prefer:
        affinity["preferredDuringSchedulingIgnoredDuringExecution"] = [
            {"weight": _PREFERENCE_WEIGHT, "preference": {"matchExpressions": [_is(key, value)]}}
            for key, value in placement.prefer.items()
        ]
    made: Object = {"affinity": {"nodeAffinity": affinity}} if affinity else {}
    if placement.tolerations:
        made["tolerations"] = [_toleration(each) for each in placement.tolerations]
    return made


def _is(key: str, value: str) -> Object:
    return {"key": key, "operator": "In", "values": [value]}


def _toleration(toleration: Toleration) -> Object:
    fields = {
        "key": toleration.key,
        "operator": toleration.operator,
        "value": toleration.value,
        "effect": toleration.effect,
    }
    return {name: text for name, text in fields.items() if text is not None}
