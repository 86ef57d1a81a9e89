"""Import autoscalers and disruption budgets into the sections of their workloads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bananas_topology.importer import amounts
from bananas_topology.importer.draft import (
    Draft,
    Section,
    get_path,
    integer,
    is_integer,
    put,
    put_parsed,
)
from bananas_topology.importer.known import translate_known, translate_only
from bananas_topology.importer.kubernetes.known import DISRUPTION, HPA, KEDA, LIST_TRIGGER
from bananas_topology.importer.source import Field

#: Metrics with a target per replica: type, key, field of `autoscale` and note.
_PER_REPLICA = (
    ("External", "external", "queue_depth", "`autoscale.queue_depth`: ready jobs per replica"),
    ("Pods", "pods", "requests_per_second", "`autoscale.requests_per_second`"),
)

_DIRECTIONS = {"scaleUp": "scale_up", "scaleDown": "scale_down"}


def import_hpa(draft: Draft, document: Field, sections: dict[str, Section]) -> None:
    """Import a HorizontalPodAutoscaler (autoscaling/v2) into its target's section."""
    section = _target(draft, document, sections)
    if section is None:
        return
    _put_bounds(section, document, "minReplicas", "maxReplicas")
    is_api = section is draft.api
    for metric in document.child("spec", "metrics").items:
        _import_metric(section, metric, is_api)
    _import_behavior(section, document.get("spec", "behavior"))
    translate_known(document, HPA)


def replicas_owned_by_autoscalers(documents: Iterable[Field]) -> dict[str, str]:
    """The minimum replicas of all workloads with an autoscaler, by name."""
    owned: dict[str, str] = {}
    for document in documents:
        for key in ("minReplicas", "minReplicaCount"):
            if target := document.get("spec", "scaleTargetRef", "name"):
                owned[target.text] = document.text_of("spec", key) or owned.get(target.text, "1")
    return owned


def import_keda(draft: Draft, document: Field, sections: dict[str, Section]) -> None:
    """Import a KEDA ScaledObject into its target's section."""
    section = _target(draft, document, sections)
    if section is None:
        return
    draft.kubernetes["autoscaler"] = "keda"
    _put_bounds(section, document, "minReplicaCount", "maxReplicaCount")
    advanced = document.get("spec", "advanced")
    if advanced:
        if target := advanced.get("scalingModifiers", "target"):
            put_parsed(section, ("autoscale", "queue_depth"), integer, target)
        _import_behavior(section, advanced.get("horizontalPodAutoscalerConfig", "behavior"))
    triggers = document.child("spec", "triggers")
    for trigger in triggers.items:
        if trigger.text_of("type") in ("cpu", "memory"):
            if value := trigger.get("metadata", "value"):
                path = ("autoscale", trigger.text_of("type"))
                put_parsed(section, path, integer, value)
        elif (length := _list_length(trigger)) and not _has_formula(advanced):
            put_parsed(section, ("autoscale", "queue_depth"), integer, length)
        _finish_trigger(trigger)
    translate_known(document, KEDA)


def _finish_trigger(trigger: Field) -> None:
    kind = trigger.child("type")
    if kind.text in ("cpu", "memory"):
        kind.translate(f"`autoscale.{kind.text}`")
    elif kind.text == "redis" and ":queue:" in trigger.text_of("metadata", "listName"):
        trigger.child("metadata", "listLength").translate("`autoscale.queue_depth`")
        translate_known(trigger, LIST_TRIGGER)
    else:
        trigger.drop("`autoscale` supports CPU, memory and the depth of the pool's own queues")


def _list_length(trigger: Field) -> Field | None:
    """The target of a trigger on the list of a queue."""
    is_queue = ":queue:" in trigger.text_of("metadata", "listName")
    return trigger.get("metadata", "listLength") if is_queue else None


def _has_formula(advanced: Field | None) -> bool:
    return bool(advanced and advanced.get("scalingModifiers", "formula"))


def import_disruption(
    document: Field, pods: Iterable[tuple[Section | None, Mapping[str, str]]]
) -> None:
    """Import a PodDisruptionBudget into the section of the workload that it selects.

    `pods` are the sections of all workloads with their pods' labels; None for the managed Redis.
    """
    selector = document.child("spec", "selector")
    wanted = selector.child("matchLabels").texts
    selected = [section for section, labels in pods if wanted.items() <= labels.items()]
    if not wanted or selector.get("matchExpressions") or not selected:
        document.drop("selects no Bananas workload by its labels")
        return
    if len(selected) > 1:
        document.drop("a budget for several workloads: a topology has one for each")
        return
    [section] = selected
    if section is None:
        note = "the managed Redis has its own budget"
        translate_only(document, note, "spec.maxUnavailable", "spec.minAvailable")
        translate_known(document, DISRUPTION)
        return
    available, unavailable = (
        document.get("spec", key) for key in ("minAvailable", "maxUnavailable")
    )
    if available:
        _put_available(section, available)
    elif unavailable and unavailable.text == "1":
        unavailable.translate("rendered budgets allow one eviction at a time")
    elif unavailable and is_integer(unavailable.text):
        put_parsed(section, ("disruption", "max_unavailable"), integer, unavailable)
    elif unavailable:
        unavailable.drop("a topology takes a number of replicas, not a percentage")
    translate_known(document, DISRUPTION)


def _put_available(section: Section, available: Field) -> None:
    min_replicas = get_path(section, "autoscale", "min") or section.get("replicas", 1)
    if not is_integer(available.text):
        available.drop("a topology takes a number of replicas, not a percentage")
    elif isinstance(min_replicas, int) and int(available.text) >= min_replicas:
        available.mark_mistake(
            f"requires {available.text} of {min_replicas} replicas, which blocks node drains; "
            "rendered budgets allow one eviction at a time"
        )
    else:
        put_parsed(section, ("disruption", "min_available"), integer, available)


def _target(draft: Draft, document: Field, sections: dict[str, Section]) -> Section | None:
    name = document.text_of("spec", "scaleTargetRef", "name")
    if name not in sections:
        document.drop(f'its target "{name}" is not a Bananas workload')
        draft.notices.append(f'an autoscaler targets "{name}", which is not in the files')
        return None
    return sections[name]


def _put_bounds(section: Section, document: Field, min_key: str, max_key: str) -> None:
    if minimum := document.get("spec", min_key):
        put_parsed(section, ("autoscale", "min"), integer, minimum)
    if maximum := document.get("spec", max_key):
        put_parsed(section, ("autoscale", "max"), integer, maximum)


def _import_metric(section: Section, metric: Field, is_api: bool) -> None:
    kind = metric.text_of("type")
    name = metric.text_of("resource", "name")
    value = metric.get("resource", "target", "averageUtilization")
    if kind == "Resource" and value and name in ("cpu", "memory"):
        put_parsed(section, ("autoscale", name), integer, value)
        note = "`autoscale`: percent of the request"
        translate_only(metric, note, "type", "resource.name", "resource.target.type")
    for metric_type, key, field, note in _PER_REPLICA:
        value = metric.get(key, "target", "averageValue")
        is_own = field in metric.text_of(key, "metric", "name")
        if kind == metric_type and value and is_own and is_api == (field == "requests_per_second"):
            put_parsed(section, ("autoscale", field), integer, value)
            translate_only(metric, note, "type", f"{key}.metric.**", f"{key}.target.type")
    metric.drop(f"a topology cannot scale by {kind} metrics like this")


def _import_behavior(section: Section, behavior: Field | None) -> None:
    for theirs, ours in _DIRECTIONS.items():
        if behavior and (direction := behavior.get(theirs)):
            _import_direction(section, ours, direction)


def _import_direction(section: Section, name: str, direction: Field) -> None:
    if window := direction.get("stabilizationWindowSeconds"):
        put_parsed(section, ("autoscale", name, "window"), amounts.seconds, window)
    if select := direction.get("selectPolicy"):
        if select.text in ("Max", "Min"):
            put(section, ("autoscale", name, "select"), select.text.lower(), select)
        else:
            select.drop("a topology cannot disable one direction; leave `autoscale` out instead")
    policies = direction.child("policies")
    for policy in policies.items:
        kind, value, period = (policy.get(key) for key in ("type", "value", "periodSeconds"))
        if value and kind and kind.text in ("Percent", "Pods"):
            put_parsed(section, ("autoscale", name, kind.text.lower()), integer, value)
            kind.translate(f"`{name}.{kind.text.lower()}`")
        if period:
            put_parsed(section, ("autoscale", name, "period"), amounts.seconds, period)
