"""What a service on one host cannot express: one sentence per notice."""

from __future__ import annotations

from collections.abc import Iterator

from bananas_topology.render.names import path_of
from bananas_topology.render.systemd.log_directories import unwritable_logs
from bananas_topology.spec.container import Container
from bananas_topology.spec.model import Api, Pool, Topology


def notices(topology: Topology) -> Iterator[str]:
    """All notices in file order, each beginning with the field that it is about."""
    if topology.redis.secret is not None:
        yield "redis.secret is ignored: REDIS_URL is in the file with the secrets"
    for pool in topology.pools:
        yield from _pool(path_of(pool), pool)
    if (api := topology.api) is not None:
        yield from _process("api", api)
        if api.ingress is not None:
            yield "api.ingress is ignored: run a reverse proxy in front of api.port"
        if api.publish not in (None, str(api.config.port)):
            yield f"api.publish is ignored: the api listens on api.port, {api.config.port}"


def _pool(path: str, pool: Pool) -> Iterator[str]:
    yield from _process(path, pool)
    if pool.egress:
        yield f"{path}.egress is ignored: set IPAddressAllow in a drop-in for the whole service"
    if directory := unwritable_logs(pool):
        yield (
            f"{path}.logging.file.path: the service cannot write to {directory}; choose a "
            "directory below /var/log, or set ReadWritePaths in a drop-in"
        )


def _process(path: str, part: Pool | Api) -> Iterator[str]:
    limits = part.resources.limits
    if limits.memory_bytes or limits.cpu_millis:
        yield (
            f"{path}.resources.limits counts towards the limits of the whole service: systemd "
            "has no limits for its single processes"
        )
    if devices := ", ".join(limits.devices):
        yield (
            f"{path}.resources.limits {devices} is ignored: processes see no devices unless a "
            "drop-in sets PrivateDevices=no and DeviceAllow"
        )
    if limits.ephemeral_storage_bytes is not None:
        yield f"{path}.resources.limits.ephemeral_storage is ignored: systemd does not limit disks"
    if part.autoscale is not None:
        yield f"{path}.autoscale is ignored: change the number of processes with bananas scale"
    if part.placement is not None:
        yield f"{path}.placement is ignored: all processes run on one host"
    if part.disruption is not None:
        yield f"{path}.disruption is ignored: use bananas restart, which keeps workers ready"
    yield from _container(path, part.container)


def _container(path: str, container: Container) -> Iterator[str]:
    if container.env_from:
        yield (
            f"{path}.env_from is ignored: put the variables into the file with the secrets, or set "
            "EnvironmentFile in a drop-in"
        )
    if container.volumes:
        yield (
            f"{path}.volumes is ignored: processes see this host's directories, read-only unless a "
            "drop-in lists them in ReadWritePaths"
        )
    if container.init:
        names = ", ".join(each.name for each in container.init)
        yield f"{path}.init {names} is ignored: set ExecStartPre in a drop-in"
    for field, name in (
        ("priority_class", container.priority_class),
        ("runtime_class", container.runtime_class),
    ):
        if name is not None:
            yield f"{path}.{field} is ignored: only Kubernetes has such classes"
