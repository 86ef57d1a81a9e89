"""PodMonitor and PrometheusRule, for clusters with the Prometheus operator.

Rules use only what the processes export: each worker says the same of the queues, so a gauge is
taken once (``max``), while counters of jobs are each worker's own and are added up.
"""

from __future__ import annotations

from bananas_topology.render.kubernetes.objects import (
    Object,
    metadata,
    object_name,
    selector,
)
from bananas_topology.spec.model import Topology

#: Ready jobs of one priority that are too many, for most deployments: a patch says it for others.
_DEEP = 1000

#: The share of its slots' time that a pool may be at work before jobs will soon wait.
_BUSY = 0.8

#: The share of runs that may fail.
_FAILING = 0.05


def monitoring_name(topology: Topology) -> str:
    return object_name(topology, "bananas")


def pod_monitor(topology: Topology) -> Object:
    """What to scrape: workers and schedulers at their metrics port, the api at its own."""
    endpoints = [{"port": "metrics", "path": "/metrics"}]
    if topology.api is not None:
        endpoints.append({"port": "http", "path": "/metrics"})
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PodMonitor",
        "metadata": metadata(topology, monitoring_name(topology)),
        "spec": {
            "selector": {"matchLabels": selector(topology)},
            "podMetricsEndpoints": endpoints,
        },
    }


def prometheus_rule(topology: Topology) -> Object:
    """When to wake someone, and with which words."""
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": metadata(topology, monitoring_name(topology)),
        "spec": {"groups": [{"name": f"{topology.name}.bananas", "rules": _rules(topology)}]},
    }


def _rules(topology: Topology) -> list[Object]:
    where = f'{{namespace="{topology.kubernetes.namespace}"}}'
    completed = f"sum(rate(bananas_jobs_completed_total{where}[5m]))"
    failed = f"sum(rate(bananas_jobs_failed_total{where}[5m]))"
    rules = [
        _alert(
            "BananasQueueDeep",
            f"max by (priority) (bananas_queue_depth{where}) > {_DEEP}",
            "5m",
            "{{ $value }} {{ $labels.priority }} jobs are waiting",
            "Workers do not keep up: add replicas or concurrency, or look for what slows jobs.",
        ),
        _alert(
            "BananasWorkersBusy",
            f"avg by (pool) (bananas_worker_utilization{where}) > {_BUSY}",
            "10m",
            "The workers of pool {{ $labels.pool }} are busy "
            "{{ $value | humanizePercentage }} of the time",
            "Jobs will soon wait: add replicas or concurrency.",
        ),
        _alert(
            "BananasErrorRateHigh",
            f"{failed} / ({completed} + {failed}) > {_FAILING}",
            "5m",
            "{{ $value | humanizePercentage }} of the runs of jobs fail",
            "bananas dead list shows the last error of the jobs that were given up.",
        ),
        _alert(
            "BananasDeadJobsGrowing",
            f"max(delta(bananas_dead_letter_queue_depth{where}[15m])) > 0",
            "5m",
            "{{ $value | humanize }} jobs have died in the last quarter of an hour",
            "bananas dead list shows them and why; bananas dead retry brings them back.",
        ),
    ]
    if any(pool.enable_scheduler for pool in topology.pools):
        rules.append(
            _alert(
                "BananasNoScheduler",
                f"absent(bananas_scheduler_up{where} == 1)",
                "5m",
                "No scheduler is running",
                "Retries, delayed jobs and schedules stand still until one is.",
                severity="critical",
            )
        )
    return rules


def _alert(
    name: str,
    expression: str,
    lasting: str,
    summary: str,
    description: str,
    severity: str = "warning",
) -> Object:
    return {
        "alert": name,
        "expr": expression,
        "for": lasting,
        "labels": {"severity": severity},
        "annotations": {"summary": summary, "description": description},
    }
