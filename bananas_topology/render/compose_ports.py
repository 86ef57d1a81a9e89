"""The host ports of the api. Two containers cannot have the same one, so replicas get a range."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bananas_topology.spec.model import Api

_HIGHEST_PORT = 65_535
_PUBLISH = re.compile(r"(?:(?P<host>.+):)?(?P<first>\d+)(?:-(?P<last>\d+))?")


@dataclass(frozen=True, slots=True)
class Published:
    """`ports` in Compose's short form, None for none; `notice` if it is not what was asked for."""

    ports: str | None
    notice: str | None = None


def published_ports(api: Api) -> Published:
    """What `api.publish` becomes: as many host ports as there are replicas, or more."""
    if api.publish is None:
        return Published(None)
    match = _PUBLISH.fullmatch(api.publish)
    if match is None:
        return Published(
            None,
            f'api.publish is "{api.publish}"; expected a host port or a range such as 8080-8089: '
            "not published",
        )
    first, last = int(match["first"]), int(match["last"] or match["first"])
    needed = first + api.replicas - 1
    if needed > _HIGHEST_PORT:
        return Published(
            None,
            f"api.publish begins at {first}, which leaves too few host ports for "
            f"{api.replicas} replicas: not published",
        )
    host = f"{match['host']}:" if match["host"] else ""
    ports = _range(first, max(last, needed))
    notice = None
    if needed > last:
        notice = (
            f"api.publish {api.publish} is too little for {api.replicas} replicas, of which each "
            f"needs a host port of its own: published as {ports}"
        )
    return Published(f"{host}{ports}:{api.port}", notice)


def _range(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"
