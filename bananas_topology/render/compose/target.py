"""A topology as one Compose file (Compose Specification), for `docker compose up`.

The services are made whole (`compose_services.py`), patched, and only then is what they have in
common moved into `x-` blocks (`compose_anchors.py`), so that a person can read it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bananas_topology.render.compose.anchors import with_anchors
from bananas_topology.render.compose.notices import notices
from bananas_topology.render.compose.service_keys import check_service
from bananas_topology.render.compose.services import (
    API,
    REDIS,
    REDIS_VOLUME,
    Reference,
    api_service,
    redis_service,
    worker_service,
)
from bananas_topology.render.patches import Patchable, apply_patches
from bananas_topology.render.target import File, Rendering, header
from bananas_topology.spec.model import Topology
from bananas_topology.yaml_writer import to_yaml, with_blank_lines

#: The name that `docker compose` looks for first.
FILE_NAME = "compose.yaml"

_REQUIRED = re.compile(r"(?<!\$)\$\{(\w+):\?")


class ComposeTarget:
    """The target behind ``bananas render --compose``."""

    name = "compose"

    def render(self, topology: Topology) -> Rendering:
        """Make the one file.

        Raises:
            RenderFailed: one of `compose.patches` does not apply, or leaves no service behind.
        """
        workers = [pool.name for pool in topology.pools]
        services = {pool.name: worker_service(topology, pool) for pool in topology.pools}
        rest: dict[str, Any] = {}
        if topology.api is not None:
            services[API] = api_service(topology, topology.api)
        if not topology.redis.is_external:
            services[REDIS] = redis_service(topology)
            rest["networks"] = {"default": {}, REDIS: {"internal": True}}
            rest["volumes"] = {REDIS_VOLUME: {}}
        made = _literal(services)
        blocks, written = with_anchors(made, _patched(made, topology), workers)
        document = {"name": topology.name, **blocks, "services": written, **rest}
        body = with_blank_lines(to_yaml(document), before=document.keys(), within="services")
        text = header(topology, self.name) + _needs(body) + body
        return Rendering((File(FILE_NAME, text),), notices(topology))


def _literal(value: Any) -> Any:
    """Double the dollar signs of all text, keys apart, that is not Compose's to interpolate."""
    match value:
        case Reference():
            return str(value)
        case str():
            return value.replace("$", "$$")
        case Mapping():
            return {key: _literal(each) for key, each in value.items()}
        case list():
            return [_literal(each) for each in value]
    return value


def _patched(services: Mapping[str, Any], topology: Topology) -> dict[str, Any]:
    """The services with the topology's own changes, whose text goes to Compose as it is."""
    objects = [Patchable("service", name, value) for name, value in services.items()]
    patched = apply_patches(objects, topology.compose.patches, "compose.patches")
    for each in patched:
        check_service(each.name, each.value)
    return {each.name: dict(each.value) for each in patched}


def _needs(body: str) -> str:
    """A comment that says which variables Compose has to be given."""
    names = dict.fromkeys(_REQUIRED.findall(body))
    if not names:
        return ""
    return f"# From the environment or a file .env beside this one: {', '.join(names)}\n"
