"""NetworkPolicies: nothing is allowed but what is listed here."""

from __future__ import annotations

from collections.abc import Iterator

from bananas_topology.render.containers import METRICS_PORT
from bananas_topology.render.kubernetes.api import api_owner
from bananas_topology.render.kubernetes.keda import KEDA_NAMESPACE, uses_lists
from bananas_topology.render.kubernetes.objects import (
    Object,
    Owner,
    is_pool_of,
    metadata,
    object_name,
    selector,
)
from bananas_topology.render.kubernetes.redis import (
    is_managed,
    ports_of,
    redis_owner,
)
from bananas_topology.render.redis_server import PORT
from bananas_topology.spec.model import Api, Egress, Topology

#: Where a node's own DNS cache listens, on clusters that have one.
_NODE_LOCAL_DNS = "169.254.20.10/32"

_ANY_NAMESPACE: Object = {"namespaceSelector": {}}


def policies(topology: Topology) -> Iterator[Object]:
    """Deny everything, then allow what the topology needs."""
    yield _policy(topology, "default-deny", _everyone(topology), ingress=[], egress=[])
    yield _policy(topology, "allow-dns", _everyone(topology), egress=[_dns()])
    yield from _to_redis(topology)
    if is_managed(topology):
        yield _into_redis(topology)
    if topology.kubernetes.monitoring != "none":
        scrape = [{"from": [_ANY_NAMESPACE], "ports": [_tcp(METRICS_PORT)]}]
        yield _policy(topology, "allow-scrape", is_pool_of(topology), ingress=scrape)
    if topology.api is not None:
        yield _into_api(topology, topology.api)
    for pool in topology.pools:
        if pool.egress:
            name = f"allow-out-of-{pool.name}"
            pods = _only(topology, Owner.of_pool(pool))
            yield _policy(topology, name, pods, egress=[_to_range(each) for each in pool.egress])


def _to_redis(topology: Topology) -> Iterator[Object]:
    """Every pod of ours but the server's own; an external server may be at any address."""
    ports = ports_of(topology)
    if not ports:
        return
    rule: Object = {"ports": [_tcp(port) for port in ports]}
    if is_managed(topology):
        rule = {"to": [{"podSelector": _only(topology, redis_owner(topology))}], **rule}
    yield _policy(topology, "allow-to-redis", _clients(topology), egress=[rule])


def _into_redis(topology: Topology) -> Object:
    sources: list[Object] = [{"podSelector": _clients(topology)}]
    if uses_lists(topology):
        sources.append(_namespace(KEDA_NAMESPACE))
    rule = {"from": sources, "ports": [_tcp(PORT)]}
    return _policy(
        topology, "allow-into-redis", _only(topology, redis_owner(topology)), ingress=[rule]
    )


def _into_api(topology: Topology, api: Api) -> Object:
    """From anywhere if the Service is published, else from within the cluster."""
    rule: Object = {"ports": [_tcp(api.port)]}
    if api.service_type == "ClusterIP":
        rule = {"from": [_ANY_NAMESPACE], **rule}
    return _policy(topology, "allow-into-api", _only(topology, api_owner(api)), ingress=[rule])


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


def _dns() -> Object:
    resolver = {
        **_namespace("kube-system"),
        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
    }
    return {
        "to": [resolver, {"ipBlock": {"cidr": _NODE_LOCAL_DNS}}],
        "ports": [{"protocol": "UDP", "port": 53}, _tcp(53)],
    }


def _to_range(egress: Egress) -> Object:
    rule: Object = {"to": [{"ipBlock": {"cidr": egress.cidr}}]}
    if egress.ports:
        rule["ports"] = [_tcp(port) for port in egress.ports]
    return rule


def _everyone(topology: Topology) -> Object:
    return {"matchLabels": selector(topology)}


def _only(topology: Topology, owner: Owner) -> Object:
    return {"matchLabels": selector(topology, owner)}


def _clients(topology: Topology) -> Object:
    """All pods of the topology but the Redis server's."""
    component = {
        "key": "app.kubernetes.io/component",
        "operator": "NotIn",
        "values": [redis_owner(topology).component],
    }
    return {"matchLabels": selector(topology), "matchExpressions": [component]}


def _namespace(name: str) -> Object:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}


def _tcp(port: int) -> Object:
    return {"protocol": "TCP", "port": port}
