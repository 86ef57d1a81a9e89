"""What a topology says and Compose cannot: one sentence each, for whoever renders."""

from __future__ import annotations

from collections.abc import Iterator

from bananas_topology.render.compose.services import swarm_constraints
from bananas_topology.render.containers import log_directory
from bananas_topology.render.names import place_of
from bananas_topology.spec.model import Api, Placement, Pool, Topology
from bananas_topology.units import format_memory


def notices(topology: Topology) -> tuple[str, ...]:
    """All of them, in file order; each begins with the field that it is about."""
    found = [each for pool in topology.pools for each in _of_pool(pool)]
    if not topology.redis.is_external:
        size = format_memory(topology.redis.managed.storage_bytes)
        found.append(
            f"redis.managed.storage {size} is not enforced: a Compose volume grows until its disk "
            "is full"
        )
    if topology.api is not None:
        found += _of_api(topology.api)
    return tuple(found)


def _of_pool(pool: Pool) -> Iterator[str]:
    where = place_of(pool)
    yield from _of_both(where, pool)
    if pool.egress:
        yield f"{where}.egress is left out: Compose does not filter what a container connects to"
    if pool.logging.file.enabled:
        yield _of_log_files(where, pool)


def _of_both(where: str, part: Pool | Api) -> Iterator[str]:
    if part.autoscale is not None:
        yield (
            f"{where}.autoscale is left out: Compose does not scale by itself; it starts "
            f"{part.replicas}, and docker compose up --scale changes that"
        )
    yield from _of_placement(where, part.placement)
    if part.disruption is not None:
        yield f"{where}.disruption is left out: Compose evicts nothing"


def _of_placement(where: str, placement: Placement | None) -> Iterator[str]:
    if placement is None:
        return
    if swarm_constraints(placement):
        yield (
            f"{where}.placement.require is a constraint that Swarm alone obeys: docker compose "
            "starts everything on one host"
        )
    if foreign := [name for name in placement.require if "/" in name]:
        yield (
            f"{where}.placement.require {', '.join(foreign)} is left out: labels with a prefix are "
            "Kubernetes' alone"
        )
    if placement.prefer:
        yield f"{where}.placement.prefer is left out: Compose knows no preferred hosts"
    if placement.tolerations:
        yield f"{where}.placement.tolerations is left out: only Kubernetes has taints"


def _of_log_files(where: str, pool: Pool) -> str:
    field = f"{where}.logging.file"
    directory = log_directory(pool.logging)
    if directory is None:
        return (
            f"{field}.path {pool.logging.file.path} has no volume of its own: the files are lost "
            "with their container, and nothing but /tmp can be written to"
        )
    return (
        f"{field} writes to {directory}, in each container a volume of its own that goes with it; "
        "the image has to have that directory, owned by user 10001 (ours has /var/log/bananas)"
    )


def _of_api(api: Api) -> Iterator[str]:
    yield from _of_both("api", api)
    if api.service_type != "ClusterIP":
        yield f"api.service_type {api.service_type} is for Kubernetes; api.publish is Compose's"
    if api.ingress is not None:
        yield "api.ingress is left out: a proxy of your own in front of api.publish does its work"
