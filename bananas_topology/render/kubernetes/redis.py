"""The Redis of our own: one server with a disk, a password, and no permission to evict a job."""

from __future__ import annotations

import re

from bananas_topology.render.kubernetes.objects import (
    REDIS,
    Object,
    Owner,
    metadata,
    object_name,
    selector,
)
from bananas_topology.render.kubernetes.pods import (
    container_security,
    pull_policy,
    template,
    tmp_mount,
    tmp_volume,
)
from bananas_topology.render.kubernetes.variables import secret_reference
from bananas_topology.render.redis_server import DATA_DIRECTORY, PING, PORT, start_script
from bananas_topology.spec.model import Topology
from bananas_topology.units import format_cpu, format_memory

#: The server's and its clients' password, in the Secret.
PASSWORD_KEY = "REDIS_PASSWORD"

#: The server runs commands in one thread, and rewrites its file in another process.
CPU_REQUEST_MILLIS = 250
_CPU_LIMIT_MILLIS = 2_000

#: Milliseconds that the server has to bring what it holds to disk.
_GRACE_MS = 60_000


def is_managed(topology: Topology) -> bool:
    """Whether the topology brings its own server along."""
    return not topology.redis.is_external


def redis_name(topology: Topology) -> str:
    return object_name(topology, REDIS)


def redis_owner(topology: Topology) -> Owner:
    return Owner(REDIS, image=topology.redis.managed.image)


def service(topology: Topology) -> Object:
    """The server's name in DNS."""
    owner = redis_owner(topology)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(topology, redis_name(topology), owner),
        "spec": {
            "clusterIP": "None",
            "selector": selector(topology, owner),
            "ports": [{"name": "redis", "port": PORT, "targetPort": "redis"}],
        },
    }


def stateful_set(topology: Topology) -> Object:
    """The server, whose data outlives its pod."""
    owner = redis_owner(topology)
    name = redis_name(topology)
    pod = template(
        topology, owner, _container(topology), grace_ms=_GRACE_MS, volumes=[tmp_volume()]
    )
    # One pod has nothing to be spread from.
    del pod["spec"]["topologySpreadConstraints"]
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": metadata(topology, name, owner),
        "spec": {
            "serviceName": name,
            "replicas": 1,
            "selector": {"matchLabels": selector(topology, owner)},
            "template": pod,
            "volumeClaimTemplates": [_claim(topology)],
        },
    }


def ports_of(topology: Topology) -> tuple[int, ...]:
    """The ports that pods reach Redis on: ours, or the external one's; none for a socket.

    Behind Sentinels the servers are found by asking, so their usual port is among them.
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


def _container(topology: Topology) -> Object:
    managed = topology.redis.managed
    memory = format_memory(managed.memory_bytes)
    ping = {"exec": {"command": ["sh", "-c", PING]}}
    return {
        "name": "redis",
        "image": managed.image,
        "imagePullPolicy": pull_policy(managed.image),
        "command": ["sh", "-ec", start_script(managed.memory_bytes)],
        "env": [{"name": "REDISCLI_AUTH", **secret_reference(topology, PASSWORD_KEY)}],
        "ports": [{"name": "redis", "containerPort": PORT}],
        "resources": {
            "requests": {"cpu": format_cpu(CPU_REQUEST_MILLIS), "memory": memory},
            "limits": {"cpu": format_cpu(_CPU_LIMIT_MILLIS), "memory": memory},
        },
        # Half an hour to load what it holds; then a minute without an answer is too long.
        "startupProbe": {**ping, "periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 360},
        "livenessProbe": {**ping, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
        "readinessProbe": {**ping, "periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 3},
        "securityContext": container_security(),
        "volumeMounts": [{"name": "data", "mountPath": DATA_DIRECTORY}, tmp_mount()],
    }


def _claim(topology: Topology) -> Object:
    storage = format_memory(topology.redis.managed.storage_bytes)
    return {
        "metadata": {"name": "data", "labels": selector(topology, redis_owner(topology))},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": storage}},
        },
    }
