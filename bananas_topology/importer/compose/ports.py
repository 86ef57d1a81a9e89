"""Import the published ports of the api's Compose service."""

from __future__ import annotations

from bananas_topology.importer.draft import Section, integer, is_integer, put, put_parsed
from bananas_topology.importer.known import translate_known
from bananas_topology.importer.source import Field

_LONG_PORT = (
    ("protocol", "tcp", "rendered ports use it"),
    ("mode", "ingress", "the default of Compose"),
)
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
    *_, host, target = f"::{port.text.partition('/')[0]}".split(":")
    if not is_integer(target):
        port.drop("the api serves one port")
    elif section.setdefault("port", int(target)) != int(target):
        port.mark_mistake(f"the api serves only port {section['port']}")
    elif host and has_replicas and "-" not in host:
        port.mark_mistake(_SHARED_PORT)
    elif host:
        put(section, ("publish",), _published(host), port)
    else:
        port.keep()


def _import_long_port(section: Section, port: Field, has_replicas: bool) -> None:
    if target := port.get("target"):
        put_parsed(section, ("port",), integer, target)
    if published := port.get("published"):
        if has_replicas and "-" not in published.text:
            published.mark_mistake(_SHARED_PORT)
        else:
            put(section, ("publish",), _published(published.text), published)
    translate_known(port, _LONG_PORT)


def _published(text: str) -> int | str:
    """A host port, or a range of host ports."""
    return int(text) if is_integer(text) else text
