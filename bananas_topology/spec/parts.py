"""Parts that pools, the scheduler and the api have in common, and the sections of targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bananas_topology.contract.api import API_SETTINGS, ApiConfig
from bananas_topology.contract.names import API
from bananas_topology.spec.container_parts import container_of
from bananas_topology.spec.model import (
    Amounts,
    Api,
    Autoscale,
    Compose,
    Disruption,
    Egress,
    Ingress,
    Kubernetes,
    Network,
    Patch,
    Placement,
    Resources,
    ScalingStep,
    ServiceAccount,
    Toleration,
)
from bananas_topology.spec.nodes import plain
from bananas_topology.spec.section import SectionReader


def resources_of(section: SectionReader) -> Resources:
    """Resource requests and limits."""
    requests, limits = section.section("requests"), section.section("limits")
    return Resources(requests=_amounts(requests), limits=_amounts(limits))


def _amounts(section: SectionReader) -> Amounts:
    items = section.node.items if section.node else {}
    return Amounts(
        section.cpu_millis("cpu"),
        section.memory_bytes("memory"),
        section.memory_bytes("ephemeral_storage")
        if section.has_field("ephemeral_storage")
        else None,
        {name: int(plain(node)) for name, node in items.items() if "/" in name},
    )


def autoscale_of(section: SectionReader) -> Autoscale:
    """An autoscaler."""
    return Autoscale(
        min_replicas=section.integer("min"),
        max_replicas=section.integer("max"),
        cpu_percent=section.optional_integer("cpu"),
        memory_percent=section.optional_integer("memory"),
        queue_depth=(
            section.optional_integer("queue_depth") if section.has_field("queue_depth") else None
        ),
        requests_per_second=(
            section.optional_integer("requests_per_second")
            if section.has_field("requests_per_second")
            else None
        ),
        scale_up=_step(section.section("scale_up"), percent=100, pods=None),
        scale_down=_step(section.section("scale_down"), percent=None, pods=1),
    )


def _step(section: SectionReader, percent: int | None, pods: int | None) -> ScalingStep:
    """One direction; `percent` and `pods` are used if the file has neither."""
    if section.has("percent") or section.has("pods"):
        percent, pods = section.optional_integer("percent"), section.optional_integer("pods")
    return ScalingStep(
        # Kubernetes counts both in seconds, and rejects a period of zero.
        window_ms=section.duration_ms("window", at_least=0, at_most=3_600_000),
        period_ms=section.duration_ms("period", at_least=1_000, at_most=1_800_000),
        percent=percent,
        pods=pods,
        select=section.string("select"),
    )


def placement_of(owner: SectionReader) -> Placement | None:
    """Where processes run; None for anywhere."""
    if not owner.has("placement"):
        return None
    section = owner.section("placement")
    tolerations = tuple(
        Toleration(
            key=each.optional_string("key"),
            operator=each.string("operator"),
            value=each.optional_string("value"),
            effect=each.optional_string("effect"),
        )
        for each in section.sections("tolerations")
    )
    return Placement(section.string_map("prefer"), section.string_map("require"), tolerations)


def disruption_of(owner: SectionReader) -> Disruption | None:
    """The disruption budget; None leaves it to the target."""
    if not owner.has("disruption"):
        return None
    section = owner.section("disruption")
    return Disruption(
        section.optional_integer("min_available"), section.optional_integer("max_unavailable")
    )


def egress_of(owner: SectionReader) -> tuple[Egress, ...]:
    """Further destinations that workers may connect to."""
    return tuple(
        Egress(each.string("cidr"), tuple(int(port) for port in each.value("ports") or ()))
        for each in owner.sections("egress")
    )


def log_format_of(section: SectionReader) -> str | None:
    """The log format of a pool or the api, as in the file; None if not set."""
    return section.section("logging").optional_string("format")


def api_of(section: SectionReader, image: str) -> Api:
    """The HTTP API."""
    autoscale = autoscale_of(section.section("autoscale")) if section.has("autoscale") else None
    ingress = section.section("ingress")
    return Api(
        config=ApiConfig(**section.settings(API_SETTINGS, API)),
        log_format=log_format_of(section),
        replicas=section.integer("replicas", autoscale.min_replicas if autoscale else 1),
        image=section.optional_string("image") or image,
        publish=section.optional_string("publish"),
        service_type=section.string("service_type"),
        ingress=(
            Ingress(
                host=ingress.string("host"),
                class_name=ingress.optional_string("class"),
                tls_secret=ingress.optional_string("tls_secret"),
            )
            if section.has("ingress")
            else None
        ),
        env=section.string_map("env"),
        secrets=section.strings("secrets"),
        resources=resources_of(section.section("resources")),
        autoscale=autoscale,
        placement=placement_of(section),
        disruption=disruption_of(section),
        container=container_of(section),
    )


def kubernetes_of(section: SectionReader, name: str) -> Kubernetes:
    """Settings for Kubernetes only; `name` is the topology's."""
    namespace, account = section.section("namespace"), section.section("service_account")
    is_openshift = section.string("platform") == "openshift"
    return Kubernetes(
        namespace=section.optional_string("namespace") or namespace.optional_string("name") or name,
        creates_namespace=namespace.boolean("create"),
        autoscaler=section.string("autoscaler"),
        monitoring=section.string("monitoring"),
        secret=section.optional_string("secret") or f"{name}-secrets",
        network=_network_of(section),
        assigns_user=is_openshift,
        service_account=ServiceAccount(
            account.optional_string("name"),
            account.boolean("create"),
            account.string_map("annotations"),
        ),
        image_pull_policy=section.optional_string("image_pull_policy"),
        image_pull_secrets=section.strings("image_pull_secrets"),
        labels=section.string_map("labels"),
        annotations=section.string_map("annotations"),
        patches=tuple(
            _patch(each, each.optional_string("kind"), each.optional_string("name"))
            for each in section.sections("patches")
        ),
    )


#: Where OpenShift's DNS servers are: the defaults of `kubernetes.network.dns` there.
OPENSHIFT_DNS: Mapping[str, tuple[Any, ...]] = {
    "namespaces": ("openshift-dns",),
    "cidrs": (),
    "ports": (53, 5353),
}


def _network_of(kubernetes: SectionReader) -> Network:
    section = kubernetes.section("network")
    dns = section.section("dns")
    is_openshift = kubernetes.string("platform") == "openshift"
    namespaces, cidrs, ports = (
        OPENSHIFT_DNS[name] if is_openshift and not dns.has(name) else dns.value(name)
        for name in ("namespaces", "cidrs", "ports")
    )
    is_scraped = kubernetes.string("monitoring") != "none" or section.has("scrape_from")
    return Network(
        dns_namespaces=tuple(namespaces),
        dns_cidrs=tuple(cidrs),
        dns_ports=tuple(int(port) for port in ports),
        scrape_from=tuple(section.value("scrape_from")) if is_scraped else (),
        api_from=section.strings("api_from") if section.has("api_from") else None,
    )


def compose_of(section: SectionReader) -> Compose:
    """Settings for Compose only."""
    patches = section.sections("patches")
    return Compose(
        tuple(_patch(each, "service", each.optional_string("service")) for each in patches)
    )


def _patch(section: SectionReader, kind: str | None, name: str | None) -> Patch:
    return Patch(
        kind=kind,
        name=name,
        merge=section.value("merge"),
        operations=tuple(section.value("json") or ()),
    )
