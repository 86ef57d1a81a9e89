"""Notices about fields that have no effect on this host: one sentence for each section."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bananas_topology.contract.names import API, SCHEDULER
from bananas_topology.spec.model import Api, Pool


def render_only(pools: Sequence[tuple[Pool, int]], api: Api | None) -> Iterator[str]:
    """Name the fields of the started pools and of the api that apply to rendered output only."""
    parts: list[tuple[str, Pool | Api]] = [
        (SCHEDULER if pool.name == SCHEDULER else f"pools.{pool.name}", pool)
        for pool, count in pools
        if count
    ]
    if api is not None:
        parts.append((API, api))
    for path, part in parts:
        if fields := list(_fields(part)):
            yield (
                f"{', '.join(f'{path}.{field}' for field in fields)}: for rendered output only; "
                "processes on this host see its directories and devices, and this shell's variables"
            )


def _fields(part: Pool | Api) -> Iterator[str]:
    if part.container.env_from:
        yield "env_from"
    if part.container.volumes:
        yield "volumes"
    if part.container.init:
        yield "init"
    if part.resources.limits.devices:
        yield "resources.limits"
    if part.container.priority_class is not None:
        yield "priority_class"
    if part.container.runtime_class is not None:
        yield "runtime_class"
