"""One Deployment a pool; a scheduler is a pool that runs no jobs."""

from __future__ import annotations

from bananas_topology.launch import launch_for
from bananas_topology.render.containers import METRICS_PORT, log_directory
from bananas_topology.render.kubernetes.objects import (
    Object,
    Owner,
    metadata,
    pool_name,
    selector,
)
from bananas_topology.render.kubernetes.pods import (
    container_security,
    pull_policy,
    resources,
    template,
    tmp_mount,
    tmp_volume,
)
from bananas_topology.render.kubernetes.variables import worker_environment
from bananas_topology.spec.model import Logging, Pool, Topology

#: Never fewer than the pool has, whatever is rolled out. Two schedulers at a time do no harm.
ROLLING_UPDATE = {
    "type": "RollingUpdate",
    "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"},
}


def deployment(topology: Topology, pool: Pool, *, is_autoscaled: bool) -> Object:
    """The workers of one pool. An autoscaler's `replicas` are not ours to set."""
    owner = Owner.of_pool(pool)
    size: Object = {} if is_autoscaled else {"replicas": pool.replicas}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(topology, pool_name(topology, pool), owner),
        "spec": {
            **size,
            "selector": {"matchLabels": selector(topology, owner)},
            "strategy": ROLLING_UPDATE,
            "template": template(
                topology,
                owner,
                _container(topology, pool),
                grace_ms=launch_for(topology, pool).grace_ms,
                placement=pool.placement,
                volumes=[tmp_volume(), *_log_volumes(pool.logging)],
                annotations=_scrape_annotations(topology),
            ),
        },
    }


def _container(topology: Topology, pool: Pool) -> Object:
    return {
        "name": "worker",
        "image": pool.image,
        "imagePullPolicy": pull_policy(pool.image),
        "command": ["python", "-m", launch_for(topology, pool).module],
        **worker_environment(topology, pool),
        "ports": [{"name": "metrics", "containerPort": METRICS_PORT}],
        **resources(pool.resources),
        **_probes(),
        "securityContext": container_security(),
        "volumeMounts": [tmp_mount(), *_log_mounts(pool.logging)],
    }


def _probes() -> Object:
    """The worker judges itself: /livez that its loop turns, /readyz that it claims jobs.

    Handlers may take long to import: it has five minutes to start. Restarting a worker costs the
    jobs it runs, so that takes a minute without a sign of life.
    """
    lives = {"httpGet": {"path": "/livez", "port": "metrics"}}
    ready = {"httpGet": {"path": "/readyz", "port": "metrics"}}
    return {
        "startupProbe": {**lives, "periodSeconds": 2, "timeoutSeconds": 2, "failureThreshold": 150},
        "livenessProbe": {**lives, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
        "readinessProbe": {**ready, "periodSeconds": 5, "timeoutSeconds": 3, "failureThreshold": 3},
    }


def _scrape_annotations(topology: Topology) -> dict[str, str]:
    if topology.kubernetes.monitoring != "annotations":
        return {}
    return {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(METRICS_PORT),
        "prometheus.io/path": "/metrics",
    }


def _log_mounts(logging: Logging) -> list[Object]:
    directory = log_directory(logging)
    return [{"name": "logs", "mountPath": directory}] if directory else []


def _log_volumes(logging: Logging) -> list[Object]:
    """Each pod has log files of its own; room for all of them, and one that is being written."""
    if log_directory(logging) is None:
        return []
    size_mb = logging.file.max_size_mb * (logging.file.max_backups + 2)
    return [{"name": "logs", "emptyDir": {"sizeLimit": f"{size_mb}Mi"}}]
