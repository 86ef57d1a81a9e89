"""A topology as one Compose file (Compose Specification), for `docker compose up`.

Services are made complete (`services.py`) and patched; then what they have in common moves into
`x-` blocks (`anchors.py`), so that the file is short enough to read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from bananas_topology.contract.names import API, REDIS
from bananas_topology.render.compose.anchors import with_anchors
from bananas_topology.render.compose.notices import notices
from bananas_topology.render.compose.references import Reference
from bananas_topology.render.compose.service_keys import invalid_service
from bananas_topology.render.compose.services import (
    REDIS_NETWORK,
    api_service,
    init_services,
    redis_service,
    worker_service,
)
from bananas_topology.render.compose.sources import (
    REDIS_VOLUME,
    SECRETS_DIRECTORY,
    named_volumes,
)
from bananas_topology.render.patches import Patchable, apply_patches
from bananas_topology.render.target import File, Rendering, header
from bananas_topology.spec.model import Topology
from bananas_topology.yaml_writer import to_yaml, with_blank_lines

#: The file name that `docker compose` looks for first.
FILE_NAME = "compose.yaml"

_REQUIRED = re.compile(r"(?<!\$)\$\{(\w+):\?")


class ComposeTarget:
    """The target behind ``bananas render --compose``."""

    name = "compose"

    def render(self, topology: Topology) -> Rendering:
        """Make the one file.

        Raises:
            RenderFailed: a patch does not apply, or its result is not a valid service.
        """
        workers = [pool.name for pool in topology.pools]
        services = {pool.name: worker_service(topology, pool) for pool in topology.pools}
        for pool in topology.pools:
            services |= init_services(topology, pool)
        rest: dict[str, Any] = {}
        if topology.api is not None:
            services[API] = api_service(topology, topology.api)
        if not topology.redis.is_external:
            services[REDIS] = redis_service(topology)
            rest["networks"] = {"default": {}, REDIS_NETWORK: {"internal": True}}
            rest["volumes"] = {REDIS_VOLUME: {}}
        if volumes := named_volumes(part.container for part in topology.parts):
            rest["volumes"] = {**rest.get("volumes", {}), **volumes}
        rest["secrets"] = {
            name: {"file": f"{SECRETS_DIRECTORY}/{name}"}
            for name in dict.fromkeys(
                name for service in services.values() for name in service["secrets"]
            )
        }
        made = _literal(services)
        blocks, written = with_anchors(made, _patched(made, topology), workers)
        document = {"name": topology.name, **blocks, "services": written, **rest}
        body = with_blank_lines(to_yaml(document), before=document.keys(), within="services")
        text = header(topology, self.name) + _requirements(body, rest["secrets"]) + body
        return Rendering((File(FILE_NAME, text),), notices(topology))


def _literal(value: Any) -> Any:
    """Double the dollar signs in all text, except in keys, that Compose is not to interpolate."""
    match value:
        case Reference():
            return str(value)
        case str():
            return value.replace("$", "$$")
        case Mapping():
            return {key: _literal(item) for key, item in value.items()}
        case list():
            return [_literal(item) for item in value]
    return value


def _patched(services: Mapping[str, Any], topology: Topology) -> dict[str, Any]:
    """The services with the topology's patches, whose text Compose interpolates."""
    objects = [Patchable("service", name, value) for name, value in services.items()]
    patched = apply_patches(objects, topology.compose.patches, "compose", _invalid_service)
    return {service.name: dict(service.value) for service in patched}


def _invalid_service(service: Patchable) -> str | None:
    return invalid_service(service.value)


def _requirements(body: str, secrets: Iterable[str]) -> str:
    """Comments with the files and variables that Compose requires."""
    text = f"# Required files, in SECRETS_DIR or ./secrets: {', '.join(secrets)}\n"
    if names := dict.fromkeys(_REQUIRED.findall(body)):
        text += f"# Required variables, from the environment or .env: {', '.join(names)}\n"
    return text
