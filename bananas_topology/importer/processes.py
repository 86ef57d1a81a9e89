"""Which services and containers are processes of Bananas, and the sections that describe them."""

from __future__ import annotations

from dataclasses import dataclass

from bananas_topology.importer.draft import Draft, Section
from bananas_topology.importer.source import EnvironmentFields
from bananas_topology.importer.variables import (
    apply_api,
    apply_scheduler,
    apply_worker,
    is_scheduler,
    is_worker,
    pool_name,
)


@dataclass(frozen=True, slots=True)
class Process:
    """What identifies a Compose service or a Kubernetes container.

    `environment` has no secret variables; `uses_redis` tells whether REDIS_URL may be among them.
    """

    name: str
    image: str
    command: str
    environment: EnvironmentFields
    uses_redis: bool


def import_variables(draft: Draft, process: Process) -> Section | None:
    """Read a process's variables into its section; None if it is neither a worker nor the api."""
    environment = process.environment
    if is_worker(environment) or "bananas_topology.worker" in process.command:
        if is_scheduler(environment) and draft.scheduler is None:
            section: Section = {}
            draft.scheduler = section
            apply_scheduler(draft, section, environment)
        else:
            section = draft.pool(pool_name(environment, process.name))
            apply_worker(draft, section, environment)
        return section
    if _is_api(process):
        draft.api = section = draft.api if draft.api is not None else {}
        apply_api(draft, section, environment)
        return section
    return None


def _is_api(process: Process) -> bool:
    image = process.image.rpartition("/")[2].partition(":")[0]
    return (
        "API_PORT" in process.environment
        or "bananas_topology.api" in process.command
        or ("bananas" in image and "api" in image)
        or (process.name == "api" and process.uses_redis)
    )
