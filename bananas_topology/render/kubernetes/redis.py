"""The managed Redis: one server with a disk and a password that never evicts a job."""

from __future__ import annotations

import re

from bananas_topology.contract.names import REDIS
from bananas_topology.render.kubernetes.objects import (
    Component,
    Object,
    component_metadata,
    component_name,
    pods_selector,
    selector,
)
from bananas_topology.render.kubernetes.pods import (
    CREDENTIALS_DIRECTORY,
    container_security,
    credentials_mount,
    credentials_volume,
    pod_template,
    pull_policy,
    tmp_mount,
    tmp_volume,
)
from bananas_topology.render.kubernetes.workloads import disruption_budget
from bananas_topology.render.redis_server import (
    DATA_DIRECTORY,
    PASSWORD_KEY,
    PORT,
    STOP_MS,
    ping,
    start_script,
)
from bananas_topology.spec.model import Topology
from bananas_topology.units import format_cpu, format_memory

#: The server runs commands in one thread, and rewrites its append-only file in another process.
CPU_REQUEST_MILLIS = 250
_CPU_LIMIT_MILLIS = 2_000


def is_managed(topology: Topology) -> bool:
    """Whether the topology includes a Redis server."""
    return not topology.redis.is_external


def redis_component(topology: Topology) -> Component:
    return Component(REDIS, image=topology.redis.managed.image)


def redis_name(topology: Topology) -> str:
    return component_name(topology, redis_component(topology))


def redis_objects(topology: Topology) -> list[Object]:
    """The Service, the StatefulSet and the PodDisruptionBudget of the managed server."""
    return [
        _service(topology),
        _stateful_set(topology),
        disruption_budget(topology, redis_component(topology), None, 1),
    ]


def redis_ports(topology: Topology) -> tuple[int, ...]:
    """The ports that pods reach Redis on, managed or external; none for a Unix socket.

    Sentinels return the servers' addresses, so the default port is included for them.
    """
    url = topology.redis.url
    if is_managed(topology) or url is None:
        return (PORT,)
    scheme, _, rest = url.partition("://")
    if scheme == "unix":
        return ()
    hosts = re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")[2]
    named = {int(port) for port in re.findall(r":(\d{1,5})(?=,|$)", hosts)}
    implied = {PORT} if "sentinel" in scheme or not named else set()
    return tuple(sorted(named | implied))


def _service(topology: Topology) -> Object:
    """The server's name in DNS."""
    component = redis_component(topology)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": component_metadata(topology, component),
        "spec": {
            "clusterIP": "None",
            "selector": selector(topology, component),
            "ports": [{"name": "redis", "port": PORT, "targetPort": "redis"}],
        },
    }


def _stateful_set(topology: Topology) -> Object:
    """The server, whose data outlives its pod."""
    component = redis_component(topology)
    pod = pod_template(
        topology,
        component,
        _container(topology),
        grace_ms=STOP_MS,
        volumes=[tmp_volume(), credentials_volume(topology, [PASSWORD_KEY])],
    )
    # There is only one pod.
    del pod["spec"]["topologySpreadConstraints"]
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": component_metadata(topology, component),
        "spec": {
            "serviceName": redis_name(topology),
            "replicas": 1,
            "selector": pods_selector(topology, component),
            "template": pod,
            "volumeClaimTemplates": [_claim(topology)],
            "persistentVolumeClaimRetentionPolicy": {
                "whenDeleted": "Retain",
                "whenScaled": "Retain",
            },
        },
    }


def _container(topology: Topology) -> Object:
    managed = topology.redis.managed
    memory = format_memory(managed.memory_bytes)
    password_file = f"{CREDENTIALS_DIRECTORY}/{PASSWORD_KEY}"
    # Fails if the password has changed, so that the server is restarted with the new one.
    probe = {"exec": {"command": ["sh", "-c", ping(password_file)]}}
    return {
        "name": "redis",
        "image": managed.image,
        "imagePullPolicy": pull_policy(topology, managed.image),
        "command": ["sh", "-ec", start_script(managed.memory_bytes, password_file)],
        "ports": [{"name": "redis", "containerPort": PORT}],
        "resources": {
            "requests": {"cpu": format_cpu(CPU_REQUEST_MILLIS), "memory": memory},
            "limits": {"cpu": format_cpu(_CPU_LIMIT_MILLIS), "memory": memory},
        },
        # Half an hour to load the data; after that, restarted after a minute without a reply.
        "startupProbe": {**probe, "periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 360},
        "livenessProbe": {**probe, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
        "readinessProbe": {**probe, "periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 3},
        "securityContext": container_security(),
        "volumeMounts": [
            {"name": "data", "mountPath": DATA_DIRECTORY},
            tmp_mount(),
            credentials_mount(),
        ],
    }


def _claim(topology: Topology) -> Object:
    """The template of the claim, complete with what a server sets by default.

    The list of templates is compared as a whole: any difference would make each apply change the
    StatefulSet, and conflict with server-side apply.
    """
    storage = format_memory(topology.redis.managed.storage_bytes)
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "labels": selector(topology, redis_component(topology))},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": storage}},
            "volumeMode": "Filesystem",
        },
        "status": {"phase": "Pending"},
    }
