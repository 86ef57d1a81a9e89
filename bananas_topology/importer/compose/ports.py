"""Import the published ports of the api's Compose service."""

from __future__ import annotations

import re

from bananas_topology.importer.draft import Section, integer, is_integer, put, put_parsed
from bananas_topology.importer.known import translate_known
from bananas_topology.importer.source import Field

_LONG_PORT = (
    ("protocol", "tcp", "rendered ports use it"),
    ("mode", "ingress", "the default of Compose"),
)
_ALL_ADDRESSES = ("", "0.0.0.0", "[::]", "::")
_ONE_ADDRESS = "`api.publish` is for all addresses of the host: use `compose.patches` for one"
_RANDOM_PORT = "not published: `api.publish` takes a port, not a random one"
_SHARED_PORT = "replicas cannot share one host port; `api.publish` takes a range"


def import_api_ports(section: Section, service: Field) -> None:
    """Import host ports as `api.publish`, and the container's port as `api.port`."""
    has_replicas = service.text_of("deploy", "replicas") not in ("", "0", "1")
    for port in service.child("ports").items:
        _import_port(section, port, has_replicas)


def _import_port(section: Section, port: Field, has_replicas: bool) -> None:
    if not port.is_leaf:
        _import_long_port(section, port, has_replicas)
        return
    text, _, protocol = port.text.partition("/")
    # Colons within ${VARIABLE:-default} and [IPv6] are no separators.
    *address, host, target = ["", "", *re.findall(r"(?:\$\{[^}]*\}|\[[^]]*\]|[^:])+", text)]
    if not is_integer(target) and target != section.get("port"):
        port.drop("the api serves one port")
    elif protocol not in ("", "tcp"):
        port.drop("the api serves TCP only")
    elif is_integer(target) and str(section.setdefault("port", int(target))) != target:
        port.mark_mistake(f"the api serves only port {section['port']}")
    elif not host:
        port.drop(_RANDOM_PORT)
    elif address[-1] not in _ALL_ADDRESSES:
        port.drop(_ONE_ADDRESS)
    else:
        _publish(section, host, port, has_replicas)


def _import_long_port(section: Section, port: Field, has_replicas: bool) -> None:
    if target := port.get("target"):
        put_parsed(section, ("port",), integer, target)
    address, published = port.get("host_ip"), port.get("published")
    if address and address.text not in _ALL_ADDRESSES:
        port.drop(_ONE_ADDRESS)
    elif published:
        _publish(section, published.text, published, has_replicas)
    translate_known(port, _LONG_PORT)


def _publish(section: Section, host: str, source: Field, has_replicas: bool) -> None:
    """Set the host's port, or its range of ports."""
    if has_replicas and "-" not in host:
        source.mark_mistake(_SHARED_PORT)
    else:
        put(section, ("publish",), int(host) if is_integer(host) else host, source)
