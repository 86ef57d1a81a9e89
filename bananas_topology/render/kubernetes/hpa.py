"""HorizontalPodAutoscalers: replica bounds, targets and scaling speeds of the topology."""

from __future__ import annotations

from bananas_topology.render.kubernetes.objects import (
    Component,
    Object,
    component_metadata,
    component_name,
)
from bananas_topology.render.kubernetes.pods import seconds
from bananas_topology.spec.model import Autoscale, Pool, ScalingStep, Topology

#: The external metric that an adapter has to serve: ready jobs, by priority.
QUEUE_DEPTH_METRIC = "bananas_queue_depth"
#: The custom metric that an adapter has to serve for each pod of the api.
REQUEST_RATE_METRIC = "bananas_http_requests_per_second"


def autoscaler(
    topology: Topology, component: Component, autoscale: Autoscale, metrics: list[Object]
) -> Object:
    """The autoscaler of one Deployment."""
    name = component_name(topology, component)
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": component_metadata(topology, component),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": autoscale.min_replicas,
            "maxReplicas": autoscale.max_replicas,
            "metrics": metrics,
            "behavior": behavior(autoscale),
        },
    }


def behavior(autoscale: Autoscale) -> Object:
    """How fast it may scale up and down."""
    return {"scaleUp": _rules(autoscale.scale_up), "scaleDown": _rules(autoscale.scale_down)}


def pool_metrics(pool: Pool, autoscale: Autoscale) -> list[Object]:
    """The targets of a pool."""
    metrics = _resource_metrics(autoscale)
    if autoscale.queue_depth is not None:
        target = {"type": "AverageValue", "averageValue": str(autoscale.queue_depth)}
        metric = {"name": QUEUE_DEPTH_METRIC, "selector": _priorities_selector(pool)}
        metrics.append({"type": "External", "external": {"metric": metric, "target": target}})
    return metrics


def api_metrics(autoscale: Autoscale) -> list[Object]:
    """The targets of the api."""
    metrics = _resource_metrics(autoscale)
    if autoscale.requests_per_second is not None:
        target = {"type": "AverageValue", "averageValue": str(autoscale.requests_per_second)}
        metric = {"metric": {"name": REQUEST_RATE_METRIC}, "target": target}
        metrics.append({"type": "Pods", "pods": metric})
    return metrics


def utilization_targets(autoscale: Autoscale) -> list[tuple[str, int]]:
    """The targets in percent of the request: resource and percent."""
    targets = [("cpu", autoscale.cpu_percent), ("memory", autoscale.memory_percent)]
    return [(name, percent) for name, percent in targets if percent is not None]


def _resource_metrics(autoscale: Autoscale) -> list[Object]:
    return [
        {
            "type": "Resource",
            "resource": {
                "name": name,
                "target": {"type": "Utilization", "averageUtilization": percent},
            },
        }
        for name, percent in utilization_targets(autoscale)
    ]


def _rules(step: ScalingStep) -> Object:
    period_s = seconds(step.period_ms)
    limits = [("Percent", step.percent), ("Pods", step.pods)]
    policies = [
        {"type": kind, "value": value, "periodSeconds": period_s}
        for kind, value in limits
        if value is not None
    ]
    rules: Object = {"stabilizationWindowSeconds": seconds(step.window_ms)}
    if policies:
        rules |= {"policies": policies, "selectPolicy": step.select.capitalize()}
    return rules


def _priorities_selector(pool: Pool) -> Object:
    """Selects the metric's series of a pool's priorities; an autoscaler sums them."""
    if len(pool.worker.priorities) == 1:
        return {"matchLabels": {"priority": pool.worker.priorities[0]}}
    expression = {"key": "priority", "operator": "In", "values": list(pool.worker.priorities)}
    return {"matchExpressions": [expression]}
