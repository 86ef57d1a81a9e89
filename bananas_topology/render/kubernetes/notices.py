"""What the manifests rely on, and what Kubernetes cannot express: one sentence per notice."""

from __future__ import annotations

from collections.abc import Iterator

from bananas_topology.render.containers import log_directory
from bananas_topology.render.kubernetes import keda
from bananas_topology.render.kubernetes.api import api_autoscaler
from bananas_topology.render.kubernetes.hpa import QUEUE_DEPTH_METRIC, REQUEST_RATE_METRIC
from bananas_topology.render.kubernetes.namespace import account_name
from bananas_topology.render.kubernetes.network import (
    ALL_NAMESPACES,
)
from bananas_topology.render.kubernetes.objects import RESERVED_LABELS
from bananas_topology.render.kubernetes.pods import is_moving
from bananas_topology.render.kubernetes.redis import (
    CPU_REQUEST_MILLIS,
    is_managed,
    redis_ports,
)
from bananas_topology.render.kubernetes.secrets import secret_keys
from bananas_topology.render.kubernetes.sources import needed_objects
from bananas_topology.render.kubernetes.workloads import blocks_drains, min_replicas
from bananas_topology.render.names import path_of
from bananas_topology.spec.model import Amounts, Api, Pool, Resources, Topology

_GIB = 2**30


def notices(topology: Topology) -> tuple[str, ...]:
    """All notices in file order, each beginning with the field that it is about."""
    return tuple(
        [
            *_kubernetes(topology),
            *_redis(topology),
            *(notice for pool in topology.pools for notice in _pool(pool)),
            *_autoscale(topology),
            *_egress(topology),
            *_ingress(topology),
            *(_api(topology, topology.api) if topology.api else ()),
            *(_keda(topology) if keda.is_chosen(topology) else _metrics_adapter(topology)),
            *_images(topology),
            *_capacity(topology),
            *(
                ["build is ignored: a cluster pulls images and does not build them"]
                if topology.build is not None
                else ()
            ),
        ]
    )


def _kubernetes(topology: Topology) -> Iterator[str]:
    kubernetes = topology.kubernetes
    if not kubernetes.creates_namespace:
        yield (
            f"kubernetes.namespace {kubernetes.namespace} is not rendered and must exist; label it "
            "pod-security.kubernetes.io/enforce=restricted if you can"
        )
    elif kubernetes.namespace != topology.name:
        yield (
            f"kubernetes.namespace {kubernetes.namespace}: everything else that runs in it must "
            "meet the restricted Pod Security Standard too"
        )
    if keys := secret_keys(topology):
        yield (
            f"kubernetes.secret {kubernetes.secret} must exist in namespace {kubernetes.namespace} "
            f"with the keys {', '.join(keys)}; "
            "render --with-secrets -o DIR writes it from environment variables"
        )
    account = kubernetes.service_account
    if not account.is_created:
        yield f"kubernetes.service_account {account_name(topology)} is not rendered and must exist"
        if account.annotations:
            yield (
                "kubernetes.service_account.annotations are ignored: an account that is not "
                "rendered has its own"
            )
    if kubernetes.image_pull_secrets:
        yield (
            f"kubernetes.image_pull_secrets {', '.join(kubernetes.image_pull_secrets)} must exist "
            f"in namespace {kubernetes.namespace}"
        )
    if reserved := [name for name in kubernetes.labels if name in RESERVED_LABELS]:
        yield f"kubernetes.labels {', '.join(reserved)} is ignored: Bananas selects pods by it"
    if kubernetes.assigns_user:
        yield (
            "kubernetes.platform openshift: images run as a user that OpenShift assigns, in group "
            "0; what they write to must be writable for that group"
        )
    if kubernetes.monitoring == "prometheus-operator":
        yield (
            "kubernetes.monitoring prometheus-operator requires the Prometheus Operator; set the "
            "labels that it selects by in kubernetes.labels"
        )


def _redis(topology: Topology) -> Iterator[str]:
    redis = topology.redis
    if not redis.is_external:
        yield "redis.managed is one server with one disk: replicas and backups are up to you"
        yield (
            "redis.managed.storage cannot be changed by applying manifests: "
            'see "Grow the disk" in docs/kubernetes.md'
        )
        return
    if redis.secret is not None:
        yield f"redis.secret requires Secret {redis.secret.name} with the key {redis.secret.key}"
    scheme = (redis.url or "").partition("://")[0]
    if scheme == "unix":
        yield "redis.url is a Unix socket, which pods cannot reach: use a host name"
    else:
        ports = ", ".join(map(str, redis_ports(topology)))
        yield (
            f"redis.url: pods may connect to port {ports} of any address; "
            "the URL itself is not rendered"
        )
    if "sentinel" in scheme and keda.reads_redis(topology):
        yield "redis.url uses Sentinel: patch the type of the KEDA triggers to redis-sentinel"


def _pool(pool: Pool) -> Iterator[str]:
    path = path_of(pool)
    yield from _workload(path, pool)
    if pool.worker.log_file_enabled:
        yield f"{path}.logging.file: each pod has its own log files, which are deleted with it"
        if log_directory(pool.worker) is None:
            yield (
                f"{path}.logging.file.path {pool.worker.log_file_path} is not on a volume: only "
                "/tmp is writable"
            )


def _api(topology: Topology, api: Api) -> Iterator[str]:
    yield from _workload("api", api)
    if api.autoscale is not None and api_autoscaler(topology, api) is None:
        yield "api.autoscale is ignored: KEDA cannot measure any of its targets"
    if api.publish is not None:
        yield (
            "api.publish is ignored: it applies to Compose only; "
            "see api.service_type and api.ingress"
        )
    if api.service_type != "ClusterIP":
        yield f"api.service_type {api.service_type} exposes the api without TLS"


def _workload(path: str, part: Pool | Api) -> Iterator[str]:
    if missing := _missing_requests(part.resources):
        evicted = "" if missing == "no cpu" else ", and a node short of memory evicts them first"
        yield f"{path}.resources sets {missing}: a ResourceQuota rejects these pods{evicted}"
    if blocks_drains(part):
        yield f"{path}.disruption would block every node drain: rendered as maxUnavailable 1"
    if needed := list(dict.fromkeys(needed_objects(part.container))):
        yield f"{path} requires objects that are not rendered: {'; '.join(needed)}"
    if (most := _max_replicas(part)) > 1:
        for volume in part.container.volumes:
            if volume.claim is not None and not volume.is_read_only:
                yield (
                    f"{path}.volumes.{volume.name}: up to {most} pods share claim {volume.claim}; "
                    "on several nodes that requires the access mode ReadWriteMany"
                )
    for field, name in (
        ("priority_class", part.container.priority_class),
        ("runtime_class", part.container.runtime_class),
    ):
        if name is not None:
            yield f"{path}.{field} {name} must exist in the cluster"
    if devices := ", ".join(part.resources.limits.devices):
        yield f"{path}.resources: pods stay pending until a node offers {devices}"
    if part.placement is not None and part.placement.require:
        labels = ", ".join(f"{key}={value}" for key, value in part.placement.require.items())
        yield f"{path}.placement.require: pods stay pending until a node has the label {labels}"


def _missing_requests(resources: Resources) -> str:
    """What has neither a request nor a limit, which counts as one, in words; empty if all has."""
    both = (resources.requests, resources.limits)
    has_cpu = any(each.cpu_millis is not None for each in both)
    has_memory = any(each.memory_bytes is not None for each in both)
    if has_cpu:
        return "" if has_memory else "no memory"
    return "no cpu" if has_memory else "neither cpu nor memory"


def _max_replicas(part: Pool | Api) -> int:
    return part.autoscale.max_replicas if part.autoscale else part.replicas


def _images(topology: Topology) -> Iterator[str]:
    for image in dict.fromkeys(part.image for part in topology.parts):
        if is_moving(image):
            yield f"image {image} is not pinned: name a version"


def _egress(topology: Topology) -> Iterator[str]:
    closed = [pool.name for pool in topology.pools if pool.worker.concurrency and not pool.egress]
    if closed:
        yield (
            f"pools.{', '.join(closed)}: handlers can reach only Redis and DNS; "
            "list other destinations in egress"
        )


def _ingress(topology: Topology) -> Iterator[str]:
    network, api = topology.kubernetes.network, topology.api
    scrapers = network.scrape_from
    if scrapers and ALL_NAMESPACES not in scrapers:
        yield (
            f"kubernetes.network.scrape_from: only pods in namespace {', '.join(scrapers)} can "
            "read metrics; list Prometheus's namespace"
        )
    if api is None:
        return
    if api.ingress is not None and api.ingress.tls_secret is not None:
        yield (
            f"api.ingress.tls_secret {api.ingress.tls_secret} must exist in namespace "
            f"{topology.kubernetes.namespace}"
        )
    if api.service_type != "ClusterIP":
        if network.api_from is not None:
            yield (
                f"kubernetes.network.api_from is ignored: api.service_type {api.service_type} "
                "lets everyone connect"
            )
    elif api.ingress is not None and network.api_from is None:
        yield (
            "kubernetes.network.api_from is not set: pods in all namespaces can connect to the "
            "api; list the ingress controller's namespace"
        )


def _autoscale(topology: Topology) -> Iterator[str]:
    paths = [path_of(pool) for pool in topology.pools if pool.autoscale]
    if topology.api is not None and api_autoscaler(topology, topology.api) is not None:
        paths.append("api")
    if paths:
        yield (
            f"{', '.join(paths)}.autoscale: a Deployment that was applied with replicas is scaled "
            'to 1 when it loses them; see "Migrate to autoscaling" in docs/kubernetes.md first'
        )


def _metrics_adapter(topology: Topology) -> Iterator[str]:
    """Metrics that something in the cluster has to serve to HorizontalPodAutoscalers."""
    pools = [pool for pool in topology.pools if pool.autoscale and pool.autoscale.queue_depth]
    if pools:
        yield (
            f"pools.{', '.join(pool.name for pool in pools)}.autoscale.queue_depth requires a "
            f"metrics adapter that serves the external metric {QUEUE_DEPTH_METRIC}, as max by "
            "(priority) of the workers' gauge of that name; kubernetes.autoscaler: keda requires "
            "none"
        )
    if specialized := [pool.name for pool in pools if pool.worker.job_types]:
        yield (
            f"pools.{', '.join(specialized)}.autoscale.queue_depth counts jobs of all types, "
            "because the metric has no job types; kubernetes.autoscaler: keda counts only the "
            "pool's own"
        )
    if _scales_by_requests(topology):
        yield (
            "api.autoscale.requests_per_second requires a metrics adapter that serves the pod "
            f"metric {REQUEST_RATE_METRIC}, as the rate of bananas_http_requests_total"
        )


def _keda(topology: Topology) -> Iterator[str]:
    if keda.reads_redis(topology):
        yield (
            "kubernetes.autoscaler keda requires KEDA 2.12 or newer, in the namespace "
            f"{keda.KEDA_NAMESPACE}, which the network policies allow to reach Redis"
        )
    if _scales_by_requests(topology):
        yield "api.autoscale.requests_per_second is ignored: KEDA cannot measure it"


def _scales_by_requests(topology: Topology) -> bool:
    autoscale = topology.api.autoscale if topology.api else None
    return autoscale is not None and autoscale.requests_per_second is not None


def _capacity(topology: Topology) -> Iterator[str]:
    """The sum of all requests, before and after autoscaling."""
    low, high = (
        _total_requests(topology, is_scaled=False),
        _total_requests(topology, is_scaled=True),
    )
    if low != Amounts(0, 0):
        scaled = f", up to {_amounts_text(high)} when scaled out" if high != low else ""
        yield f"capacity: the pods request {_amounts_text(low)}{scaled}"


def _total_requests(topology: Topology, *, is_scaled: bool) -> Amounts:
    cpu_millis = memory_bytes = 0
    for part in topology.parts:
        replicas = _max_replicas(part) if is_scaled else min_replicas(part)
        requests, limits = part.resources.requests, part.resources.limits
        # Kubernetes takes a limit without a request for both.
        cpu_millis += replicas * (requests.cpu_millis or limits.cpu_millis or 0)
        memory_bytes += replicas * (requests.memory_bytes or limits.memory_bytes or 0)
    if is_managed(topology):
        cpu_millis += CPU_REQUEST_MILLIS
        memory_bytes += topology.redis.managed.memory_bytes
    return Amounts(cpu_millis, memory_bytes)


def _amounts_text(amounts: Amounts) -> str:
    """
    >>> _amounts_text(Amounts(20_750, 3 * 2**29))
    '20.75 CPU and 1.5Gi'
    """
    cpu_millis, memory_bytes = amounts.cpu_millis or 0, amounts.memory_bytes or 0
    return f"{cpu_millis / 1000:g} CPU and {memory_bytes / _GIB:.4g}Gi"
