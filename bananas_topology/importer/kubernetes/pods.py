"""Import a workload's pods into the section of the pool, the scheduler or the api."""

from __future__ import annotations

import posixpath
import re

from bananas_topology.contract.worker import WorkerConfig
from bananas_topology.importer import amounts
from bananas_topology.importer.draft import Draft, Section, get_path, integer, put, put_parsed
from bananas_topology.importer.known import translate_only
from bananas_topology.importer.kubernetes.environment import has_credentials, mark_secret_name
from bananas_topology.importer.source import Field

_PPROF = "/debug/pprof"
_LOG_FILE = WorkerConfig().log_file_path
_CREDENTIALS = "credentials are rendered as files"
#: Fields of volumes and constraints that rendered pods have, too.
_MOUNT = ("name", "mountPath")
_VOLUME = ("name", "emptyDir", "emptyDir.sizeLimit")
_SPREAD = (
    *("topologyKey", "whenUnsatisfiable", "maxSkew", "labelSelector.**", "matchLabelKeys[]"),
)
#: What rendered pods are spread over.
_SPREAD_OVER = ("topology.kubernetes.io/zone", "kubernetes.io/hostname")


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
        secret.child("name").keep()
    _import_ports(section, container, is_api=section is draft.api)
    for other in pod.child("containers").items[1:]:
        other.drop("additional container: add it with `kubernetes.patches`")
    check_volumes(draft, pod, container, ("/tmp", _log_directory(section)))
    _check_spread(pod)
    check_pull_policy(container)
    _check_annotations(document)


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
            translate_only(expression, f"`placement.{kind}`", "key", "operator", "values[]")
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


def _import_ports(section: Section, container: Field, is_api: bool) -> None:
    for port in container.child("ports").items:
        number, name = port.text_of("containerPort"), port.text_of("name")
        if name == "pprof":
            port.mark_mistake("exposes a profiler to the cluster; the port now serves metrics")
        elif name == "metrics" or (is_api and number == str(section.get("port", 8080))):
            for key in ("containerPort", "name"):
                port.child(key).translate("set in rendered pods")
        else:
            port.drop("rendered workers serve only their metrics, the api only its port")
        if port.text_of("protocol") == "TCP":
            port.child("protocol").translate("the default of Kubernetes")


def _log_directory(section: Section) -> str:
    """Where a pool's log files are, which rendered pods have a volume for."""
    return posixpath.dirname(str(get_path(section, "logging", "file", "path") or _LOG_FILE))


def check_volumes(draft: Draft, pod: Field, container: Field, mounted: tuple[str, ...]) -> None:
    """Mark volumes and where they are mounted; rendered pods have their own at `mounted` paths."""
    own: set[str] = set()
    credentials: set[str] = set()
    for volume in pod.child("volumes").items:
        if has_credentials(volume):
            credentials.add(volume.text_of("name"))
            mark_secret_name(draft, volume.child("secret", "secretName"))
            translate_only(volume, _CREDENTIALS, "name", "secret.defaultMode", "secret.items[].*")
    for mount in container.child("volumeMounts").items:
        if mount.text_of("name") in credentials:
            translate_only(mount, _CREDENTIALS, "name", "mountPath", "readOnly")
        elif mount.text_of("mountPath") in mounted and not mount.get("subPath"):
            own.add(mount.text_of("name"))
            translate_only(mount, "rendered pods have their own volume there", *_MOUNT)
        else:
            mount.drop("a topology has no volumes: use `kubernetes.patches`")
    for volume in pod.child("volumes").items:
        if volume.text_of("name") in credentials:
            continue
        if volume.get("emptyDir") and volume.text_of("name") in own:
            translate_only(volume, "rendered pods have their own volume there", *_VOLUME)
        else:
            volume.drop("a topology has no volumes: use `kubernetes.patches`")


def _check_spread(pod: Field) -> None:
    """Rendered pods are spread over zones and nodes as far as possible."""
    for constraint in pod.child("topologySpreadConstraints").items:
        if (
            constraint.text_of("topologyKey") in _SPREAD_OVER
            and constraint.text_of("whenUnsatisfiable") == "ScheduleAnyway"
            and constraint.text_of("maxSkew") == "1"
        ):
            translate_only(constraint, "rendered pods are spread in this way", *_SPREAD)
        else:
            constraint.drop("rendered pods are spread over zones and nodes as far as possible")


def check_pull_policy(container: Field) -> None:
    """Mark when to pull the image; rendered pods have the default of Kubernetes."""
    policy = container.child("imagePullPolicy")
    image = container.text_of("image")
    tag = image.rpartition("/")[2].partition(":")[2]
    expected = "Always" if tag in ("", "latest") and "@" not in image else "IfNotPresent"
    if policy.text == expected:
        policy.translate("the default of Kubernetes for this tag")
    else:
        policy.drop(f"rendered pods use {expected} for this tag: use `kubernetes.patches`")


def _check_annotations(document: Field) -> None:
    annotations = document.get("spec", "template", "metadata", "annotations")
    for name, leaf in (annotations.mapping if annotations else {}).items():
        if re.match(r"prometheus\.io/", name):
            leaf.translate("`kubernetes.monitoring: annotations`, the default")
