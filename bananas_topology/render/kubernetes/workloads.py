"""The objects around the pods of a pool or the api: Deployment, PodDisruptionBudget, autoscaler."""

from __future__ import annotations

from bananas_topology.render.kubernetes.objects import (
    Component,
    Object,
    component_metadata,
    pods_selector,
)
from bananas_topology.render.kubernetes.pods import seconds
from bananas_topology.spec.model import Api, Disruption, Pool, Topology

#: A rollout never runs fewer pods than wanted. Two schedulers at a time do no harm.
_ROLLING_UPDATE = {
    "type": "RollingUpdate",
    "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"},
}

#: How long a rollout may make no progress by default, and how much more than a start it may take
#: to pull an image and find a node, in milliseconds.
_PROGRESS_MS, _PROGRESS_MARGIN_MS = 600_000, 300_000


def workload(
    topology: Topology,
    component: Component,
    part: Pool | Api,
    pod: Object,
    autoscaler: Object | None,
    *,
    startup_ms: int = 0,
) -> list[Object]:
    """The objects of one workload, around its pod template, whose pods start in `startup_ms`."""
    return [
        # An autoscaler owns the number of replicas: each apply would reset it.
        _deployment(topology, component, pod, None if autoscaler else part.replicas, startup_ms),
        disruption_budget(topology, component, part.disruption, min_replicas(part)),
        *([autoscaler] if autoscaler else []),
    ]


def disruption_budget(
    topology: Topology, component: Component, disruption: Disruption | None, replicas: int
) -> Object:
    """How many pods a drain may evict at a time, of a workload with at least `replicas` pods."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": component_metadata(topology, component),
        "spec": {
            **_bound(disruption, replicas),
            "selector": pods_selector(topology, component),
            # An unhealthy pod must not block a drain.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }


def min_replicas(part: Pool | Api) -> int:
    """The smallest number of replicas that a workload may have."""
    return part.autoscale.min_replicas if part.autoscale else part.replicas


def blocks_drains(part: Pool | Api) -> bool:
    """Whether the topology's own bound would never allow an eviction."""
    return _blocks_drains(part.disruption, min_replicas(part))


def _blocks_drains(disruption: Disruption | None, replicas: int) -> bool:
    if disruption is None:
        return False
    if disruption.min_available is not None:
        return disruption.min_available >= replicas
    return disruption.max_unavailable == 0


def _bound(disruption: Disruption | None, replicas: int) -> dict[str, int]:
    if disruption is None or _blocks_drains(disruption, replicas):
        return {"maxUnavailable": 1}
    if disruption.min_available is not None:
        return {"minAvailable": disruption.min_available}
    return {"maxUnavailable": disruption.max_unavailable or 1}


def _deployment(
    topology: Topology, component: Component, pod: Object, replicas: int | None, startup_ms: int
) -> Object:
    size: Object = {} if replicas is None else {"replicas": replicas}
    deadline_ms = startup_ms + _PROGRESS_MARGIN_MS
    # Kubernetes' own deadline for a rollout to make progress is long enough for most.
    slow: Object = (
        {"progressDeadlineSeconds": seconds(deadline_ms)} if deadline_ms > _PROGRESS_MS else {}
    )
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": component_metadata(topology, component),
        "spec": {
            **size,
            "selector": pods_selector(topology, component),
            "strategy": _ROLLING_UPDATE,
            **slow,
            "template": pod,
        },
    }
