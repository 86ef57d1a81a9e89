"""A topology as one Compose file (Compose Specification), for `docker compose up`.

The services are made whole (`compose_services.py`), patched, and only then is what they have in
common moved into `x-` blocks (`compose_anchors.py`), so that a person can read it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from bananas_topology.render.compose_anchors import with_anchors
from bananas_topology.render.compose_notices import notices
from bananas_topology.render.compose_services import (
    REDIS_NETWORK,
    REDIS_VOLUME,
    Reference,
    api_service,
    redis_service,
    worker_service,
)
from bananas_topology.render.names import dns_label
from bananas_topology.render.target import File, Rendering, header
from bananas_topology.render.yaml_writer import to_yaml
from bananas_topology.spec.model import Topology

#: The name that `docker compose` looks for first.
FILE_NAME = "compose.yaml"


class ComposeTarget:
    """The target behind ``bananas render --compose``."""

    name = "compose"

    def render(self, topology: Topology) -> Rendering:
        """Make the one file."""
        workers = {dns_label(pool.name): pool for pool in topology.pools}
        redis = None if topology.redis.url is not None else _free_name("redis", workers)
        services = {name: worker_service(topology, pool, redis) for name, pool in workers.items()}
        if topology.api is not None:
            services[_free_name("api", workers)] = api_service(topology, topology.api, redis)
        document: dict[str, Any] = {"name": topology.name, "services": services}
        if redis is not None:
            services[redis] = redis_service(topology)
            document["networks"] = {"default": {}, REDIS_NETWORK: {"internal": True}}
            document["volumes"] = {REDIS_VOLUME: {}}
        made = _literal(document)
        text = header(topology, self.name) + "\n" + _written(made, made, workers)
        return Rendering((File(FILE_NAME, text),), notices(topology))


def _free_name(wanted: str, taken: Collection[str]) -> str:
    """The name of a service of ours: pools keep their names whatever they are called."""
    while wanted in taken:
        wanted = f"bananas-{wanted}"
    return wanted


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


def _written(made: Mapping[str, Any], patched: Mapping[str, Any], workers: Collection[str]) -> str:
    """The document's text: its name, what is shared, the services, and what they refer to."""
    blocks, services = with_anchors(made["services"], patched["services"], workers)
    return to_yaml(
        {"name": patched["name"], **blocks, "services": services}
        | {key: value for key, value in patched.items() if key not in ("name", "services")}
    )
