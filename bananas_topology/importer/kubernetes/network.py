"""Import NetworkPolicies: the egress of pools, and what rendered policies allow by settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bananas_topology.importer.draft import Draft, Section, get_path, is_integer, put_structure
from bananas_topology.importer.kubernetes.known import is_rendered
from bananas_topology.importer.source import Field
from bananas_topology.spec.parts import OPENSHIFT_DNS
from bananas_topology.spec.schema import defaults_of, schema

_OTHERS = "rendered policies deny by default: allow more with a pool's `egress`"
_AGAIN = "rendered again"

#: The label by which namespaces are selected.
_NAMESPACE = "kubernetes.io/metadata.name"


def import_network_policy(
    draft: Draft, document: Field, pods: Iterable[tuple[Section, Mapping[str, str]]]
) -> None:
    """Import one policy; `pods` are the sections of all workloads with their pods' labels."""
    name = document.text_of("metadata", "name")
    is_ours = is_rendered(document)
    selector = document.child("spec", "podSelector", "matchLabels").texts
    selected = [section for section, labels in pods if selector.items() <= labels.items()]
    if is_ours and name.endswith("allow-dns"):
        _import_dns(draft, document)
    elif is_ours and name.endswith("allow-scrape"):
        _import_scrapers(draft, document)
    elif is_ours and name.endswith("allow-into-api"):
        _import_callers(draft, document)
    elif is_ours and "allow-out-of-" not in name:
        document.translate(_AGAIN)
    elif not (
        len(selected) == 1
        and selector
        and selected[0] is not draft.api
        and _import_egress(selected[0], document)
    ):
        document.drop(_OTHERS)


def _import_egress(section: Section, document: Field) -> bool:
    """Import a policy that lets one pool connect to address ranges; returns whether it is one."""
    rules = [_range(rule) for rule in document.child("spec", "egress").items]
    spec = document.child("spec")
    is_plain = spec.mapping.keys() <= {"podSelector", "policyTypes", "egress"}
    types = [leaf.text for leaf in spec.child("policyTypes").leaves()]
    has_more = spec.child("podSelector").mapping.keys() != {"matchLabels"}
    if not rules or None in rules or not is_plain or "Ingress" in types or has_more:
        return False
    egress = [*section.get("egress", []), *rules]
    if not put_structure({}, ("egress",), egress):
        return False
    section["egress"] = egress
    spec.translate("`egress`")
    return True


def _range(rule: Field) -> Section | None:
    """A rule as an entry of `egress`; None if that cannot express it."""
    peers = rule.child("to").items
    cidr = peers[0].get("ipBlock", "cidr") if len(peers) == 1 else None
    if cidr is None or rule.mapping.keys() > {"to", "ports"} or _has_more(peers[0], "ipBlock"):
        return None
    if len(peers[0].child("ipBlock").mapping) != 1:
        return None  # it has exceptions
    ports = _ports(rule)
    if ports is None:
        return None
    return {"cidr": cidr.text, **({"ports": ports} if ports else {})}


def _ports(rule: Field, protocols: tuple[str, ...] = ("TCP",)) -> list[int] | None:
    """The ports of a rule, each once; None if it has others than numbers of these protocols."""
    numbers: list[int] = []
    for port in rule.child("ports").items:
        is_known = (port.text_of("protocol") or "TCP") in protocols
        if not is_known or _has_more(port, "protocol", "port"):
            return None
        if not is_integer(port.text_of("port")):
            return None
        if (number := int(port.text_of("port"))) not in numbers:
            numbers.append(number)
    return numbers


def _has_more(field: Field, *names: str) -> bool:
    return not field.mapping.keys() <= set(names)


def _peers(peers: Iterable[Field]) -> tuple[list[str], list[str]]:
    """The namespaces, `*` for all, and the address ranges of a rule."""
    namespaces: list[str] = []
    cidrs: list[str] = []
    for peer in peers:
        selector = peer.get("namespaceSelector")
        if selector is not None:
            namespaces.append(selector.text_of("matchLabels", _NAMESPACE) or "*")
        elif cidr := peer.get("ipBlock", "cidr"):
            cidrs.append(cidr.text)
    return namespaces, cidrs


def _import_dns(draft: Draft, document: Field) -> None:
    rules = document.child("spec", "egress").items
    namespaces, cidrs = _peers(peer for rule in rules for peer in rule.child("to").items)
    ports = [port for rule in rules for port in _ports(rule, ("TCP", "UDP")) or ()]
    found: dict[str, Any] = {"namespaces": namespaces, "cidrs": cidrs, "ports": ports}
    is_openshift = draft.kubernetes.get("platform") == "openshift"
    for key, value in found.items():
        default = OPENSHIFT_DNS[key] if is_openshift else _default("dns", key)
        if value != list(default):
            put_structure(draft.kubernetes, ("network", "dns", key), value)
    document.translate("`kubernetes.network.dns`")


def _import_scrapers(draft: Draft, document: Field) -> None:
    rules = document.child("spec", "ingress").items
    namespaces, _ = _peers(peer for rule in rules for peer in rule.child("from").items)
    if namespaces != _default("scrape_from"):
        put_structure(draft.kubernetes, ("network", "scrape_from"), namespaces)
    document.translate("`kubernetes.network.scrape_from`")


def _import_callers(draft: Draft, document: Field) -> None:
    rules = document.child("spec", "ingress").items
    namespaces, _ = _peers(peer for rule in rules for peer in rule.child("from").items)
    scrapers = get_path(draft.kubernetes, "network", "scrape_from") or _default("scrape_from")
    own = document.text_of("metadata", "namespace")
    callers = [each for each in namespaces if each not in (own, *scrapers)]
    has_ingress = bool(draft.api and draft.api.get("ingress"))
    is_open = any(rule.get("from") is None for rule in rules)  # its Service is exposed
    if not is_open and callers != (["*"] if has_ingress else []):
        put_structure(draft.kubernetes, ("network", "api_from"), callers)
    document.translate("`kubernetes.network.api_from`")


def _default(*path: str) -> Any:
    return defaults_of(schema()["$defs"]["network"]).get(path)
