"""Import Services and Ingresses into the section of the api."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bananas_topology.importer.draft import Draft, Section, get_path, is_integer, put
from bananas_topology.importer.known import translate_known
from bananas_topology.importer.kubernetes.known import INGRESS, SERVICE
from bananas_topology.importer.redis_server import is_used
from bananas_topology.importer.source import Field


def services_of(objects: Iterable[Field], labels: Mapping[str, str]) -> frozenset[str]:
    """The names of the Services that select pods with these labels."""
    return frozenset(
        each.text_of("metadata", "name")
        for each in objects
        if each.text_of("kind") == "Service"
        and (selector := each.child("spec", "selector").texts)
        and selector.items() <= labels.items()
    )


def import_service(draft: Draft, document: Field, services: frozenset[str]) -> None:
    """Import the Service of the api; that of the managed Redis is rendered.

    `services` are the names of the api's.
    """
    name = document.text_of("metadata", "name")
    server = draft.servers.get(name)
    if server is not None and is_used(draft, server):
        document.child("spec", "clusterIP").translate("the managed Redis has a headless Service")
        for port in document.child("spec", "ports").items:
            if port.text_of("port") == "6379":
                port.child("port").translate("the managed Redis has this port")
    elif name in services and draft.api is not None:
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
        target = port.text_of("targetPort") or number.text
        if is_integer(target) and target != expected:
            port.drop(f"the api serves only port {expected}")
        elif number.text == expected:
            number.keep()
        else:
            number.drop(f"the rendered Service listens on the api's port {expected}")


def import_ingress(draft: Draft, document: Field, services: frozenset[str]) -> None:
    """Import the host, class and certificate of the api's Ingress.

    `services` are the names of the api's; without any, the first rule is taken for the api's.
    """
    section = draft.api
    rules = document.child("spec", "rules").items
    own = [rule for rule in rules if rule.get("host") and _is_for(services, rule)]
    if section is None or not own:
        document.drop("no rule has a host for the api")
        return
    host = own[0].child("host")
    put(section, ("ingress", "host"), host.text, host)
    for rule in rules:
        for path in rule.child("http", "paths").items:
            if services and not _backends(path) <= services:
                path.drop("the path of another service: `api.ingress` is for the api only")
        if rule is not own[0]:
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


def _is_for(services: frozenset[str], rule: Field) -> bool:
    paths = rule.child("http", "paths").items
    return not services or any(_backends(path) <= services for path in paths)


def _backends(path: Field) -> set[str]:
    backend = path.child("backend")
    return {backend.text_of("service", "name") or backend.text_of("serviceName")} - {""}
