"""Import Services and Ingresses into the section of the api."""

from __future__ import annotations

from collections.abc import Mapping

from bananas_topology.importer.draft import Draft, Section, get_path, put
from bananas_topology.importer.known import translate_known
from bananas_topology.importer.kubernetes.known import INGRESS, SERVICE
from bananas_topology.importer.redis_server import is_used
from bananas_topology.importer.source import Field


def import_service(draft: Draft, document: Field, api_labels: Mapping[str, str]) -> None:
    """Import the Service of the api; that of the managed Redis is rendered.

    `api_labels` are those of the api's pods.
    """
    selector = document.child("spec", "selector").mapping
    server = draft.servers.get(document.text_of("metadata", "name"))
    is_api = bool(selector) and all(
        api_labels.get(name) == leaf.text for name, leaf in selector.items()
    )
    if server is not None and is_used(draft, server):
        document.child("spec", "clusterIP").translate("the managed Redis has a headless Service")
        for port in document.child("spec", "ports").items:
            if port.text_of("port") == "6379":
                port.child("port").translate("the managed Redis has this port")
    elif is_api and draft.api is not None:
        _import_api_service(draft.api, document)
    else:
        document.drop("only the api and the managed Redis have a Service")
        return
    translate_known(document, SERVICE)


def _import_api_service(section: Section, document: Field) -> None:
    if kind := document.get("spec", "type"):
        put(section, ("service_type",), kind.text, kind)
    expected = str(section.get("port", 8080))
    for port in document.child("spec", "ports").items:
        number = port.child("port")
        if number.text == expected:
            number.keep()
        else:
            number.drop(f"the rendered Service listens on the api's port {expected}")


def import_ingress(draft: Draft, document: Field) -> None:
    """Import the host, class and certificate of the api's Ingress."""
    section = draft.api
    rules = document.child("spec", "rules").items
    if section is None or not rules or rules[0].get("host") is None:
        document.drop("there is no api, or the first rule has no host")
        return
    host = rules[0].child("host")
    put(section, ("ingress", "host"), host.text, host)
    for rule in rules[1:]:
        rule.drop("`api.ingress` has one host")
    if name := document.get("spec", "ingressClassName"):
        put(section, ("ingress", "class"), name.text, name)
    for tls in document.child("spec", "tls").items:
        if secret := tls.get("secretName"):
            put(section, ("ingress", "tls_secret"), secret.text, secret)
        for tls_host in tls.child("hosts").items:
            if tls_host.text == get_path(section, "ingress", "host"):
                tls_host.translate("`api.ingress.host`")
    translate_known(document, INGRESS)
