"""The services of a Compose file, one function per service: complete, with nothing shared yet.

Text for Compose to interpolate is a `Reference`; all other text is literal, and `target.py` doubles
its dollar signs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from bananas_topology.contract.names import REDIS
from bananas_topology.launch import Launch, launch_for, launch_for_api
from bananas_topology.render.compose.references import required
from bananas_topology.render.compose.sources import REDIS_VOLUME, env_files, mounts, references
from bananas_topology.render.containers import (
    API_STARTUP_MS,
    METRICS_PORT,
    TMP_BYTES,
    USER_ID,
    log_directory,
)
from bananas_topology.render.credentials import (
    URL_KEY,
    api_files,
    file_variables,
    without_variables,
    worker_files,
)
from bananas_topology.render.environment import in_table_order
from bananas_topology.render.redis_server import (
    DATA_DIRECTORY,
    PASSWORD_KEY,
    PORT,
    STOP_MS,
    ping,
    start_script,
)
from bananas_topology.spec.container import InitCommand
from bananas_topology.spec.model import Api, Placement, Pool, Resources, Topology
from bananas_topology.units import format_duration

APP_USER = f"{USER_ID}:{USER_ID}"
#: The user of the official Redis and Valkey images. As root they start with a chown and a change of
#: user, which a container without capabilities may not do.
REDIS_USER = "999:999"

#: Where Compose mounts secrets in a container.
SECRETS_DIRECTORY = "/run/secrets"

LIVENESS_FILE = "/tmp/alive"

#: Named after the server: an internal network with only the server and its clients on it.
REDIS_NETWORK = REDIS

#: The only device of Kubernetes that Compose has a name for.
GPU = "nvidia.com/gpu"

#: Docker keeps this much of a container's output: enough to look at, without filling the disk.
_DOCKER_LOGS = {"driver": "json-file", "options": {"max-size": "10m", "max-file": "5"}}


def compose_memory(memory_bytes: int) -> str:
    """Write bytes in Compose's largest exact unit; its units are binary and end at G.

    >>> [compose_memory(n) for n in (1000, 512 * 2**20, 4 * 2**30)]
    ['1000b', '512M', '4G']
    """
    for unit, size in (("G", 2**30), ("M", 2**20), ("K", 2**10)):
        if memory_bytes and memory_bytes % size == 0:
            return f"{memory_bytes // size}{unit}"
    return f"{memory_bytes}b"


#: What all services have: a restart policy, limited logs and no privileges that they do not need.
HARDENED: Mapping[str, Any] = {
    "init": True,
    "restart": "unless-stopped",
    "read_only": True,
    "tmpfs": [f"/tmp:size={compose_memory(TMP_BYTES).lower()}"],
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
    "logging": _DOCKER_LOGS,
}


def worker_service(topology: Topology, pool: Pool) -> dict[str, Any]:
    """The service of a pool."""
    launch = launch_for(topology, pool)
    added = {"METRICS_PORT": str(METRICS_PORT), "LIVENESS_FILE": LIVENESS_FILE}
    service = _program(topology, pool, launch)
    files = worker_files(topology)
    service["environment"] = _environment(topology, pool, launch, files, added)
    service["secrets"] = list(files)
    service["deploy"] = _deploy(pool.replicas, pool.resources, pool.placement)
    test = ["CMD", "python", "-m", "bananas_topology.liveness", "--started"]
    service["healthcheck"] = _healthcheck(test, pool.startup_ms)
    _add_logs(service, pool)
    if inits := pool.container.init:
        _wait_for(service, _init_name(pool, inits[-1]))
    return {**service, **HARDENED}


def init_services(topology: Topology, pool: Pool) -> dict[str, dict[str, Any]]:
    """The services that run a pool's commands before its workers, one after the other."""
    made: dict[str, dict[str, Any]] = {}
    launch = launch_for(topology, pool)
    files = worker_files(topology)
    for init in pool.container.init:
        service = _program(topology, pool, launch, init)
        service["environment"] = _environment(topology, pool, launch, files, {})
        service["secrets"] = list(files)
        _add_logs(service, pool)
        if made:
            _wait_for(service, next(reversed(made)))
        made[_init_name(pool, init)] = {**service, **HARDENED, "restart": "no"}
    return made


def _init_name(pool: Pool, init: InitCommand) -> str:
    return f"{pool.name}-{init.name}"


def _wait_for(service: dict[str, Any], name: str) -> None:
    """Start a service only after another one has completed."""
    completed = {name: {"condition": "service_completed_successfully"}}
    service["depends_on"] = {**service.get("depends_on", {}), **completed}


def _add_logs(service: dict[str, Any], pool: Pool) -> None:
    if directory := log_directory(pool.worker):
        # Anonymous, so that each container has its own: replicas must not share log files.
        logs = {"type": "volume", "target": directory}
        service["volumes"] = [logs, *service.get("volumes", [])]


def api_service(topology: Topology, api: Api) -> dict[str, Any]:
    """The service of the api."""
    launch = launch_for_api(topology, api, {each.name: each.replicas for each in topology.pools})
    service = _program(topology, api, launch)
    files = api_files(topology)
    service["environment"] = _environment(topology, api, launch, files, {})
    service["secrets"] = list(files)
    service["deploy"] = _deploy(api.replicas, api.resources, api.placement)
    url = f"http://127.0.0.1:{api.config.port}/readyz"
    probe = f"import urllib.request as request; request.urlopen('{url}', timeout=4)"
    service["healthcheck"] = _healthcheck(["CMD", "python", "-c", probe], API_STARTUP_MS)
    if api.publish is not None:
        # A range of at least as many ports as replicas: validation rejects fewer.
        service["ports"] = [f"{api.publish}:{api.config.port}"]
    return {**service, **HARDENED}


def redis_service(topology: Topology) -> dict[str, Any]:
    """The managed Redis: durable, with a memory limit, never evicting, on an internal network."""
    managed = topology.redis.managed
    password_file = f"{SECRETS_DIRECTORY}/{PASSWORD_KEY}"
    return {
        "image": managed.image,
        "user": REDIS_USER,
        "entrypoint": ["sh", "-ec"],
        "command": [start_script(managed.memory_bytes, password_file)],
        "secrets": [PASSWORD_KEY],
        "networks": [REDIS_NETWORK],
        "volumes": [f"{REDIS_VOLUME}:{DATA_DIRECTORY}"],
        "deploy": {
            "replicas": 1,
            "resources": {"limits": {"memory": compose_memory(managed.memory_bytes)}},
        },
        "healthcheck": {
            "test": ["CMD-SHELL", ping(password_file)],
            "interval": "5s",
            "timeout": "3s",
            "retries": 3,
            # Loading a long append-only file takes time; a success ends the start period at once.
            "start_period": "5m",
        },
        "stop_grace_period": format_duration(STOP_MS),
        **HARDENED,
    }


def compose_cpus(cpu_millis: int) -> str:
    """Write millicores as cores.

    >>> [compose_cpus(n) for n in (500, 2000, 20_000, 250)]
    ['0.5', '2', '20', '0.25']
    """
    return f"{(Decimal(cpu_millis) / 1000).normalize():f}"


def swarm_constraints(placement: Placement | None) -> list[str]:
    """Placement constraints, which only Swarm obeys.

    Labels with a prefix, as in Kubernetes, are not valid in Swarm.
    """
    labels = placement.require if placement else {}
    return [f"node.labels.{name} == {text}" for name, text in labels.items() if "/" not in name]


def _program(
    topology: Topology, part: Pool | Api, launch: Launch, init: InitCommand | None = None
) -> dict[str, Any]:
    """What a worker, the commands before it, and the api have in common."""
    image = (init.image if init else None) or part.image
    service: dict[str, Any] = {"image": image}
    if topology.build is not None and image == topology.image:
        service["build"] = topology.build
    service["user"] = APP_USER
    service["entrypoint"] = list(init.command) if init else ["python", "-m", launch.module]
    service["stop_grace_period"] = format_duration(launch.grace_ms)
    if not topology.redis.is_external:
        service["depends_on"] = {REDIS: {"condition": "service_healthy"}}
        service["networks"] = ["default", REDIS_NETWORK]
    if part.container.env_from:
        service["env_file"] = env_files(part.container)
    if part.container.volumes:
        service["volumes"] = mounts(part.container)
    return service


def _environment(
    topology: Topology,
    part: Pool | Api,
    launch: Launch,
    files: Sequence[str],
    added: Mapping[str, str],
) -> dict[str, Any]:
    """All variables of a process: those of the contract in table order, then its own."""
    in_files = without_variables(files)
    variables: dict[str, Any] = {
        **launch.env,
        **{name: "" for name in in_files if part.container.env_from},
        **{name: required(name) for name in part.secrets if name not in in_files},
        **references(part.container),
        **added,
        **file_variables(files, SECRETS_DIRECTORY),
    }
    if not topology.redis.is_external:
        variables[URL_KEY] = f"redis://{REDIS}:{PORT}/0"
    return {name: variables[name] for name in in_table_order(variables)}


def _deploy(replicas: int, resources: Resources, placement: Placement | None) -> dict[str, Any]:
    deploy: dict[str, Any] = {"replicas": replicas}
    amounts: dict[str, dict[str, Any]] = {
        kind: given
        for kind, wanted in (("limits", resources.limits), ("reservations", resources.requests))
        if (given := _amounts(wanted.cpu_millis, wanted.memory_bytes))
    }
    if devices := resources.limits.devices.get(GPU):
        device = {"driver": "nvidia", "count": devices, "capabilities": ["gpu"]}
        amounts["reservations"] = {**amounts.get("reservations", {}), "devices": [device]}
    if amounts:
        deploy["resources"] = amounts
    if constraints := swarm_constraints(placement):
        deploy["placement"] = {"constraints": constraints}
    return deploy


def _amounts(cpu_millis: int | None, memory_bytes: int | None) -> dict[str, Any]:
    amounts: dict[str, Any] = {}
    if cpu_millis is not None:
        amounts["cpus"] = compose_cpus(cpu_millis)
    if memory_bytes is not None:
        amounts["memory"] = compose_memory(memory_bytes)
    return amounts


def _healthcheck(test: list[str], startup_ms: int) -> dict[str, Any]:
    return {
        "test": test,
        "interval": "10s",
        "timeout": "5s",
        "retries": 3,
        "start_period": format_duration(startup_ms),  # a success ends it at once
    }
