"""The services of a Compose file, one function each: whole, plain values, nothing shared yet.

Text that Compose shall interpolate is a `Reference`; all other text means what it says, and
`compose.py` doubles its dollar signs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from bananas_topology.launch import Launch, launch_for, launch_for_api
from bananas_topology.render.containers import METRICS_PORT, USER_ID, log_directory
from bananas_topology.render.environment import in_table_order
from bananas_topology.render.redis_server import DATA_DIRECTORY, PING, PORT, start_script
from bananas_topology.spec.model import Api, Placement, Pool, Resources, Topology
from bananas_topology.units import format_duration

APP_USER = f"{USER_ID}:{USER_ID}"
#: The user of the official Redis and Valkey images. As root they would begin with a chown and a
#: change of user, for which a container without capabilities has no right.
REDIS_USER = "999:999"

LIVENESS_FILE = "/tmp/alive"

#: What a container may write to ``/tmp``, the only place it may write to; it counts as memory.
TMP_SIZE = "1g"

REDIS_VOLUME = "redis-data"
#: Our services beside the pools, of which none may be called so. The server's network has its
#: name, too: only the server and its clients are on it, and it leads nowhere.
REDIS = "redis"
API = "api"

#: How long Redis may take to stop: what it holds is on disk but for the last second.
_REDIS_STOP_MS = 60_000

#: Lines of a container that Docker keeps: as much as is of use on the spot, and no full disk.
_DOCKER_LOGS = {"driver": "json-file", "options": {"max-size": "10m", "max-file": "5"}}

#: What no service of ours needs is taken away; what holds for one container of each holds for all.
HARDENED: Mapping[str, Any] = {
    "init": True,
    "restart": "unless-stopped",
    "read_only": True,
    "tmpfs": [f"/tmp:size={TMP_SIZE}"],
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
    "logging": _DOCKER_LOGS,
}


class Reference(str):
    """Text with `${VARIABLE}` in it that is Compose's to interpolate."""


def required(name: str, hint: str = "set it in the environment or in .env") -> Reference:
    """The value of a variable, without which Compose starts nothing; the file never holds it."""
    return Reference(f"${{{name}:?{hint}}}")


def worker_service(topology: Topology, pool: Pool) -> dict[str, Any]:
    """The service of a pool."""
    launch = launch_for(topology, pool)
    added = {"METRICS_PORT": str(METRICS_PORT), "LIVENESS_FILE": LIVENESS_FILE}
    service = _program(topology, pool.image, launch)
    service["environment"] = _environment(topology, launch, pool.secrets, added)
    service["deploy"] = _deploy(pool.replicas, pool.resources, pool.placement)
    service["healthcheck"] = _healthcheck(["CMD", "python", "-m", "bananas_topology.liveness"])
    if directory := log_directory(pool.logging):
        # Without a name it belongs to one container alone: replicas must not share log files.
        service["volumes"] = [{"type": "volume", "target": directory}]
    return {**service, **HARDENED}


def api_service(topology: Topology, api: Api) -> dict[str, Any]:
    """The service of the api."""
    launch = launch_for_api(topology, api)
    hint = "set it in .env, for instance to what openssl rand -hex 32 prints"
    service = _program(topology, api.image, launch)
    service["environment"] = _environment(
        topology, launch, api.secrets, {"API_TOKEN": required("API_TOKEN", hint)}
    )
    service["deploy"] = _deploy(api.replicas, api.resources, api.placement)
    url = f"http://127.0.0.1:{api.port}/readyz"
    probe = f"import urllib.request as request; request.urlopen('{url}', timeout=4)"
    service["healthcheck"] = _healthcheck(["CMD", "python", "-c", probe])
    if api.publish is not None:
        # As many as there are replicas, or more: no topology with fewer is valid.
        service["ports"] = [f"{api.publish}:{api.port}"]
    return {**service, **HARDENED}


def redis_service(topology: Topology) -> dict[str, Any]:
    """The service of a Redis of our own: durable, bounded, never evicting, reached by us alone."""
    managed = topology.redis.managed
    return {
        "image": managed.image,
        "user": REDIS_USER,
        "entrypoint": ["sh", "-ec"],
        "command": [start_script(managed.memory_bytes)],
        "environment": {"REDISCLI_AUTH": _password()},
        "networks": [REDIS],
        "volumes": [f"{REDIS_VOLUME}:{DATA_DIRECTORY}"],
        "deploy": {
            "replicas": 1,
            "resources": {"limits": {"memory": compose_memory(managed.memory_bytes)}},
        },
        "healthcheck": {
            "test": ["CMD-SHELL", PING],
            "interval": "5s",
            "timeout": "3s",
            "retries": 3,
            # Reading a long append-only file back takes its time; healthy counts at once.
            "start_period": "5m",
        },
        "stop_grace_period": format_duration(_REDIS_STOP_MS),
        **HARDENED,
    }


def compose_memory(memory_bytes: int) -> str:
    """Write bytes as Compose does, in the largest binary unit that is exact.

    >>> [compose_memory(n) for n in (1000, 512 * 2**20, 4 * 2**30)]
    ['1000b', '512M', '4G']
    """
    for unit, size in (("G", 2**30), ("M", 2**20), ("K", 2**10)):
        if memory_bytes and memory_bytes % size == 0:
            return f"{memory_bytes // size}{unit}"
    return f"{memory_bytes}b"


def compose_cpus(cpu_millis: int) -> str:
    """Write millicores as cores.

    >>> [compose_cpus(n) for n in (500, 2000, 20_000, 250)]
    ['0.5', '2', '20', '0.25']
    """
    return f"{(Decimal(cpu_millis) / 1000).normalize():f}"


def swarm_constraints(placement: Placement | None) -> list[str]:
    """What the Compose Specification has for placement; only Swarm goes by it.

    Labels with a prefix, as Kubernetes has them, are none in Swarm.
    """
    labels = placement.require if placement else {}
    return [f"node.labels.{name} == {text}" for name, text in labels.items() if "/" not in name]


def _program(topology: Topology, image: str, launch: Launch) -> dict[str, Any]:
    """What a worker and the api have alike."""
    service: dict[str, Any] = {"image": image}
    if topology.build is not None and image == topology.image:
        service["build"] = topology.build
    service["user"] = APP_USER
    service["entrypoint"] = ["python", "-m", launch.module]
    service["stop_grace_period"] = format_duration(launch.grace_ms)
    if not topology.redis.is_external:
        service["depends_on"] = {REDIS: {"condition": "service_healthy"}}
        service["networks"] = ["default", REDIS]
    return service


def _environment(
    topology: Topology, launch: Launch, secrets: Sequence[str], added: Mapping[str, str]
) -> dict[str, str]:
    """All variables of a process: the contract's in table order, then its own."""
    variables = {
        **launch.env,
        **{name: required(name) for name in secrets},
        **added,
        "REDIS_URL": _redis_url(topology),
    }
    return {name: variables[name] for name in in_table_order(variables)}


def _redis_url(topology: Topology) -> Reference:
    if topology.redis.is_external:
        return required("REDIS_URL", "set it in .env, such as redis://redis.example.com:6379/0")
    return Reference(f"redis://:{_password()}@{REDIS}:{PORT}/0")


def _password() -> Reference:
    hint = "set it in .env, for instance to what openssl rand -hex 24 prints"
    return required("REDIS_PASSWORD", hint)


def _deploy(replicas: int, resources: Resources, placement: Placement | None) -> dict[str, Any]:
    deploy: dict[str, Any] = {"replicas": replicas}
    amounts = {
        kind: each
        for kind, given in (("limits", resources.limits), ("reservations", resources.requests))
        if (each := _amounts(given.cpu_millis, given.memory_bytes))
    }
    if amounts:
        deploy["resources"] = amounts
    if constraints := swarm_constraints(placement):
        deploy["placement"] = {"constraints": constraints}
    return deploy


def _amounts(cpu_millis: int | None, memory_bytes: int | None) -> dict[str, str]:
    amounts = {}
    if cpu_millis is not None:
        amounts["cpus"] = compose_cpus(cpu_millis)
    if memory_bytes is not None:
        amounts["memory"] = compose_memory(memory_bytes)
    return amounts


def _healthcheck(test: list[str]) -> dict[str, Any]:
    return {
        "test": test,
        "interval": "10s",
        "timeout": "5s",
        "retries": 3,
        "start_period": "1m",  # handlers may be slow to import; healthy counts at once
    }
