"""What a workload says of its pods, into the section of the pool, scheduler or api."""

from __future__ import annotations

import re

from bananas_topology.importer import amounts
from bananas_topology.importer.draft import Draft, Section, put, put_read, whole
from bananas_topology.importer.source import Field

_PPROF = "/debug/pprof"


def import_pod_spec(
    draft: Draft, section: Section, document: Field, container: Field, least: str | None
) -> None:
    """Read a workload's image, amounts, replicas, placement and probes.

    `least` is the number of replicas at which its autoscaler begins; None: it has none.
    """
    pod = document.child("spec", "template", "spec")
    if image := container.get("image"):
        put(section, ("image",), image.text, image)
    if replicas := document.get("spec", "replicas"):
        _put_replicas(section, replicas, least)
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
        other.drop("a second container: add it by `kubernetes.patches`")
    if grace := pod.get("terminationGracePeriodSeconds"):
        grace.translate("made of the pool's `grace`")
    for key in ("volumes", "initContainers"):
        if found := pod.get(key):
            _judge_volumes(found)
    _judge_annotations(document)
    document.child("spec").translate("rendered pods are restricted, probed and spread by rule")


def _put_replicas(section: Section, replicas: Field, least: str | None) -> None:
    if least is None:
        put_read(section, ("replicas",), whole, replicas)
    elif replicas.text == least:
        replicas.translate("where `autoscale` begins")
    else:
        replicas.mark_mistake(f"each apply would undo the autoscaler; `autoscale.min` is {least}")


def _import_resources(section: Section, resources: Field | None) -> None:
    for kind in ("requests", "limits"):
        if resources and (found := resources.get(kind, "cpu")):
            put_read(section, ("resources", kind, "cpu"), amounts.cpu, found)
        if resources and (found := resources.get(kind, "memory")):
            path = ("resources", kind, "memory")
            put_read(section, path, amounts.kubernetes_memory, found)


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
                    weight.translate("a preference of a topology has weight 100")
                else:
                    weight.drop("a preference of a topology has weight 100")
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
            expression.drop("a topology places by node labels that are equal to one value")


def _import_probes(container: Field) -> None:
    for kind in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = container.get(kind)
        if probe is None:
            continue
        path = probe.get("httpGet", "path")
        if path and path.text.startswith(_PPROF):
            probe.mark_mistake("a profiler's page says nothing of progress; probes judge it now")
        else:
            probe.translate("rendered probes judge the worker's own progress")


def _import_ports(container: Field) -> None:
    for port in container.child("ports").items:
        if port.text_of("name") == "pprof":
            port.mark_mistake("a profiler open to the cluster; the port serves metrics now")
        else:
            port.translate("the ports that a worker and the api serve are known")


def _judge_volumes(volumes: Field) -> None:
    for volume in volumes.items:
        if volume.get("emptyDir"):
            volume.translate("rendered pods have a /tmp of their own")
        else:
            volume.drop("a topology mounts no volumes: use `kubernetes.patches`")


def _judge_annotations(document: Field) -> None:
    annotations = document.get("spec", "template", "metadata", "annotations")
    for name, leaf in (annotations.mapping if annotations else {}).items():
        if re.match(r"prometheus\.io/", name):
            leaf.translate("`kubernetes.monitoring: annotations`, the default")
