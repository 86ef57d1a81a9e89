"""How many pods a planned eviction may take at a time, so that a node can always be drained."""

from __future__ import annotations

from bananas_topology.render.kubernetes.objects import Object, Owner, metadata, selector
from bananas_topology.spec.model import Autoscale, Disruption, Topology


def disruption_budget(
    topology: Topology, name: str, owner: Owner, disruption: Disruption | None, replicas: int
) -> Object:
    """The budget of one workload, of which at least `replicas` run."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(topology, name, owner),
        "spec": {
            **_bound(disruption, replicas),
            "selector": {"matchLabels": selector(topology, owner)},
            # A pod that does not work must not keep a node from being drained.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }


def fewest(replicas: int, autoscale: Autoscale | None) -> int:
    """The fewest replicas that a workload may have."""
    return autoscale.min_replicas if autoscale else replicas


def blocks_drains(disruption: Disruption | None, replicas: int) -> bool:
    """Whether a topology's own bound would never let a pod go."""
    if disruption is None:
        return False
    if disruption.min_available is not None:
        return disruption.min_available >= replicas
    return disruption.max_unavailable == 0


def _bound(disruption: Disruption | None, replicas: int) -> dict[str, int]:
    if disruption is None or blocks_drains(disruption, replicas):
        return {"maxUnavailable": 1}
    if disruption.min_available is not None:
        return {"minAvailable": disruption.min_available}
    return {"maxUnavailable": disruption.max_unavailable or 1}
