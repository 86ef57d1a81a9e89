"""What all pods have in common: security, resources, placement and termination."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from bananas_topology.render.containers import TMP_BYTES, USER_ID
from bananas_topology.render.kubernetes.namespace import account_name, pull_secrets
from bananas_topology.render.kubernetes.objects import (
    Component,
    Object,
    labels,
    pods_selector,
    tag_of,
)
from bananas_topology.render.kubernetes.sources import SECRET_MODE, credentials_key
from bananas_topology.spec.container import Container
from bananas_topology.spec.model import Amounts, Placement, Resources, Toleration, Topology
from bananas_topology.units import format_cpu, format_memory

#: Where credentials are mounted.
CREDENTIALS_DIRECTORY = "/run/secrets/bananas"

#: Between two checks of a container that starts, in milliseconds.
_STARTUP_PERIOD_MS = 2_000

#: All preferred labels have the same weight.
_PREFERENCE_WEIGHT = 100


def container_security() -> Object:
    """What the `restricted` Pod Security Standard requires, and a read-only root file system."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def pod_security(topology: Topology) -> Object:
    """An unprivileged user, unless the cluster assigns one, and the default seccomp profile."""
    user: Object = {
        "runAsUser": USER_ID,
        "runAsGroup": USER_ID,
        "fsGroup": USER_ID,
        "fsGroupChangePolicy": "OnRootMismatch",
    }
    return {
        "runAsNonRoot": True,
        **({} if topology.kubernetes.assigns_user else user),
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def pod_template(
    topology: Topology,
    component: Component,
    container: Object,
    *,
    grace_ms: int,
    volumes: list[Object],
    placement: Placement | None = None,
    scrape_port: int | None = None,
    of: Container | None = None,
    init: Sequence[Object] = (),
) -> Object:
    """A pod template around one container. `grace_ms` is rounded up to whole seconds."""
    classes = {
        "priorityClassName": of.priority_class if of else None,
        "runtimeClassName": of.runtime_class if of else None,
    }
    annotations = {**topology.kubernetes.annotations, **_scraping(topology, scrape_port)}
    spec: Object = {
        "serviceAccountName": account_name(topology),
        "automountServiceAccountToken": False,
        # Otherwise Kubernetes sets API_PORT and the like for every Service, over our variables.
        "enableServiceLinks": False,
        "securityContext": pod_security(topology),
        "terminationGracePeriodSeconds": seconds(grace_ms),
        **{name: text for name, text in classes.items() if text is not None},
        **_placement(placement),
        "topologySpreadConstraints": _spread(topology, component),
        **({"initContainers": list(init)} if init else {}),
        "containers": [container],
    }
    if topology.kubernetes.image_pull_secrets:
        spec["imagePullSecrets"] = pull_secrets(topology)
    spec["volumes"] = volumes
    metadata: Object = {"labels": labels(topology, component)}
    if annotations:
        metadata["annotations"] = annotations
    return {"metadata": metadata, "spec": spec}


def tmp_mount() -> Object:
    return {"name": "tmp", "mountPath": "/tmp"}


def tmp_volume() -> Object:
    return {"name": "tmp", "emptyDir": {"sizeLimit": format_memory(TMP_BYTES)}}


def credentials_mount() -> Object:
    return {"name": "credentials", "mountPath": CREDENTIALS_DIRECTORY, "readOnly": True}


def credentials_volume(topology: Topology, files: Iterable[str]) -> Object:
    """Keys of Secrets as files with these names, replaced by the kubelet when they change."""
    items: dict[str, list[Object]] = {}
    for file in files:
        secret, key = credentials_key(topology, file)
        items.setdefault(secret, []).append({"key": key, "path": file})
    if len(items) > 1:
        sources = [{"secret": {"name": name, "items": each}} for name, each in items.items()]
        return {
            "name": "credentials",
            "projected": {"defaultMode": SECRET_MODE, "sources": sources},
        }
    [(secret, only)] = items.items()
    source = {"secretName": secret, "defaultMode": SECRET_MODE, "items": only}
    return {"name": "credentials", "secret": source}


def container_resources(resources: Resources) -> Object:
    """``resources`` of a container; empty if the topology sets none."""
    both = {"requests": _amounts(resources.requests), "limits": _amounts(resources.limits)}
    given = {name: amounts for name, amounts in both.items() if amounts}
    return {"resources": given} if given else {}


def http_probes(
    port: str, *, startup_ms: int, liveness: int, readiness: int, started: str = "/livez"
) -> Object:
    """Probes of a named port, by numbers of failed checks in a row, and by the time to start.

    /livez succeeds while the process makes progress, /readyz while it can also use Redis, and
    `started` once it has started.
    """
    startup = -(-startup_ms // _STARTUP_PERIOD_MS)
    return {
        "startupProbe": _probe(started, port, period_s=2, timeout_s=2, failures=startup),
        "livenessProbe": _probe("/livez", port, period_s=10, timeout_s=5, failures=liveness),
        "readinessProbe": _probe("/readyz", port, period_s=5, timeout_s=3, failures=readiness),
    }


def pull_policy(topology: Topology, image: str) -> str:
    """The topology's, or ``Always`` for a tag that may move, so that each start looks it up."""
    by_image = "Always" if is_moving(image) else "IfNotPresent"
    return topology.kubernetes.image_pull_policy or by_image


def is_moving(image: str) -> bool:
    """Whether an image of the same name may be another one tomorrow."""
    return "@" not in image and tag_of(image) in (None, "latest")


def seconds(duration_ms: int) -> int:
    """Whole seconds, rounded up.

    >>> [seconds(ms) for ms in (0, 1, 1000, 1001)]
    [0, 1, 1, 2]
    """
    return -(-duration_ms // 1000)


def _probe(path: str, port: str, *, period_s: int, timeout_s: int, failures: int) -> Object:
    return {
        "httpGet": {"path": path, "port": port},
        "periodSeconds": period_s,
        "timeoutSeconds": timeout_s,
        "failureThreshold": failures,
    }


def _amounts(amounts: Amounts) -> dict[str, str]:
    made: dict[str, str] = {}
    if amounts.cpu_millis is not None:
        made["cpu"] = format_cpu(amounts.cpu_millis)
    if amounts.memory_bytes is not None:
        made["memory"] = format_memory(amounts.memory_bytes)
    if amounts.ephemeral_storage_bytes is not None:
        made["ephemeral-storage"] = format_memory(amounts.ephemeral_storage_bytes)
    return {**made, **{kind: str(number) for kind, number in amounts.devices.items()}}


def _scraping(topology: Topology, port: int | None) -> dict[str, str]:
    """The annotations that Prometheus finds a pod by, unless the topology chose another way."""
    if port is None or topology.kubernetes.monitoring != "annotations":
        return {}
    return {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(port),
        "prometheus.io/path": "/metrics",
    }


def _spread(topology: Topology, component: Component) -> list[Object]:
    """Evenly over zones and nodes if possible; a pod that cannot be spread still runs."""
    return [
        {
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": pods_selector(topology, component),
            "matchLabelKeys": ["pod-template-hash"],
        }
        for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
    ]


def _placement(placement: Placement | None) -> Object:
    if placement is None:
        return {}
    affinity: dict[str, Any] = {}
    if placement.require:
        terms = [
            {"matchExpressions": [_equals(key, value) for key, value in placement.require.items()]}
        ]
        affinity["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": terms}
    if placement.prefer:
        affinity["preferredDuringSchedulingIgnoredDuringExecution"] = [
            {
                "weight": _PREFERENCE_WEIGHT,
                "preference": {"matchExpressions": [_equals(key, value)]},
            }
            for key, value in placement.prefer.items()
        ]
    made: Object = {"affinity": {"nodeAffinity": affinity}} if affinity else {}
    if placement.tolerations:
        made["tolerations"] = [_toleration(toleration) for toleration in placement.tolerations]
    return made


def _equals(key: str, value: str) -> Object:
    return {"key": key, "operator": "In", "values": [value]}


def _toleration(toleration: Toleration) -> Object:
    fields = {
        "key": toleration.key,
        "operator": toleration.operator,
        "value": toleration.value,
        "effect": toleration.effect,
    }
    return {name: text for name, text in fields.items() if text is not None}
