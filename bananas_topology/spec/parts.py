"""The parts that pools, the scheduler and the api have in common, and the targets' own sections."""

from __future__ import annotations

from bananas_topology.spec.model import (
    Amounts,
    Api,
    ApiLogging,
    Autoscale,
    Compose,
    Disruption,
    Egress,
    Ingress,
    Kubernetes,
    LogFile,
    Logging,
    Patch,
    Placement,
    Resources,
    Results,
    ScalingStep,
    Toleration,
)
from bananas_topology.spec.section import Section


def resources_of(section: Section) -> Resources:
    """What one worker asks for and may use."""
    requests, limits = section.section("requests"), section.section("limits")
    return Resources(requests=_amounts(requests), limits=_amounts(limits))


def _amounts(section: Section) -> Amounts:
    return Amounts(section.cpu_millis("cpu"), section.memory_bytes("memory"))


def autoscale_of(section: Section) -> Autoscale:
    """Bounds, targets and speeds."""
    fields = section.part["properties"]
    return Autoscale(
        min_replicas=section.whole("min"),
        max_replicas=section.whole("max"),
        cpu_percent=section.optional_whole("cpu"),
        memory_percent=section.optional_whole("memory"),
        queue_depth=section.optional_whole("queue_depth") if "queue_depth" in fields else None,
        requests_per_second=(
            section.optional_whole("requests_per_second")
            if "requests_per_second" in fields
            else None
        ),
        scale_up=_step(section.section("scale_up"), percent=100, pods=None),
        scale_down=_step(section.section("scale_down"), percent=None, pods=1),
    )


def _step(section: Section, percent: int | None, pods: int | None) -> ScalingStep:
    """One direction; `percent` and `pods` hold where the file gives neither."""
    if section.has("percent") or section.has("pods"):
        percent, pods = section.optional_whole("percent"), section.optional_whole("pods")
    return ScalingStep(
        # Kubernetes counts both in whole seconds, and takes no period of none.
        window_ms=section.duration_ms("window", at_least=0, at_most=3_600_000),
        period_ms=section.duration_ms("period", at_least=1_000, at_most=1_800_000),
        percent=percent,
        pods=pods,
        select=section.text("select"),
    )


def placement_of(owner: Section) -> Placement | None:
    """Where a pool's workers run; None: anywhere."""
    if not owner.has("placement"):
        return None
    section = owner.section("placement")
    tolerations = tuple(
        Toleration(
            key=each.optional_text("key"),
            operator=each.text("operator"),
            value=each.optional_text("value"),
            effect=each.optional_text("effect"),
        )
        for each in section.sections("tolerations")
    )
    return Placement(section.text_map("prefer"), section.text_map("require"), tolerations)


def disruption_of(owner: Section) -> Disruption | None:
    """What a planned eviction may take; None: the target decides."""
    if not owner.has("disruption"):
        return None
    section = owner.section("disruption")
    return Disruption(
        section.optional_whole("min_available"), section.optional_whole("max_unavailable")
    )


def egress_of(owner: Section) -> tuple[Egress, ...]:
    """Where else a pool's workers may connect to."""
    return tuple(
        Egress(each.text("cidr"), tuple(int(port) for port in each.value("ports") or ()))
        for each in owner.sections("egress")
    )


def logging_of(section: Section) -> Logging:
    """What is logged, how and where."""
    file = section.section("file")
    return Logging(
        level=section.text("level"),
        format=section.optional_text("format"),
        console=section.flag("console"),
        color=section.flag("color"),
        file=LogFile(
            enabled=file.flag("enabled"),
            path=file.text("path"),
            max_size_mb=file.whole("max_size_mb"),
            max_backups=file.whole("max_backups"),
            max_age_days=file.whole("max_age_days"),
            compress=file.flag("compress"),
        ),
    )


def _api_logging_of(section: Section) -> ApiLogging:
    return ApiLogging(
        level=section.text("level"),
        format=section.optional_text("format"),
        color=section.flag("color"),
    )


def results_of(section: Section) -> Results:
    """Whether results are kept, and how long."""
    return Results(
        enabled=section.flag("enabled"),
        ttl_success_ms=section.duration_ms("ttl_success", at_least=1_000),
        ttl_failure_ms=section.duration_ms("ttl_failure", at_least=1_000),
    )


def api_of(section: Section, image: str) -> Api:
    """The HTTP service."""
    autoscale = autoscale_of(section.section("autoscale")) if section.has("autoscale") else None
    ingress = section.section("ingress")
    return Api(
        port=section.whole("port"),
        replicas=section.whole("replicas", autoscale.min_replicas if autoscale else 1),
        image=section.optional_text("image") or image,
        publish=section.optional_text("publish"),
        service_type=section.text("service_type"),
        ingress=(
            Ingress(
                host=ingress.text("host"),
                class_name=ingress.optional_text("class"),
                tls_secret=ingress.optional_text("tls_secret"),
            )
            if section.has("ingress")
            else None
        ),
        env=section.text_map("env"),
        secrets=section.texts("secrets"),
        resources=resources_of(section.section("resources")),
        autoscale=autoscale,
        placement=placement_of(section),
        disruption=disruption_of(section),
        logging=_api_logging_of(section.section("logging")),
    )


def kubernetes_of(section: Section, name: str) -> Kubernetes:
    """What only Kubernetes needs; `name` is the topology's."""
    return Kubernetes(
        namespace=section.optional_text("namespace") or name,
        autoscaler=section.text("autoscaler"),
        monitoring=section.text("monitoring"),
        secret=section.optional_text("secret") or f"{name}-secrets",
        image_pull_secrets=section.texts("image_pull_secrets"),
        labels=section.text_map("labels"),
        annotations=section.text_map("annotations"),
        patches=tuple(
            _patch(each, each.optional_text("kind"), each.optional_text("name"))
            for each in section.sections("patches")
        ),
    )


def compose_of(section: Section) -> Compose:
    """What only Compose needs."""
    patches = section.sections("patches")
    return Compose(
        tuple(_patch(each, "service", each.optional_text("service")) for each in patches)
    )


def _patch(section: Section, kind: str | None, name: str | None) -> Patch:
    return Patch(
        kind=kind,
        name=name,
        merge=section.value("merge"),
        operations=tuple(section.value("json") or ()),
    )
