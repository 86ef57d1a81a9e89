"""NetworkPolicies: only the traffic listed here is allowed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bananas_topology.render.containers import METRICS_PORT
from bananas_topology.render.kubernetes.api import api_component
from bananas_topology.render.kubernetes.keda import KEDA_NAMESPACE, reads_redis
from bananas_topology.render.kubernetes.objects import (
    Component,
    Object,
    client_pods_selector,
    metadata,
    object_name,
    pods_selector,
    pool_pods_selector,
)
from bananas_topology.render.kubernetes.redis import (
    is_managed,
    redis_component,
    redis_ports,
)
from bananas_topology.render.redis_server import PORT
from bananas_topology.spec.model import Api, Egress, Network, Topology

#: What `kubernetes.network` has for all namespaces.
ALL_NAMESPACES = "*"


def network_policies(topology: Topology) -> Iterator[Object]:
    """Deny everything, then allow what the topology needs."""
    everyone = pods_selector(topology)
    yield _policy(topology, "default-deny", everyone, ingress=[], egress=[])
    if dns := _dns(topology.kubernetes.network):
        yield _policy(topology, "allow-dns", everyone, egress=[dns])
    yield from _to_redis(topology)
    if is_managed(topology):
        yield _into_redis(topology)
    if scrapers := topology.kubernetes.network.scrape_from:
        scrape = [{"from": _namespaces(scrapers), "ports": [_tcp(METRICS_PORT)]}]
        yield _policy(topology, "allow-scrape", pool_pods_selector(topology), ingress=scrape)
    if topology.api is not None:
        yield _into_api(topology, topology.api)
    for pool in topology.pools:
        if pool.egress:
            name = f"allow-out-of-{pool.name}"
            pods = pods_selector(topology, Component.of_pool(pool))
            rules = [_to_range(egress) for egress in pool.egress]
            yield _policy(topology, name, pods, egress=rules)


def api_namespaces(topology: Topology, api: Api) -> tuple[str, ...]:
    """The namespaces whose pods may call the api.

    Unless the topology lists them: only its own, or all if there is an Ingress, because nothing
    says in which namespace the cluster's ingress controller runs.
    """
    callers = topology.kubernetes.network.api_from
    if callers is None:
        callers = () if api.ingress is None else (ALL_NAMESPACES,)
    return (topology.kubernetes.namespace, *callers)


def _to_redis(topology: Topology) -> Iterator[Object]:
    """All pods except the server's own; an external server may have any address."""
    ports = redis_ports(topology)
    if not ports:
        return
    rule: Object = {"ports": [_tcp(port) for port in ports]}
    if is_managed(topology):
        rule = {"to": [{"podSelector": pods_selector(topology, redis_component(topology))}], **rule}
    yield _policy(topology, "allow-to-redis", client_pods_selector(topology), egress=[rule])


def _into_redis(topology: Topology) -> Object:
    sources: list[Object] = [{"podSelector": client_pods_selector(topology)}]
    if reads_redis(topology):
        sources.append(_namespace(KEDA_NAMESPACE))
    rule = {"from": sources, "ports": [_tcp(PORT)]}
    return _policy(
        topology,
        "allow-into-redis",
        pods_selector(topology, redis_component(topology)),
        ingress=[rule],
    )


def _into_api(topology: Topology, api: Api) -> Object:
    """From anywhere if the Service is exposed, otherwise from namespaces of the cluster."""
    rule: Object = {"ports": [_tcp(api.config.port)]}
    if api.service_type == "ClusterIP":
        callers = api_namespaces(topology, api)
        rule = {"from": _namespaces((*callers, *topology.kubernetes.network.scrape_from)), **rule}
    return _policy(
        topology, "allow-into-api", pods_selector(topology, api_component(api)), ingress=[rule]
    )


def _policy(
    topology: Topology,
    name: str,
    pods: Object,
    *,
    ingress: list[Object] | None = None,
    egress: list[Object] | None = None,
) -> Object:
    directions = {"Ingress": ingress, "Egress": egress}
    named = [name for name, rules in directions.items() if rules is not None]
    rules = {name.lower(): rules for name, rules in directions.items() if rules}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(topology, object_name(topology, name)),
        "spec": {"podSelector": pods, "policyTypes": named, **rules},
    }


def _dns(network: Network) -> Object | None:
    """Egress to the DNS servers; None if there are none, because no `to` would mean anywhere."""
    servers = [
        *(_namespace(name) for name in network.dns_namespaces),
        *({"ipBlock": {"cidr": cidr}} for cidr in network.dns_cidrs),
    ]
    ports = [
        {"protocol": protocol, "port": port}
        for port in network.dns_ports
        for protocol in ("UDP", "TCP")
    ]
    return {"to": servers, "ports": ports} if servers else None


def _to_range(egress: Egress) -> Object:
    rule: Object = {"to": [{"ipBlock": {"cidr": egress.cidr}}]}
    if egress.ports:
        rule["ports"] = [_tcp(port) for port in egress.ports]
    return rule


def _namespaces(names: Iterable[str]) -> list[Object]:
    """Peers for the pods of these namespaces."""
    names = dict.fromkeys(names)
    if ALL_NAMESPACES in names:
        return [{"namespaceSelector": {}}]
    return [_namespace(name) for name in names]


def _namespace(name: str) -> Object:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}


def _tcp(port: int) -> Object:
    return {"protocol": "TCP", "port": port}
