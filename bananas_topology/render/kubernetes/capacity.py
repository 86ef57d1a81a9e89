"""What a cluster has to have room for: the sum of all requests, before and after autoscaling."""

from __future__ import annotations

from collections.abc import Iterator

from bananas_topology.render.kubernetes.disruption import fewest
from bananas_topology.render.kubernetes.redis import CPU_REQUEST_MILLIS, is_managed
from bananas_topology.spec.model import Amounts, Api, Pool, Topology

_GIB = 2**30


def capacity_notice(topology: Topology) -> str | None:
    """How much the pods request; None where none requests anything."""
    least, most = _total(_sizes(topology, most=False)), _total(_sizes(topology, most=True))
    if least == Amounts(0, 0):
        return None
    scaled = f", and {_words(most)} when all is scaled out" if most != least else ""
    return f"capacity: the pods request {_words(least)}{scaled}"


def _sizes(topology: Topology, *, most: bool) -> Iterator[tuple[int, Amounts]]:
    """How many pods of which size there are."""
    parts: list[Pool | Api] = [*topology.pools, *([topology.api] if topology.api else [])]
    for part in parts:
        count = fewest(part.replicas, part.autoscale)
        if most and part.autoscale is not None:
            count = part.autoscale.max_replicas
        yield count, _requested(part)
    if is_managed(topology):
        yield 1, Amounts(CPU_REQUEST_MILLIS, topology.redis.managed.memory_bytes)


def _requested(part: Pool | Api) -> Amounts:
    """What one pod requests; a limit alone counts as a request."""
    requests, limits = part.resources.requests, part.resources.limits
    return Amounts(
        requests.cpu_millis or limits.cpu_millis, requests.memory_bytes or limits.memory_bytes
    )


def _total(sizes: Iterator[tuple[int, Amounts]]) -> Amounts:
    cpu_millis = memory_bytes = 0
    for count, amounts in sizes:
        cpu_millis += count * (amounts.cpu_millis or 0)
        memory_bytes += count * (amounts.memory_bytes or 0)
    return Amounts(cpu_millis, memory_bytes)


def _words(amounts: Amounts) -> str:
    """
    >>> _words(Amounts(20_750, 3 * 2**29))
    '20.75 CPU and 1.5Gi'
    """
    cpu_millis, memory_bytes = amounts.cpu_millis or 0, amounts.memory_bytes or 0
    return f"{cpu_millis / 1000:g} CPU and {memory_bytes / _GIB:.4g}Gi"
