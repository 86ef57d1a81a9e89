"""Autoscalers and disruption budgets, into the sections of the pools that they are for."""

from __future__ import annotations

from collections.abc import Iterable

from bananas_topology.importer import amounts
from bananas_topology.importer.draft import Draft, Section, is_whole, look, put, put_read, whole
from bananas_topology.importer.source import Field

#: Kinds of metrics with a value a replica: where it stands, and the field of `autoscale`.
_COUNTED = (
    ("External", "external", "queue_depth", "`autoscale.queue_depth`: ready jobs a replica"),
    ("Pods", "pods", "requests_per_second", "`autoscale.requests_per_second`"),
)

_DIRECTIONS = {"scaleUp": "scale_up", "scaleDown": "scale_down"}


def import_hpa(draft: Draft, document: Field, sections: dict[str, Section]) -> None:
    """Read a HorizontalPodAutoscaler (autoscaling/v2) into its target's section."""
    section = _target(draft, document, sections)
    if section is None:
        return
    _put_bounds(section, document, "minReplicas", "maxReplicas")
    metrics = document.child("spec", "metrics")
    for metric in metrics.items:
        _import_metric(section, metric)
    _import_behavior(section, document.get("spec", "behavior"))
    document.child("spec").translate("`autoscale` of the pool")


def scaled_to(documents: Iterable[Field]) -> dict[str, str]:
    """The workloads that an autoscaler owns, and the least of each: names and numbers."""
    owned: dict[str, str] = {}
    for document in documents:
        for key in ("minReplicas", "minReplicaCount"):
            if target := document.get("spec", "scaleTargetRef", "name"):
                owned[target.text] = document.text_of("spec", key) or owned.get(target.text, "1")
    return owned


def import_keda(draft: Draft, document: Field, sections: dict[str, Section]) -> None:
    """Read a KEDA ScaledObject into its target's section."""
    section = _target(draft, document, sections)
    if section is None:
        return
    draft.kubernetes["autoscaler"] = "keda"
    _put_bounds(section, document, "minReplicaCount", "maxReplicaCount")
    advanced = document.get("spec", "advanced")
    if advanced:
        if target := advanced.get("scalingModifiers", "target"):
            put_read(section, ("autoscale", "queue_depth"), whole, target)
        _import_behavior(section, advanced.get("horizontalPodAutoscalerConfig", "behavior"))
    triggers = document.child("spec", "triggers")
    for trigger in triggers.items:
        if trigger.text_of("type") in ("cpu", "memory"):
            if value := trigger.get("metadata", "value"):
                path = ("autoscale", trigger.text_of("type"))
                put_read(section, path, whole, value)
        elif (length := trigger.get("metadata", "listLength")) and not _has_formula(advanced):
            put_read(section, ("autoscale", "queue_depth"), whole, length)
    document.child("spec").translate("`autoscale` of the pool, `kubernetes.autoscaler: keda`")


def _has_formula(advanced: Field | None) -> bool:
    return bool(advanced and advanced.get("scalingModifiers", "formula"))


def import_disruption(draft: Draft, document: Field, sections: dict[str, Section]) -> None:
    """Read a PodDisruptionBudget into the section of the workload that it selects."""
    name = document.text_of("metadata", "name")
    labels = document.get("spec", "selector", "matchLabels")
    words = {name, *(leaf.text for leaf in (labels.mapping.values() if labels else ()))}
    targets = [each for each in sections if each in words or any(each in word for word in words)]
    # The longest name fits best: "worker-high" before "worker".
    targets.sort(key=len, reverse=True)
    if not targets and "redis" in words:
        document.translate("the managed Redis has a budget of its own")
        return
    if not targets:
        document.drop("what it selects is not among the workloads of Bananas")
        return
    section = sections[targets[0]]
    available, unavailable = (
        document.get("spec", key) for key in ("minAvailable", "maxUnavailable")
    )
    if available:
        _put_available(section, available)
    elif unavailable and unavailable.text == "1":
        unavailable.translate("a rendered budget lets one go at a time")
    elif unavailable and is_whole(unavailable.text):
        put_read(section, ("disruption", "max_unavailable"), whole, unavailable)
    elif unavailable:
        unavailable.drop("a topology gives a number of replicas, not a share")
    document.child("spec").translate("rendered budgets select the pool's pods")


def _put_available(section: Section, available: Field) -> None:
    least = look(section, "autoscale", "min") or section.get("replicas", 1)
    if not is_whole(available.text):
        available.drop("a topology gives a number of replicas, not a share")
    elif isinstance(least, int) and int(available.text) >= least:
        available.mark_mistake(
            f"with {least} replicas it blocks a node's drain for ever; one may go at a time"
        )
    else:
        put_read(section, ("disruption", "min_available"), whole, available)


def _target(draft: Draft, document: Field, sections: dict[str, Section]) -> Section | None:
    name = document.text_of("spec", "scaleTargetRef", "name")
    if name not in sections:
        document.drop(f'its target "{name}" is not among the workloads of Bananas')
        draft.notices.append(f'an autoscaler has the target "{name}", which is not in the files')
        return None
    return sections[name]


def _put_bounds(section: Section, document: Field, least: str, most: str) -> None:
    if minimum := document.get("spec", least):
        put_read(section, ("autoscale", "min"), whole, minimum)
    if maximum := document.get("spec", most):
        put_read(section, ("autoscale", "max"), whole, maximum)


def _import_metric(section: Section, metric: Field) -> None:
    kind = metric.text_of("type")
    if kind == "Resource":
        name = metric.text_of("resource", "name")
        value = metric.get("resource", "target", "averageUtilization")
        if value and name in ("cpu", "memory"):
            put_read(section, ("autoscale", name), whole, value)
            metric.translate("`autoscale`: percent of the request")
    for kind_of, key, field, note in _COUNTED:
        value = metric.get(key, "target", "averageValue")
        if kind == kind_of and value:
            put_read(section, ("autoscale", field), whole, value)
            metric.translate(note)
    metric.drop(f"a topology has no target of this kind ({kind})")


def _import_behavior(section: Section, behavior: Field | None) -> None:
    for theirs, ours in _DIRECTIONS.items():
        if behavior and (direction := behavior.get(theirs)):
            _import_direction(section, ours, direction)


def _import_direction(section: Section, name: str, direction: Field) -> None:
    if window := direction.get("stabilizationWindowSeconds"):
        put_read(section, ("autoscale", name, "window"), amounts.seconds, window)
    if select := direction.get("selectPolicy"):
        if select.text in ("Max", "Min"):
            put(section, ("autoscale", name, "select"), select.text.lower(), select)
        else:
            select.drop("a topology cannot forbid to scale; leave `autoscale` out instead")
    policies = direction.child("policies")
    for policy in policies.items:
        kind, value, period = (policy.get(key) for key in ("type", "value", "periodSeconds"))
        if value and kind and kind.text in ("Percent", "Pods"):
            put_read(section, ("autoscale", name, kind.text.lower()), whole, value)
            kind.translate(f"`{name}.{kind.text.lower()}`")
        if period:
            put_read(section, ("autoscale", name, "period"), amounts.seconds, period)
