"""What the manifests cannot say, or rely on: one sentence each, for whoever renders."""

from __future__ import annotations

from collections.abc import Iterator

from bananas_topology.render.kubernetes.autoscaling import (
    QUEUE_DEPTH_METRIC,
    REQUEST_RATE_METRIC,
)
from bananas_topology.render.kubernetes.capacity import capacity_notice
from bananas_topology.render.kubernetes.disruption import blocks_drains, fewest
from bananas_topology.render.kubernetes.keda import KEDA_NAMESPACE, uses_lists
from bananas_topology.render.kubernetes.pods import pull_policy
from bananas_topology.render.kubernetes.redis import ports_of
from bananas_topology.render.kubernetes.scaling import api_scaler
from bananas_topology.render.kubernetes.secrets import secret_keys
from bananas_topology.render.names import place_of
from bananas_topology.spec.model import Api, Pool, Resources, Topology


def notices(topology: Topology) -> tuple[str, ...]:
    """All of them, in file order; each begins with the field that it is about."""
    found: list[str] = [*_of_kubernetes(topology), *_of_redis(topology)]
    for pool in topology.pools:
        found += _of_pool(pool)
    found += _of_egress(topology)
    if topology.api is not None:
        found += _of_api(topology, topology.api)
    found += _of_adapter(topology)
    found += _of_images(topology)
    if capacity := capacity_notice(topology):
        found.append(capacity)
    if topology.build is not None:
        found.append("build is left out: a cluster pulls images, it does not build them")
    return tuple(found)


def _of_kubernetes(topology: Topology) -> Iterator[str]:
    kubernetes = topology.kubernetes
    if kubernetes.namespace != topology.name:
        yield (
            f"kubernetes.namespace {kubernetes.namespace}: whatever else runs in it has to be "
            "restricted too"
        )
    yield (
        f"kubernetes.secret {kubernetes.secret} has to be in namespace {kubernetes.namespace} "
        f"with the keys {', '.join(secret_keys(topology))}; "
        "render --with-secrets -o DIR writes it from the environment"
    )
    if kubernetes.monitoring == "prometheus-operator":
        yield (
            "kubernetes.monitoring prometheus-operator needs that operator; the labels that it "
            "selects by go to kubernetes.labels"
        )


def _of_redis(topology: Topology) -> Iterator[str]:
    redis = topology.redis
    if not redis.is_external:
        yield "redis.managed is one server on one disk: copies and a second one are yours to add"
        return
    scheme = (redis.url or "").partition("://")[0]
    if scheme == "unix":
        yield "redis.url is a socket, which no pod can reach: name a host"
    else:
        ports = ", ".join(map(str, ports_of(topology)))
        yield f"redis.url: pods may connect to port {ports} of any address; the value is not shown"
    if "sentinel" in scheme and uses_lists(topology):
        yield "redis.url names Sentinels: change the triggers to redis-sentinel by a patch"


def _of_pool(pool: Pool) -> Iterator[str]:
    where = place_of(pool)
    yield from _of_both(where, pool)
    if pool.logging.file.enabled:
        yield f"{where}.logging.file: each pod has files of its own, which are lost with it"


def _of_api(topology: Topology, api: Api) -> Iterator[str]:
    yield from _of_both("api", api)
    if api.autoscale is not None and api_scaler(topology, api) is None:
        yield "api.autoscale is left out: none of its targets can be measured"
    if api.publish is not None:
        yield "api.publish is for Compose; api.service_type and api.ingress are Kubernetes'"
    if api.service_type != "ClusterIP":
        yield f"api.service_type {api.service_type} publishes the api, /metrics too, without TLS"


def _of_both(where: str, part: Pool | Api) -> Iterator[str]:
    if part.resources == Resources():
        yield f"{where}.resources is not set: such pods are the first that a full node evicts"
    if blocks_drains(part.disruption, fewest(part.replicas, part.autoscale)):
        yield (
            f"{where}.disruption would never let a node be drained: "
            "rendered as one pod at a time instead"
        )
    if part.placement is not None and part.placement.require:
        wanted = ", ".join(f"{key}={value}" for key, value in part.placement.require.items())
        yield f"{where}.placement.require: pods stay pending until a node is labelled {wanted}"


def _of_images(topology: Topology) -> Iterator[str]:
    images = [pool.image for pool in topology.pools]
    if topology.api is not None:
        images.append(topology.api.image)
    for image in dict.fromkeys(images):
        if pull_policy(image) == "Always":
            yield f"image {image} may be another one tomorrow: name a version"


def _of_egress(topology: Topology) -> Iterator[str]:
    """Said once: it holds for every pool that says nothing."""
    silent = [pool.name for pool in topology.pools if pool.concurrency and not pool.egress]
    if silent:
        yield (
            f"pools.{', '.join(silent)}: handlers reach Redis and DNS and nothing else; "
            "list in egress what else they need"
        )


def _of_adapter(topology: Topology) -> Iterator[str]:
    """Metrics that something in the cluster has to serve to the autoscalers."""
    if topology.kubernetes.autoscaler == "keda":
        yield from _of_keda(topology)
        return
    counting = [
        pool.name for pool in topology.pools if pool.autoscale and pool.autoscale.queue_depth
    ]
    if counting:
        yield (
            f"pools.{', '.join(counting)}.autoscale.queue_depth needs an adapter that serves the "
            f"external metric {QUEUE_DEPTH_METRIC}, as max by (priority) of the workers' gauge of "
            "that name; kubernetes.autoscaler: keda needs none"
        )
    sharing = [pool.name for pool in topology.pools if pool.name in counting and pool.job_types]
    if sharing:
        yield (
            f"pools.{', '.join(sharing)}.autoscale.queue_depth counts the jobs of every type, "
            "for the metric has no types; kubernetes.autoscaler: keda counts the pool's own"
        )
    if topology.api and topology.api.autoscale and topology.api.autoscale.requests_per_second:
        yield (
            "api.autoscale.requests_per_second needs an adapter that serves the pod metric "
            f"{REQUEST_RATE_METRIC}, as the rate of bananas_http_requests_total"
        )


def _of_keda(topology: Topology) -> Iterator[str]:
    if uses_lists(topology):
        yield (
            "kubernetes.autoscaler keda needs KEDA 2.12 or newer, in the namespace "
            f"{KEDA_NAMESPACE}, from where the network policies let it into Redis"
        )
    if topology.api and topology.api.autoscale and topology.api.autoscale.requests_per_second:
        yield "api.autoscale.requests_per_second is left out: KEDA cannot ask the api for it"
