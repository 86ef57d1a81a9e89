"""Import a workload's pods into the section of the pool, the scheduler or the api."""

from __future__ import annotations

import re

from bananas_topology.importer import amounts
from bananas_topology.importer.draft import Draft, Section, integer, put, put_parsed
from bananas_topology.importer.source import Field

_PPROF = "/debug/pprof"


def import_pod_spec(
    draft: Draft, section: Section, document: Field, container: Field, min_replicas: str | None
) -> None:
    """Import a workload's image, resources, replicas, placement and probes.

    `min_replicas` is its autoscaler's; None if it has no autoscaler.
    """
    pod = document.child("spec", "template", "spec")
    if image := container.get("image"):
        put(section, ("image",), image.text, image)
    if replicas := document.get("spec", "replicas"):
        _put_replicas(section, replicas, min_replicas)
    _import_resources(section, container.get("resources"))
    _import_placement(section, pod)
    _import_probes(container)
    for secret in pod.child("imagePullSecrets").items:
        name = secret.text_of("name")
        names = draft.kubernetes.setdefault("image_pull_secrets", [])
        if name not in names:
            names.append(name)
        secret.keep()
    _import_ports(container)
    for other in pod.child("containers").items[1:]:
        other.drop("additional container: add it with `kubernetes.patches`")
    if grace := pod.get("terminationGracePeriodSeconds"):
        grace.translate("computed from the pool's `grace`")
    for key in ("volumes", "initContainers"):
        if found := pod.get(key):
            _check_volumes(draft, document, found)
    _check_annotations(document)
    document.child("spec").translate(
        "rendered workloads have their own selectors and security settings"
    )


def _put_replicas(section: Section, replicas: Field, min_replicas: str | None) -> None:
    if min_replicas is None:
        put_parsed(section, ("replicas",), integer, replicas)
    elif replicas.text == min_replicas:
        replicas.translate("`autoscale.min`")
    else:
        replicas.mark_mistake(
            f"each apply would override the autoscaler; `autoscale.min` is {min_replicas}"
        )


def _import_resources(section: Section, resources: Field | None) -> None:
    for kind in ("requests", "limits"):
        if resources and (found := resources.get(kind, "cpu")):
            put_parsed(section, ("resources", kind, "cpu"), amounts.cpu, found)
        if resources and (found := resources.get(kind, "memory")):
            path = ("resources", kind, "memory")
            put_parsed(section, path, amounts.kubernetes_memory, found)


def _import_placement(section: Section, pod: Field) -> None:
    selector = pod.get("nodeSelector")
    for label, leaf in (selector.mapping if selector else {}).items():
        put(section, ("placement", "require", label), leaf.text, leaf)
    affinity = pod.get("affinity", "nodeAffinity")
    if affinity:
        required = affinity.child(
            "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms"
        )
        for node_term in required.items:
            _import_terms(section, "require", node_term)
        for preference in affinity.child("preferredDuringSchedulingIgnoredDuringExecution").items:
            if term := preference.get("preference"):
                _import_terms(section, "prefer", term)
            if weight := preference.get("weight"):
                if weight.text == "100":
                    weight.translate("rendered preferences have weight 100")
                else:
                    weight.drop("all rendered preferences have weight 100")
    for toleration in pod.child("tolerations").items:
        known = {
            key: leaf.text
            for key, leaf in toleration.mapping.items()
            if key in ("key", "operator", "value", "effect")
        }
        section.setdefault("placement", {}).setdefault("tolerations", []).append(known)
        for key in known:
            toleration.child(key).keep()


def _import_terms(section: Section, kind: str, term: Field) -> None:
    for expression in term.child("matchExpressions").items:
        label, values = expression.text_of("key"), expression.child("values").items
        if expression.text_of("operator") == "In" and len(values) == 1:
            section_path = ("placement", kind, label)
            put(section, section_path, values[0].text, values[0])
            expression.translate(f"`placement.{kind}`")
        else:
            expression.drop(f"`placement.{kind}` supports only node labels equal to a value")


def _import_probes(container: Field) -> None:
    for kind in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = container.get(kind)
        if probe is None:
            continue
        path = probe.get("httpGet", "path")
        if path and path.text.startswith(_PPROF):
            probe.mark_mistake("a profiler endpoint does not show progress; rendered probes do")
        else:
            probe.translate("rendered pods have their own probes")


def _import_ports(container: Field) -> None:
    for port in container.child("ports").items:
        if port.text_of("name") == "pprof":
            port.mark_mistake("exposes a profiler to the cluster; the port now serves metrics")
        else:
            port.translate("set in rendered pods")


def _check_volumes(draft: Draft, document: Field, volumes: Field) -> None:
    for volume in volumes.items:
        if volume.get("emptyDir"):
            volume.translate("rendered pods have their own /tmp")
        elif _has_credentials(volume):
            secret = volume.child("secret", "secretName")
            if secret.text != f"{document.text_of('metadata', 'namespace')}-secrets":
                put(draft.kubernetes, ("secret",), secret.text, secret)
            volume.translate("credentials are rendered as files")
        else:
            volume.drop("a topology has no volumes: use `kubernetes.patches`")


def _has_credentials(volume: Field) -> bool:
    """Whether a volume is what rendered pods have their credentials from."""
    keys = {item.text_of("key") for item in volume.child("secret", "items").items}
    return bool(keys) and keys <= {"REDIS_URL", "REDIS_PASSWORD", "API_TOKEN"}


def _check_annotations(document: Field) -> None:
    annotations = document.get("spec", "template", "metadata", "annotations")
    for name, leaf in (annotations.mapping if annotations else {}).items():
        if re.match(r"prometheus\.io/", name):
            leaf.translate("`kubernetes.monitoring: annotations`, the default")
