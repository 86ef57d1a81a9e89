"""Import Kubernetes manifests, hand-written or rendered, into the draft of a topology."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bananas_topology.importer import amounts
from bananas_topology.importer.compose import put_name
from bananas_topology.importer.draft import Draft, Section, integer, put, put_parsed
from bananas_topology.importer.kubernetes.pods import import_pod_spec
from bananas_topology.importer.kubernetes.scaling import (
    import_disruption,
    import_hpa,
    import_keda,
    replicas_owned_by_autoscalers,
)
from bananas_topology.importer.processes import Process, import_variables
from bananas_topology.importer.redis_server import check_command, check_image, is_redis
from bananas_topology.importer.source import EnvironmentFields, Field, fields_of

#: Kinds that are rendered without a section of the topology.
_RENDERED_KINDS = {
    "ServiceAccount": "rendered, without a token",
    "NetworkPolicy": "rendered: deny by default, allow what is needed",
    "TriggerAuthentication": "rendered with the ScaledObjects",
    "PersistentVolumeClaim": "the managed Redis has its own claim",
    "Kustomization": "rendered with the list of files",
    "Secret": "referenced by name; a topology contains no secret values",
}

_SHARED = "shared variables become `defaults` or pool fields, rendered into each pod"

_WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob", "Pod")


def is_manifest(document: Field) -> bool:
    """Whether a document is a Kubernetes object."""
    return document.get("kind") is not None and document.get("apiVersion") is not None


def import_manifests(draft: Draft, documents: Iterable[Field]) -> None:
    """Import all objects of a deployment into the draft, in any order."""
    objects = list(_flatten(documents))
    config_maps = {
        document.text_of("metadata", "name"): document
        for document in objects
        if _kind(document) == "ConfigMap"
    }
    draft.has_managed_redis |= any(is_redis(_image(document)) for document in objects)
    sections: dict[str, Section] = {}
    owned = replicas_owned_by_autoscalers(objects)
    for document in objects:
        if _kind(document) in _WORKLOADS:
            min_replicas = owned.get(document.text_of("metadata", "name"))
            _import_workload(draft, document, config_maps, sections, min_replicas)
    # Checking a budget needs the minimum number of replicas, so autoscalers come first.
    for document in sorted(objects, key=lambda it: _kind(it) == "PodDisruptionBudget"):
        _import_other(draft, document, sections)
    for document in objects:
        for field in ("apiVersion", "kind"):
            document.child(field).translate("set in rendered objects")
        if namespace := document.get("metadata", "namespace"):
            _put_namespace(draft, namespace)
        document.child("metadata").translate("rendered objects have standard names and labels")


def _flatten(documents: Iterable[Field]) -> Iterator[Field]:
    """The objects, including those in a List."""
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
    min_replicas: str | None,
) -> None:
    kind, name = _kind(document), document.text_of("metadata", "name")
    container = _container(document)
    if container is None or kind not in ("Deployment", "StatefulSet"):
        document.drop(f"a topology does not describe {kind} objects")
        draft.notices.append(f'{kind} "{name}" is not a Bananas workload and was left out')
        return
    environment = _environment(draft, container, config_maps)
    if is_redis(container.text_of("image")):
        _import_redis(draft, document, container)
        return
    process = Process(
        name=name,
        image=container.text_of("image"),
        command=_command(container),
        environment=environment,
        # REDIS_URL is usually a secret variable.
        uses_redis=True,
    )
    section = import_variables(draft, process)
    if section is None:
        document.drop("not a Bananas workload: keep it in a separate manifest")
        draft.notices.append(f'{kind} "{name}" is not a Bananas workload and was left out')
        return
    if section is draft.api:
        _import_api_port(section, container)
    sections[name] = section
    _put_secrets(section, container)
    import_pod_spec(draft, section, document, container, min_replicas)


def _command(container: Field) -> str:
    return " ".join(
        leaf.text for key in ("command", "args") for leaf in container.child(key).leaves()
    )


def _environment(
    draft: Draft, container: Field, config_maps: dict[str, Field]
) -> EnvironmentFields:
    """A container's plain variables: those of its ConfigMaps and its own, which take precedence."""
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
            source.drop("the object that it refers to is not in the files")
    for entry in container.child("env").items:
        name, value = entry.text_of("name"), entry.get("value")
        if value is not None and entry.get("name"):
            # A topology interpolates `$`, Kubernetes does not.
            variables[name] = (value.text.replace("$", "$$"), value)
            entry.child("name").keep()
        elif entry.get("valueFrom", "fieldRef"):
            variables.pop(name, None)
            entry.translate("rendered workers get their pod's name as WORKER_ID")
    return variables


def _put_secrets(section: Section, container: Field) -> None:
    """List secret variables, except REDIS_URL and API_TOKEN, which are always references."""
    for entry in container.child("env").items:
        reference = entry.get("valueFrom", "secretKeyRef")
        if reference is None:
            continue
        name = entry.text_of("name")
        if name not in ("REDIS_URL", "API_TOKEN"):
            secrets = section.setdefault("secrets", [])
            if name not in secrets:
                secrets.append(name)
        entry.translate("rendered as a reference to the Secret's key of the same name")


def _import_api_port(section: Section, container: Field) -> None:
    for port in container.child("ports").items:
        number = port.get("containerPort")
        if number is None:
            continue
        if str(section.get("port", number.text)) != number.text:
            port.mark_mistake(f"the api serves only port {section['port']}")
        else:
            put_parsed(section, ("port",), integer, number)


def _import_redis(draft: Draft, document: Field, container: Field) -> None:
    managed: Section = draft.redis.setdefault("managed", {})
    check_image(draft, container.child("image"))
    if limit := container.get("resources", "limits", "memory"):
        put_parsed(managed, ("memory",), amounts.kubernetes_memory, limit)
    check_command(managed, container.get("command"), container.get("args"))
    for claim in document.child("spec", "volumeClaimTemplates").items:
        if storage := claim.get("spec", "resources", "requests", "storage"):
            put_parsed(managed, ("storage",), amounts.kubernetes_memory, storage)
    document.child("spec").translate("`redis.managed`")


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
                document.drop("no Bananas workload uses it")
        case _ if kind not in _WORKLOADS:
            document.drop(f"a topology does not describe {kind} objects")


def _import_service(draft: Draft, document: Field) -> None:
    ports = {port.text_of("targetPort") for port in document.child("spec", "ports").items}
    is_headless = document.text_of("spec", "clusterIP") == "None" or "6379" in ports
    kind = document.get("spec", "type")
    if draft.api is not None and not is_headless and kind is not None:
        put(draft.api, ("service_type",), kind.text, kind)
    document.child("spec").translate("rendered for the api and the managed Redis")


def _import_ingress(draft: Draft, document: Field) -> None:
    section = draft.api
    rules = document.child("spec", "rules").items
    if section is None or not rules or rules[0].get("host") is None:
        document.drop("there is no api, or the first rule has no host")
        return
    host = rules[0].child("host")
    put(section, ("ingress", "host"), host.text, host)
    if name := document.get("spec", "ingressClassName"):
        put(section, ("ingress", "class"), name.text, name)
    for tls in document.child("spec", "tls").items:
        if secret := tls.get("secretName"):
            put(section, ("ingress", "tls_secret"), secret.text, secret)
    document.child("spec").translate("`api.ingress`: all paths of the host")
