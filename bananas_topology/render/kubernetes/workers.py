"""The objects of one pool; the scheduler is a pool that runs no jobs."""

from __future__ import annotations

from bananas_topology.contract.worker import WorkerConfig
from bananas_topology.launch import launch_for
from bananas_topology.render.containers import METRICS_PORT, log_directory
from bananas_topology.render.credentials import worker_files
from bananas_topology.render.kubernetes import hpa, keda
from bananas_topology.render.kubernetes.objects import Component, Object
from bananas_topology.render.kubernetes.pods import (
    container_resources,
    container_security,
    credentials_mount,
    credentials_volume,
    http_probes,
    pod_template,
    pull_policy,
    tmp_mount,
    tmp_volume,
)
from bananas_topology.render.kubernetes.sources import mounts, volumes
from bananas_topology.render.kubernetes.variables import literal, worker_environment
from bananas_topology.render.kubernetes.workloads import workload
from bananas_topology.render.names import MAX_LABEL, dns_label
from bananas_topology.spec.container import InitCommand
from bananas_topology.spec.model import Pool, Topology


def pool_objects(topology: Topology, pool: Pool) -> list[Object]:
    """A pool's Deployment, PodDisruptionBudget and autoscaler."""
    component = Component.of_pool(pool)
    pod = pod_template(
        topology,
        component,
        _container(topology, pool),
        grace_ms=launch_for(topology, pool).grace_ms,
        placement=pool.placement,
        volumes=[
            tmp_volume(),
            credentials_volume(topology, worker_files(topology)),
            *_log_volumes(pool.worker),
            *volumes(pool.container),
        ],
        scrape_port=METRICS_PORT,
        of=pool.container,
        init=[_init_container(topology, pool, command) for command in pool.container.init],
    )
    scaler = _autoscaler(topology, component, pool)
    return workload(topology, component, pool, pod, scaler, startup_ms=pool.startup_ms)


def _autoscaler(topology: Topology, component: Component, pool: Pool) -> Object | None:
    if pool.autoscale is None:
        return None
    if keda.is_chosen(topology):
        triggers = keda.pool_triggers(topology, pool, pool.autoscale)
        return keda.scaled_object(topology, component, pool.autoscale, triggers)
    metrics = hpa.pool_metrics(pool, pool.autoscale)
    return hpa.autoscaler(topology, component, pool.autoscale, metrics)


def _container(topology: Topology, pool: Pool) -> Object:
    return {
        "name": "worker",
        "image": pool.image,
        "imagePullPolicy": pull_policy(topology, pool.image),
        "command": ["python", "-m", launch_for(topology, pool).module],
        **worker_environment(topology, pool),
        "ports": [{"name": "metrics", "containerPort": METRICS_PORT}],
        **container_resources(pool.resources),
        # A restart costs the jobs that run, so it takes a minute of failed checks. While handlers
        # are imported the worker is alive, but has not started.
        **http_probes(
            "metrics",
            startup_ms=pool.startup_ms,
            liveness=6,
            readiness=3,
            started="/livez?started",
        ),
        "securityContext": container_security(),
        "volumeMounts": _mounts(pool),
    }


def _init_container(topology: Topology, pool: Pool, command: InitCommand) -> Object:
    """A container with everything that the worker has, which runs before it."""
    image = command.image or pool.image
    return {
        "name": dns_label(f"init-{command.name}", MAX_LABEL),
        "image": image,
        "imagePullPolicy": pull_policy(topology, image),
        "command": [literal(word) for word in command.command],
        **worker_environment(topology, pool),
        **container_resources(pool.resources),
        "securityContext": container_security(),
        "volumeMounts": _mounts(pool),
    }


def _mounts(pool: Pool) -> list[Object]:
    own = [tmp_mount(), credentials_mount(), *_log_mounts(pool.worker)]
    return [*own, *mounts(pool.container)]


def _log_mounts(worker: WorkerConfig) -> list[Object]:
    directory = log_directory(worker)
    return [{"name": "logs", "mountPath": directory}] if directory else []


def _log_volumes(worker: WorkerConfig) -> list[Object]:
    """A volume per pod with room for all backups, the current file and one being compressed."""
    if log_directory(worker) is None:
        return []
    size_mb = worker.log_file_max_size_mb * (worker.log_file_max_backups + 2)
    return [{"name": "logs", "emptyDir": {"sizeLimit": f"{size_mb}Mi"}}]
