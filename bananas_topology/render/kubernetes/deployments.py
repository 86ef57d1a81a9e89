"""What the Deployments of pools and of the api have in common."""

from __future__ import annotations

from bananas_topology.render.kubernetes.objects import Object, Owner, metadata, selector
from bananas_topology.spec.model import Topology

#: Never fewer than there are to be, whatever is rolled out. Two schedulers at a time do no harm.
_ROLLING_UPDATE = {
    "type": "RollingUpdate",
    "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"},
}


def deployment_of(
    topology: Topology, name: str, owner: Owner, pod: Object, replicas: int | None
) -> Object:
    """The Deployment around a pod template. `replicas` None: they are an autoscaler's to set."""
    size: Object = {} if replicas is None else {"replicas": replicas}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(topology, name, owner),
        "spec": {
            **size,
            "selector": {"matchLabels": selector(topology, owner)},
            "strategy": _ROLLING_UPDATE,
            "template": pod,
        },
    }


def scrape_annotations(topology: Topology, port: int) -> dict[str, str]:
    """What tells Prometheus to scrape a pod, where nothing else does."""
    if topology.kubernetes.monitoring != "annotations":
        return {}
    return {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(port),
        "prometheus.io/path": "/metrics",
    }
