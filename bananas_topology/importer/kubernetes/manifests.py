"""Kubernetes manifests, as they were written by hand or rendered by us, into the draft."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bananas_topology.importer import amounts
from bananas_topology.importer.compose import put_name
from bananas_topology.importer.draft import Draft, Section, put, put_read, whole
from bananas_topology.importer.kubernetes.pods import import_pod_spec
from bananas_topology.importer.kubernetes.scaling import (
    import_disruption,
    import_hpa,
    import_keda,
    scaled_to,
)
from bananas_topology.importer.redis_server import is_redis, judge_command, judge_image
from bananas_topology.importer.source import EnvironmentFields, Field, fields_of
from bananas_topology.importer.variables import (
    apply_api,
    apply_scheduler,
    apply_worker,
    is_scheduler,
    is_worker,
    pool_name,
)

#: Kinds that a rendering makes by itself, from what the others say.
_RENDERED_KINDS = {
    "ServiceAccount": "rendered: one without a token",
    "NetworkPolicy": "rendered: deny all, then what is needed",
    "TriggerAuthentication": "rendered beside the scaled objects",
    "PersistentVolumeClaim": "the managed Redis has a claim of its own",
    "Kustomization": "rendered with the files that it lists",
    "Secret": "referred to by name; its values stay outside of a topology",
}

_SHARED = "shared variables stand in the pools and in `defaults`; rendered again as a ConfigMap"

_WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob", "Pod")


def is_manifest(document: Field) -> bool:
    """Whether a document looks like a Kubernetes object."""
    return document.get("kind") is not None and document.get("apiVersion") is not None


def import_manifests(draft: Draft, documents: Iterable[Field]) -> None:
    """Read all objects of a deployment into the draft, in whatever order they stand."""
    objects = list(_flat(documents))
    config_maps = {
        each.text_of("metadata", "name"): each for each in objects if _kind(each) == "ConfigMap"
    }
    draft.has_managed_redis |= any(is_redis(_image(each)) for each in objects)
    sections: dict[str, Section] = {}
    owned = scaled_to(objects)
    for each in objects:
        if _kind(each) in _WORKLOADS:
            least = owned.get(each.text_of("metadata", "name"))
            _import_workload(draft, each, config_maps, sections, least)
    # A budget is judged by the least number of replicas, so autoscalers come first.
    for each in sorted(objects, key=lambda each: _kind(each) == "PodDisruptionBudget"):
        _import_other(draft, each, sections)
    for each in objects:
        for field in ("apiVersion", "kind"):
            each.child(field).translate("rendered objects have theirs")
        if namespace := each.get("metadata", "namespace"):
            _put_namespace(draft, namespace)
        each.child("metadata").translate("rendered objects are named and labelled by rule")


def _flat(documents: Iterable[Field]) -> Iterator[Field]:
    """The objects, those of a List one by one."""
    for document in documents:
        if _kind(document) == "List" and (items := document.get("items")):
            yield from items.items
        else:
            yield document


def _kind(document: Field) -> str:
    return document.text_of("kind")


def _container(document: Field) -> Field | None:
    containers = document.get("spec", "template", "spec", "containers")
    return containers.items[0] if containers and containers.items else None


def _image(document: Field) -> str:
    container = _container(document)
    return container.text_of("image") if container else ""


def _put_namespace(draft: Draft, namespace: Field) -> None:
    draft.name = draft.name or namespace.text
    if namespace.text == draft.name:
        namespace.keep()
    else:
        put(draft.kubernetes, ("namespace",), namespace.text, namespace)


def _import_workload(
    draft: Draft,
    document: Field,
    config_maps: dict[str, Field],
    sections: dict[str, Section],
    least: str | None,
) -> None:
    name, container = document.text_of("metadata", "name"), _container(document)
    if container is None or _kind(document) not in ("Deployment", "StatefulSet"):
        document.drop(f"a {_kind(document)} is nothing that a topology describes")
        draft.notices.append(f'{_kind(document)} "{name}" is not one of Bananas; it is left out')
        return
    environment = _environment(draft, container, config_maps)
    words = " ".join(_words(container))
    section: Section = {}
    if is_redis(container.text_of("image")):
        _import_redis(draft, document, container)
        return
    if "bananas_topology.api" in words or "API_PORT" in environment or _is_api(name, container):
        draft.api = section = draft.api if draft.api is not None else {}
        apply_api(draft, section, environment)
        _import_api_port(section, container)
    elif is_scheduler(environment) and draft.scheduler is None:
        draft.scheduler = section
        apply_scheduler(draft, section, environment)
    elif is_worker(environment) or "bananas_topology.worker" in words:
        section = draft.pool(pool_name(environment, name))
        apply_worker(draft, section, environment)
    else:
        document.drop("not a workload of Bananas: keep it in a manifest of its own")
        draft.notices.append(f'{_kind(document)} "{name}" is not one of Bananas; it is left out')
        return
    sections[name] = section
    _put_secrets(section, container)
    import_pod_spec(draft, section, document, container, least)


def _words(container: Field) -> list[str]:
    return [
        leaf.text
        for key in ("command", "args")
        if (found := container.get(key))
        for leaf in found.leaves()
    ]


def _is_api(name: str, container: Field) -> bool:
    image = container.text_of("image").rpartition("/")[2].partition(":")[0]
    return ("bananas" in image and "api" in image) or name == "api"


def _environment(
    draft: Draft, container: Field, config_maps: dict[str, Field]
) -> EnvironmentFields:
    """A container's plain variables: those of its ConfigMaps, and its own, which win."""
    variables: dict[str, tuple[str, Field]] = {}
    for source in container.child("envFrom").items:
        reference = source.text_of("configMapRef", "name")
        if reference in config_maps:
            for name, text, field in fields_of(config_maps[reference].get("data")):
                variables[name] = (text, field)
            source.translate(_SHARED)
            config_maps[reference].child("kind").translate(_SHARED)
        elif secret := source.get("secretRef", "name"):
            put(draft.kubernetes, ("secret",), secret.text, secret)
        else:
            source.drop("what it refers to is not among the files")
    for entry in container.child("env").items:
        name, value = entry.text_of("name"), entry.get("value")
        if value is not None and entry.get("name"):
            # What Kubernetes takes as it is, a topology would interpolate.
            variables[name] = (value.text.replace("$", "$$"), value)
            entry.child("name").keep()
        elif entry.get("valueFrom", "fieldRef"):
            variables.pop(name, None)
            entry.translate("rendered workers are told their pod's name")
    return variables


def _put_secrets(section: Section, container: Field) -> None:
    """Variables by secret reference: REDIS_URL and API_TOKEN always are, others are named."""
    for entry in container.child("env").items:
        reference = entry.get("valueFrom", "secretKeyRef")
        if reference is None:
            continue
        name = entry.text_of("name")
        if name not in ("REDIS_URL", "API_TOKEN"):
            secrets = section.setdefault("secrets", [])
            if name not in secrets:
                secrets.append(name)
        entry.translate("by secret reference, under the variable's own name")


def _import_api_port(section: Section, container: Field) -> None:
    for port in container.child("ports").items:
        number = port.get("containerPort")
        if number is None:
            continue
        if str(section.get("port", number.text)) != number.text:
            port.mark_mistake(f"only the port {section['port']} is meant to be reached")
        else:
            put_read(section, ("port",), whole, number)


def _import_redis(draft: Draft, document: Field, container: Field) -> None:
    managed: Section = draft.redis.setdefault("managed", {})
    judge_image(draft, container.child("image"))
    if limit := container.get("resources", "limits", "memory"):
        put_read(managed, ("memory",), amounts.kubernetes_memory, limit)
    judge_command(managed, container.get("command"), container.get("args"))
    for claim in document.child("spec", "volumeClaimTemplates").items:
        if storage := claim.get("spec", "resources", "requests", "storage"):
            put_read(managed, ("storage",), amounts.kubernetes_memory, storage)
    document.child("spec").translate("the managed Redis of the topology")


def _import_other(draft: Draft, document: Field, sections: dict[str, Section]) -> None:
    kind = _kind(document)
    match kind:
        case "Namespace":
            if name := document.get("metadata", "name"):
                put_name(draft, name)
        case "HorizontalPodAutoscaler":
            import_hpa(draft, document, sections)
        case "ScaledObject":
            import_keda(draft, document, sections)
        case "PodDisruptionBudget":
            import_disruption(draft, document, sections)
        case "Service":
            _import_service(draft, document)
        case "Ingress":
            _import_ingress(draft, document)
        case "PodMonitor" | "PrometheusRule" | "ServiceMonitor":
            draft.kubernetes.setdefault("monitoring", "prometheus-operator")
            document.translate("`kubernetes.monitoring: prometheus-operator`")
        case _ if kind in _RENDERED_KINDS:
            document.translate(_RENDERED_KINDS[kind])
        case "ConfigMap":
            if document.child("kind").status is None:
                document.drop("nobody of Bananas refers to it")
        case _ if kind not in _WORKLOADS:
            document.drop(f"a {kind} is nothing that a topology describes")


def _import_service(draft: Draft, document: Field) -> None:
    ports = {port.text_of("targetPort") for port in document.child("spec", "ports").items}
    is_headless = document.text_of("spec", "clusterIP") == "None" or "6379" in ports
    kind = document.get("spec", "type")
    if draft.api is not None and not is_headless and kind is not None:
        put(draft.api, ("service_type",), kind.text, kind)
    document.child("spec").translate("rendered for the api, and for the managed Redis")


def _import_ingress(draft: Draft, document: Field) -> None:
    section = draft.api
    rules = document.child("spec", "rules").items
    if section is None or not rules or rules[0].get("host") is None:
        document.drop("no api with a host name to reach it by")
        return
    host = rules[0].child("host")
    put(section, ("ingress", "host"), host.text, host)
    if name := document.get("spec", "ingressClassName"):
        put(section, ("ingress", "class"), name.text, name)
    for tls in document.child("spec", "tls").items:
        if secret := tls.get("secretName"):
            put(section, ("ingress", "tls_secret"), secret.text, secret)
    document.child("spec").translate("`api.ingress`: all paths of the host")
