"""HorizontalPodAutoscalers: bounds, targets and speeds as the topology has them."""

from __future__ import annotations

from bananas_topology.render.kubernetes.objects import Object, Owner, metadata
from bananas_topology.render.kubernetes.pods import seconds
from bananas_topology.spec.model import Autoscale, Pool, ScalingStep, Topology

#: What an adapter for external metrics has to serve: ready jobs, by priority.
QUEUE_DEPTH_METRIC = "bananas_queue_depth"
#: What an adapter for custom metrics has to serve, for each pod of the api.
REQUEST_RATE_METRIC = "bananas_http_requests_per_second"


def autoscaler(
    topology: Topology, name: str, owner: Owner, autoscale: Autoscale, metrics: list[Object]
) -> Object:
    """The autoscaler of one Deployment."""
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata(topology, name, owner),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": autoscale.min_replicas,
            "maxReplicas": autoscale.max_replicas,
            "metrics": metrics,
            "behavior": behavior(autoscale),
        },
    }


def behavior(autoscale: Autoscale) -> Object:
    """How fast it may go each way."""
    return {"scaleUp": _rules(autoscale.scale_up), "scaleDown": _rules(autoscale.scale_down)}


def pool_metrics(pool: Pool, autoscale: Autoscale) -> list[Object]:
    """What a pool is scaled by."""
    made = resource_metrics(autoscale)
    if autoscale.queue_depth is not None:
        target = {"type": "AverageValue", "averageValue": str(autoscale.queue_depth)}
        metric = {"name": QUEUE_DEPTH_METRIC, "selector": _of_priorities(pool)}
        made.append({"type": "External", "external": {"metric": metric, "target": target}})
    return made


def api_metrics(autoscale: Autoscale) -> list[Object]:
    """What the api is scaled by."""
    made = resource_metrics(autoscale)
    if autoscale.requests_per_second is not None:
        target = {"type": "AverageValue", "averageValue": str(autoscale.requests_per_second)}
        metric = {"metric": {"name": REQUEST_RATE_METRIC}, "target": target}
        made.append({"type": "Pods", "pods": metric})
    return made


def resource_metrics(autoscale: Autoscale) -> list[Object]:
    """CPU and memory, as shares of what is requested."""
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


def utilization_targets(autoscale: Autoscale) -> list[tuple[str, int]]:
    """The targets that are shares of a request, by resource."""
    targets = [("cpu", autoscale.cpu_percent), ("memory", autoscale.memory_percent)]
    return [(name, percent) for name, percent in targets if percent is not None]


def _rules(step: ScalingStep) -> Object:
    period_s = seconds(step.period_ms)
    bounds = [("Percent", step.percent), ("Pods", step.pods)]
    policies = [
        {"type": kind, "value": value, "periodSeconds": period_s}
        for kind, value in bounds
        if value is not None
    ]
    rules: Object = {"stabilizationWindowSeconds": seconds(step.window_ms)}
    if policies:
        rules |= {"policies": policies, "selectPolicy": step.select.capitalize()}
    return rules


def _of_priorities(pool: Pool) -> Object:
    """Which of the metric's series are the pool's; an autoscaler adds them up."""
    if len(pool.priorities) == 1:
        return {"matchLabels": {"priority": pool.priorities[0]}}
    expression = {"key": "priority", "operator": "In", "values": list(pool.priorities)}
    return {"matchExpressions": [expression]}
