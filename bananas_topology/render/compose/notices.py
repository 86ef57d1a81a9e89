"""What Compose cannot express or enforce: one sentence per notice."""

from __future__ import annotations

from collections.abc import Iterator

from bananas_topology.render.compose.services import GPU, swarm_constraints
from bananas_topology.render.containers import USER_ID, log_directory
from bananas_topology.render.names import path_of
from bananas_topology.spec.container import Container
from bananas_topology.spec.model import Api, Placement, Pool, Topology
from bananas_topology.units import format_memory


def notices(topology: Topology) -> tuple[str, ...]:
    """All notices in file order, each beginning with the field that it is about."""
    found = [notice for pool in topology.pools for notice in _pool(pool)]
    if not topology.redis.is_external:
        size = format_memory(topology.redis.managed.storage_bytes)
        found.append(
            f"redis.managed.storage {size} is not enforced: Compose volumes have no size limit"
        )
    elif topology.redis.secret is not None:
        found.append("redis.secret is ignored: Compose reads the URL from REDIS_URL in SECRETS_DIR")
    if topology.api is not None:
        found += _api(topology.api)
    return tuple(found)


def _pool(pool: Pool) -> Iterator[str]:
    path = path_of(pool)
    yield from _workload(path, pool)
    if pool.egress:
        yield f"{path}.egress is ignored: Compose does not filter outgoing connections"
    if pool.worker.log_file_enabled:
        yield _log_files(path, pool)


def _api(api: Api) -> Iterator[str]:
    yield from _workload("api", api)
    if api.service_type != "ClusterIP":
        yield (
            f"api.service_type {api.service_type} is ignored: it applies to Kubernetes only; "
            "see api.publish"
        )
    if api.ingress is not None:
        yield "api.ingress is ignored: run a reverse proxy in front of api.publish"


def _workload(path: str, part: Pool | Api) -> Iterator[str]:
    if part.autoscale is not None:
        yield (
            f"{path}.autoscale is ignored: Compose has no autoscaling; replicas stay at "
            f"{part.replicas} unless changed with docker compose up --scale"
        )
    yield from _placement(path, part.placement)
    yield from _container(path, part.container)
    limits = part.resources.limits
    if others := ", ".join(each for each in limits.devices if each != GPU):
        yield f"{path}.resources.limits {others} is ignored: Compose knows {GPU} only"
    if limits.ephemeral_storage_bytes is not None:
        yield f"{path}.resources.limits.ephemeral_storage is ignored: Compose does not limit disks"
    if part.disruption is not None:
        yield f"{path}.disruption is ignored: Compose does not evict containers"


def _container(path: str, container: Container) -> Iterator[str]:
    for field, name in (
        ("priority_class", container.priority_class),
        ("runtime_class", container.runtime_class),
    ):
        if name is not None:
            yield f"{path}.{field} is ignored: only Kubernetes has such classes"
    if container.init:
        names = ", ".join(each.name for each in container.init)
        yield f"{path}.init {names}: runs once for the pool, not once for each replica"
    if container.references:
        names = ", ".join(container.references)
        yield f"{path}.env {names}: Compose reads the values from the shell or .env"
    for at, each in enumerate(container.env_from):
        directory = "SECRETS_DIR" if each.source.is_secret else "CONFIG_DIR"
        yield f"{path}.env_from[{at}] is the file {each.source.name}.env in {directory}"
        if each.prefix:
            yield f"{path}.env_from[{at}].prefix is ignored: Compose adds no prefix to variables"
    for volume in container.volumes:
        field = f"{path}.volumes.{volume.name}"
        if volume.source is not None:
            directory = "SECRETS_DIR" if volume.source.is_secret else "CONFIG_DIR"
            yield (
                f"{field} is the directory {volume.source.name} in {directory}, whose files user "
                f"{USER_ID} must be able to read"
            )
        elif volume.claim is None:
            yield f"{field} is in memory, and counts towards the container's memory limit"
        elif not volume.is_read_only:
            yield (
                f"{field}: the image must contain {volume.path}, owned by user {USER_ID}; "
                "otherwise the new volume belongs to root"
            )


def _placement(path: str, placement: Placement | None) -> Iterator[str]:
    if placement is None:
        return
    if swarm_constraints(placement):
        yield (
            f"{path}.placement.require becomes a constraint that only Swarm obeys: docker compose "
            "starts everything on one host"
        )
    if prefixed := [name for name in placement.require if "/" in name]:
        yield (
            f"{path}.placement.require {', '.join(prefixed)} is ignored: only Kubernetes has node "
            "labels with a prefix"
        )
    if placement.prefer:
        yield f"{path}.placement.prefer is ignored: Compose has no preferred hosts"
    if placement.tolerations:
        yield f"{path}.placement.tolerations is ignored: only Kubernetes has taints"


def _log_files(path: str, pool: Pool) -> str:
    field = f"{path}.logging.file"
    directory = log_directory(pool.worker)
    if directory is None:
        return (
            f"{field}.path {pool.worker.log_file_path} is not on a volume: log files are lost with "
            "their container, and only /tmp is writable"
        )
    return (
        f"{field} writes to {directory}, an anonymous volume of each container; the image must "
        f"contain that directory, owned by user {USER_ID} (the bananas-worker image has "
        "/var/log/bananas)"
    )
