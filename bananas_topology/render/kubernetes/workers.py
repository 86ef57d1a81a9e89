"""One Deployment a pool; a scheduler is a pool that runs no jobs."""

from __future__ import annotations

from bananas_topology.launch import launch_for
from bananas_topology.render.containers import METRICS_PORT, log_directory
from bananas_topology.render.kubernetes.deployments import deployment_of, scrape_annotations
from bananas_topology.render.kubernetes.objects import (
    Object,
    Owner,
    pool_name,
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


def deployment(topology: Topology, pool: Pool, *, is_autoscaled: bool) -> Object:
    """The workers of one pool."""
    owner = Owner.of_pool(pool)
    pod = template(
        topology,
        owner,
        _container(topology, pool),
        grace_ms=launch_for(topology, pool).grace_ms,
        placement=pool.placement,
        volumes=[tmp_volume(), *_log_volumes(pool.logging)],
        annotations=scrape_annotations(topology, METRICS_PORT),
    )
    replicas = None if is_autoscaled else pool.replicas
    return deployment_of(topology, pool_name(topology, pool), owner, pod, replicas)


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


def _log_mounts(logging: Logging) -> list[Object]:
    directory = log_directory(logging)
    return [{"name": "logs", "mountPath": directory}] if directory else []


def _log_volumes(logging: Logging) -> list[Object]:
    """Each pod has log files of its own; room for all of them, and one that is being written."""
    if log_directory(logging) is None:
        return []
    size_mb = logging.file.max_size_mb * (logging.file.max_backups + 2)
    return [{"name": "logs", "emptyDir": {"sizeLimit": f"{size_mb}Mi"}}]
