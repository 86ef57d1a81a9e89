"""PodMonitor and PrometheusRule, for clusters with the Prometheus operator.

Rules use only metrics that the processes export. Every worker exports the same gauges of the
queues, so rules take their ``max``; counters of jobs differ per worker, so rules add them up.
"""

from __future__ import annotations

from bananas_topology.render.credentials import READ_TOKEN_KEY, TOKEN_KEY
from bananas_topology.render.kubernetes.objects import (
    Object,
    metadata,
    object_name,
    pods_selector,
)
from bananas_topology.spec.model import Topology

#: Ready jobs of one priority. Too many for most deployments; others change it with a patch.
_MAX_QUEUE_DEPTH = 1000

#: Ratio of busy slots; above it, jobs will soon have to wait.
_MAX_UTILIZATION = 0.8

#: Ratio of failed runs.
_MAX_ERROR_RATE = 0.05

#: Share of a worker's slots held by timed-out jobs; beyond a half it restarts.
_MAX_STUCK = 0.2


def monitoring_objects(topology: Topology) -> list[Object]:
    """The PodMonitor and the PrometheusRule."""
    return [_pod_monitor(topology), _prometheus_rule(topology)]


def _pod_monitor(topology: Topology) -> Object:
    """Scrapes workers and schedulers at their metrics port, the api at its own port."""
    endpoints: list[Object] = [{"port": "metrics", "path": "/metrics"}]
    if topology.api is not None:
        credentials = {"name": topology.kubernetes.secret, "key": _token_key(topology)}
        authorization = {"type": "Bearer", "credentials": credentials}
        endpoints.append({"port": "http", "path": "/metrics", "authorization": authorization})
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PodMonitor",
        "metadata": metadata(topology, _name(topology)),
        "spec": {
            "selector": pods_selector(topology),
            "podMetricsEndpoints": endpoints,
        },
    }


def _token_key(topology: Topology) -> str:
    """The token of the api that Prometheus sends: the read-only one if there is one."""
    assert topology.api is not None
    return READ_TOKEN_KEY if READ_TOKEN_KEY in topology.api.secrets else TOKEN_KEY


def _prometheus_rule(topology: Topology) -> Object:
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": metadata(topology, _name(topology)),
        "spec": {"groups": [{"name": f"{topology.name}.bananas", "rules": _rules(topology)}]},
    }


def _name(topology: Topology) -> str:
    return object_name(topology, "bananas")


def _rules(topology: Topology) -> list[Object]:
    where = f'{{namespace="{topology.kubernetes.namespace}"}}'
    rules = [*_capacity_rules(where), *_failure_rules(where)]
    if any(pool.worker.enable_scheduler for pool in topology.pools):
        rules.append(
            _alert(
                "BananasNoScheduler",
                f"absent(bananas_scheduler_up{where} == 1)",
                "5m",
                "No scheduler is running",
                "Retries, delayed jobs and schedules do not run until a scheduler is started.",
                severity="critical",
            )
        )
    return rules


def _capacity_rules(where: str) -> list[Object]:
    return [
        _alert(
            "BananasQueueDeep",
            f"max by (priority) (bananas_queue_depth{where}) > {_MAX_QUEUE_DEPTH}",
            "5m",
            "{{ $value }} jobs of priority {{ $labels.priority }} are waiting",
            "Workers are not keeping up: add replicas or concurrency, or find the slow jobs.",
        ),
        _alert(
            "BananasWorkersBusy",
            f"avg by (pool) (bananas_worker_utilization{where}) > {_MAX_UTILIZATION}",
            "10m",
            "Workers of pool {{ $labels.pool }} are busy "
            "{{ $value | humanizePercentage }} of the time",
            "Jobs will soon have to wait: add replicas or concurrency.",
        ),
        _alert(
            "BananasSlotsStuck",
            f"max by (pool) (bananas_worker_stuck{where} / bananas_worker_total{where})"
            f" > {_MAX_STUCK}",
            "5m",
            "{{ $value | humanizePercentage }} of the slots of a worker in pool "
            "{{ $labels.pool }} are held by jobs that have timed out",
            "Their handlers do not end: the worker's log names the jobs. Fix the handlers.",
        ),
    ]


def _failure_rules(where: str) -> list[Object]:
    completed = f"sum(rate(bananas_jobs_completed_total{where}[5m]))"
    failed = f"sum(rate(bananas_jobs_failed_total{where}[5m]))"
    return [
        _alert(
            "BananasErrorRateHigh",
            f"{failed} / ({completed} + {failed}) > {_MAX_ERROR_RATE}",
            "5m",
            "{{ $value | humanizePercentage }} of job runs fail",
            "bananas dead list shows the last error of each dead job.",
        ),
        _alert(
            "BananasDeadJobsGrowing",
            f"max(delta(bananas_dead_letter_queue_depth{where}[15m])) > 0",
            "5m",
            "{{ $value | humanize }} jobs died in the last 15 minutes",
            "bananas dead list shows why; bananas dead retry enqueues them again.",
        ),
    ]


def _alert(
    name: str,
    expression: str,
    duration: str,
    summary: str,
    description: str,
    severity: str = "warning",
) -> Object:
    return {
        "alert": name,
        "expr": expression,
        "for": duration,
        "labels": {"severity": severity},
        "annotations": {"summary": summary, "description": description},
    }
