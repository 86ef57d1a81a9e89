"""Import a workload's pods into the section of the pool, the scheduler or the api."""

from __future__ import annotations

import posixpath

from bananas_topology.contract.worker import WorkerConfig
from bananas_topology.importer import amounts
from bananas_topology.importer.draft import Draft, Section, get_path, integer, put, put_parsed
from bananas_topology.importer.known import translate_known, translate_only
from bananas_topology.importer.kubernetes.volumes import import_volumes
from bananas_topology.importer.processes import put_startup
from bananas_topology.importer.source import Field

_PPROF = "/debug/pprof"
#: Where rendered workers serve their metrics.
_METRICS_PORT = "6061"
_LOG_FILE = WorkerConfig().log_file_path
#: Classes of pods that must exist, and their fields in a topology.
_CLASSES = {"priorityClassName": "priority_class", "runtimeClassName": "runtime_class"}
#: Fields of constraints that rendered pods have, too.
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
    _import_probes(section, document, container, is_pool=draft.is_pool(section))
    _import_ports(section, container, is_api=section is draft.api)
    for other in pod.child("containers").items[1:]:
        other.drop("additional container: add it with `kubernetes.patches`")
    import_volumes(draft, section, pod, container, ("/tmp", _log_directory(section)))
    for key, name in _CLASSES.items():
        if found := pod.get(key):
            put(section, (name,), found.text, found)
    _check_spread(pod)
    port = str(section.get("port", 8080)) if section is draft.api else _METRICS_PORT
    _check_annotations(document, port)


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
    if resources is None:
        return
    limits = resources.child("limits")
    for kind in ("requests", "limits"):
        for name, found in resources.child(kind).mapping.items():
            path = ("resources", kind, name.replace("ephemeral-", "ephemeral_"))
            if name == "cpu":
                put_parsed(section, path, amounts.kubernetes_cpu, found)
            elif name == "memory":
                put_parsed(section, path, amounts.kubernetes_memory, found)
            elif kind == "requests" and found.text and found.text == limits.text_of(name):
                found.translate("Kubernetes requests what the limit is")
            elif name == "ephemeral-storage" and kind == "limits":
                put_parsed(section, path, amounts.kubernetes_memory, found)
            elif "/" in name and kind == "limits":
                put_parsed(section, path, integer, found)
            else:
                found.drop(f"`resources.{kind}` has no {name}")


def _import_placement(section: Section, pod: Field) -> None:
    selector = pod.get("nodeSelector")
    for label, leaf in (selector.mapping if selector else {}).items():
        put(section, ("placement", "require", label), leaf.text, leaf)
    affinity = pod.get("affinity", "nodeAffinity")
    if affinity:
        required = affinity.child(
            "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms"
        )
        if len(required.items) > 1:
            required.drop("one of several terms: `placement.require` has labels that all count")
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
        if all(leaf.status is not None for leaf in expression.leaves()):
            continue
        label, values = expression.text_of("key"), expression.child("values").items
        if expression.text_of("operator") == "In" and len(values) == 1:
            section_path = ("placement", kind, label)
            put(section, section_path, values[0].text, values[0])
            translate_only(expression, f"`placement.{kind}`", "key", "operator", "values[]")
        else:
            expression.drop(f"`placement.{kind}` supports only node labels equal to a value")


def _import_probes(section: Section, document: Field, container: Field, is_pool: bool) -> None:
    startup = container.get("startupProbe")
    if startup is not None and is_pool:
        _import_startup(section, document, startup)
    for kind in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = container.get(kind)
        if probe is None:
            continue
        path = probe.get("httpGet", "path")
        if path and path.text.startswith(_PPROF):
            probe.mark_mistake("a profiler endpoint does not show progress; rendered probes do")
        else:
            probe.translate("rendered pods have their own probes")


def _import_startup(section: Section, document: Field, probe: Field) -> None:
    """Set how long a start may take, unless rendered workers may take longer anyway."""
    try:
        delay_s, period_s, failures = (
            integer(probe.text_of(key) or default) for key, default in _PROBE.items()
        )
    except ValueError:
        return
    startup_ms = 1000 * (delay_s + period_s * failures)
    is_rendered = probe.text_of("httpGet", "path").endswith("?started")
    put_startup(section, startup_ms, probe, is_rendered=is_rendered)
    deadline = document.get("spec", "progressDeadlineSeconds")
    if deadline and deadline.text == str(startup_ms // 1000 + 300):
        deadline.translate("computed from `startup`")


#: Fields of a probe that say how long it waits, with the defaults of Kubernetes.
_PROBE = {"initialDelaySeconds": "0", "periodSeconds": "10", "failureThreshold": "3"}


def _import_ports(section: Section, container: Field, is_api: bool) -> None:
    for port in container.child("ports").items:
        number, name = port.text_of("containerPort"), port.text_of("name")
        if name == "pprof":
            port.mark_mistake("exposes a profiler to the cluster; the port now serves metrics")
        elif number == _METRICS_PORT or (is_api and number == str(section.get("port", 8080))):
            for key in ("containerPort", "name"):
                port.child(key).translate("set in rendered pods")
        else:
            port.drop("rendered workers serve only their metrics, the api only its port")
        if port.text_of("protocol") == "TCP":
            port.child("protocol").translate("the default of Kubernetes")


def _log_directory(section: Section) -> str:
    """Where a pool's log files are, which rendered pods have a volume for."""
    return posixpath.dirname(str(get_path(section, "logging", "file", "path") or _LOG_FILE))


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


def _check_annotations(document: Field, port: str) -> None:
    """Mark the annotations of rendered pods that tell Prometheus where to scrape."""
    annotations = document.child("spec", "template", "metadata", "annotations")
    if annotations.text_of("prometheus.io/scrape") == "true":
        note = "`kubernetes.monitoring: annotations`, the default"
        values = {"scrape": "true", "port": port, "path": "/metrics", "scheme": "http"}
        rows = tuple((f"prometheus.io/{key}", value, note) for key, value in values.items())
        translate_known(annotations, rows)
        for key in values:
            annotations.child(f"prometheus.io/{key}").drop(
                f"rendered pods serve their metrics at {port}/metrics"
            )
