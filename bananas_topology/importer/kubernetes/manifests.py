"""Import Kubernetes manifests, hand-written or rendered, into the draft of a topology."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from bananas_topology.importer import amounts
from bananas_topology.importer.draft import (
    Draft,
    Section,
    get_path,
    integer,
    put,
    put_parsed,
)
from bananas_topology.importer.known import translate_known, translate_only
from bananas_topology.importer.kubernetes.environment import (
    Environment,
    References,
    put_references,
    put_secret_name,
    read_environment,
)
from bananas_topology.importer.kubernetes.init_containers import import_init_containers
from bananas_topology.importer.kubernetes.known import OBJECT, REDIS, WORKLOAD, is_rendered
from bananas_topology.importer.kubernetes.network import import_network_policy
from bananas_topology.importer.kubernetes.pod_settings import (
    check_redis_pod,
    import_pod_settings,
)
from bananas_topology.importer.kubernetes.pods import import_pod_spec
from bananas_topology.importer.kubernetes.scaling import (
    import_disruption,
    import_hpa,
    import_keda,
    replicas_owned_by_autoscalers,
)
from bananas_topology.importer.kubernetes.services import (
    import_ingress,
    import_service,
    services_of,
)
from bananas_topology.importer.kubernetes.volumes import (
    credentials_of,
    has_credentials,
    import_volumes,
)
from bananas_topology.importer.processes import (
    Process,
    import_variables,
    mark_command,
    put_grace,
)
from bananas_topology.importer.redis_server import (
    add_server,
    check_command,
    check_image,
    is_redis,
    is_used,
    note_new_volume,
)
from bananas_topology.importer.source import Field

#: Kinds of rendered objects, with what to do about objects that were written by hand.
_RENDERED_KINDS = {
    "ServiceAccount": "rendered pods have an account without permissions: `kubernetes.patches`",
    "TriggerAuthentication": "rendered with the ScaledObjects",
    "PersistentVolumeClaim": "only the managed Redis has its own claim",
    "PodMonitor": "rendered with `kubernetes.monitoring: prometheus-operator`",
    "ServiceMonitor": "rendered with `kubernetes.monitoring: prometheus-operator`",
    "PrometheusRule": "rendered with `kubernetes.monitoring: prometheus-operator`: keep your own",
}

#: Of these, the kinds whose presence is a setting of the topology.
_MONITORING = ("PodMonitor", "ServiceMonitor", "PrometheusRule")

_PART_OF = ("metadata", "labels", "app.kubernetes.io/part-of")

_PATCHES = "use `kubernetes.patches`"

_WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob", "Pod")


def is_manifest(document: Field) -> bool:
    """Whether a document is a Kubernetes object."""
    return document.get("kind") is not None and document.get("apiVersion") is not None


def import_manifests(draft: Draft, documents: Iterable[Field]) -> None:
    """Import all objects of a deployment into the draft, in any order."""
    objects = list(flatten(documents))
    references = References(_named(objects, "ConfigMap"), _named(objects, "Secret"))
    workloads = [document for document in objects if _kind(document) in _WORKLOADS]
    # Which server the others use decides what becomes of it.
    workloads.sort(key=lambda it: is_redis(_image(it)))
    _add_servers(draft, objects)
    _put_secret_name(draft, workloads, references)
    ours = [each for each in workloads if is_rendered(each)]
    if ours:
        draft.name = draft.name or ours[0].text_of(*_PART_OF)
    owned = replicas_owned_by_autoscalers(objects)
    imported: list[_Workload] = []
    for document in workloads:
        min_replicas = owned.get(document.text_of("metadata", "name"))
        workload = _import_workload(draft, document, references, min_replicas)
        if workload is not None:
            imported.append(workload)
    import_pod_settings(
        draft,
        [each.document for each in imported],
        [each.container for each in imported],
        objects,
    )
    for document in workloads:
        container = _container(document)
        if container is not None and _is_managed(draft, document):
            check_redis_pod(draft, document.child("spec", "template", "spec"), container)
    for each in imported:
        translate_known(each.document, WORKLOAD)
        pod = each.document.child("spec", "template", "spec")
        import_init_containers(draft, each.section, pod, each.container, each.environment)
    _import_others(draft, objects, workloads, imported)
    for document in objects:
        if namespace := document.get("metadata", "namespace"):
            _put_namespace(draft, namespace)
        _translate_selected_labels(document)
        translate_known(document, OBJECT)
    if ours and not _named(objects, "Namespace"):
        name = draft.kubernetes.pop("namespace", draft.name)
        names = {} if name == draft.name else {"name": name}
        draft.kubernetes["namespace"] = {**names, "create": False}


def _add_servers(draft: Draft, objects: Sequence[Field]) -> None:
    """Add the Redis servers, with the names of their Services and pods."""
    for document in objects:
        if not is_redis(_image(document)):
            continue
        name = document.text_of("metadata", "name")
        services = services_of(objects, _labels(document))
        pods = (f"{name}-0.{service}" for service in services)
        add_server(draft, name, (name, *services, *pods), document.text_of("metadata", "namespace"))


@dataclass(frozen=True, slots=True)
class _Workload:
    """A workload of a pool, the scheduler or the api."""

    document: Field
    container: Field
    section: Section
    environment: Environment

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels of its pods."""
        return _labels(self.document)


def _labels(workload: Field) -> Mapping[str, str]:
    return workload.child("spec", "template", "metadata", "labels").texts


def _is_managed(draft: Draft, workload: Field) -> bool:
    name = workload.text_of("metadata", "name")
    return is_redis(_image(workload)) and is_used(draft, name)


def _import_others(
    draft: Draft,
    objects: Sequence[Field],
    workloads: Sequence[Field],
    imported: Sequence[_Workload],
) -> None:
    """Import objects that refer to workloads."""
    sections = {each.document.text_of("metadata", "name"): each.section for each in imported}
    pods = [(each.section, each.labels) for each in imported]
    services: frozenset[str] = next(
        (services_of(objects, labels) for section, labels in pods if section is draft.api),
        frozenset(),
    )
    for document in objects:
        _import_other(draft, document, sections, services)
    # Checking a budget needs the minimum number of replicas, so autoscalers come first.
    servers = [(None, _labels(each)) for each in workloads if _is_managed(draft, each)]
    for document in objects:
        if _kind(document) == "PodDisruptionBudget":
            import_disruption(document, [*pods, *servers])
    for document in _policies(objects):
        import_network_policy(draft, document, pods)


def _policies(objects: Iterable[Field]) -> list[Field]:
    """The NetworkPolicies; who may call the api depends on who may read metrics."""
    found = [each for each in objects if _kind(each) == "NetworkPolicy"]
    return sorted(found, key=lambda it: not it.text_of("metadata", "name").endswith("-scrape"))


def _put_secret_name(draft: Draft, workloads: Sequence[Field], references: References) -> None:
    volumes = (
        volume
        for each in workloads
        for volume in each.child("spec", "template", "spec", "volumes").items
    )
    files = [
        each for volume in volumes if has_credentials(volume) for each in credentials_of(volume)
    ]
    containers = [container for each in workloads if (container := _container(each)) is not None]
    put_secret_name(draft, containers, files, references)


def _named(objects: Iterable[Field], kind: str) -> dict[str, Field]:
    return {
        document.text_of("metadata", "name"): document
        for document in objects
        if _kind(document) == kind
    }


def _translate_selected_labels(document: Field) -> None:
    """Mark labels that exist for the workload's own selector."""
    selected = document.child("spec", "selector", "matchLabels").mapping
    for labels in (
        document.child("metadata", "labels"),
        document.child("spec", "template", "metadata", "labels"),
    ):
        for name, leaf in labels.mapping.items():
            if name in selected and selected[name].text == leaf.text:
                leaf.translate("rendered workloads have their own selectors")


def flatten(documents: Iterable[Field]) -> Iterator[Field]:
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
    references: References,
    min_replicas: str | None,
) -> _Workload | None:
    """Import a workload; None if it is not one of a pool, the scheduler or the api."""
    kind, name = _kind(document), document.text_of("metadata", "name")
    container = _container(document)
    if container is None or kind not in ("Deployment", "StatefulSet"):
        document.drop(f"a topology does not describe {kind} objects")
        draft.notices.append(f'{kind} "{name}" is not a Bananas workload and was left out')
        return None
    if is_redis(container.text_of("image")):
        if is_used(draft, name):
            _import_redis(draft, document, container)
        else:
            document.drop("the processes use another server: keep it in a separate manifest")
            draft.notices.append(f'{kind} "{name}" is not the server in use and was left out')
        return None
    environment = read_environment(draft, container, references)
    process = Process(
        name=name,
        image=container.text_of("image"),
        command=_command(container),
        environment=environment.plain,
        # REDIS_URL is usually a secret variable.
        uses_redis=True,
    )
    section = import_variables(draft, process)
    if section is None:
        document.drop("not a Bananas workload: keep it in a separate manifest")
        draft.notices.append(f'{kind} "{name}" is not a Bananas workload and was left out')
        return None
    if section is draft.api:
        _import_api_port(section, container)
    put_references(draft, section, environment)
    period = document.get("spec", "template", "spec", "terminationGracePeriodSeconds")
    put_grace(draft, section, process, period, amounts.seconds)
    mark_command(container.get("command"), container.get("args"))
    import_pod_spec(draft, section, document, container, min_replicas)
    return _Workload(document, container, section, environment)


def _command(container: Field) -> str:
    return " ".join(
        leaf.text for key in ("command", "args") for leaf in container.child(key).leaves()
    )


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
    limit = container.get("resources", "limits", "memory")
    request = container.get("resources", "requests", "memory")
    if limit:
        put_parsed(managed, ("memory",), amounts.kubernetes_memory, limit)
    if request and limit and request.text == limit.text:
        request.translate("the managed Redis requests its limit")
    check_command(managed, container.get("command"), container.get("args"))
    for claim in document.child("spec", "volumeClaimTemplates").items:
        name = f"{claim.text_of('metadata', 'name')}-{document.text_of('metadata', 'name')}-0"
        if name != "data-redis-0" and not is_rendered(document):
            note_new_volume(draft, name)
        if storage := claim.get("spec", "resources", "requests", "storage"):
            put_parsed(managed, ("storage",), amounts.kubernetes_memory, storage)
    pod = document.child("spec", "template", "spec")
    for other in pod.child("containers").items[1:]:
        other.drop("additional container: add it with `kubernetes.patches`")
    if period := pod.get("terminationGracePeriodSeconds"):
        period.translate("the managed Redis has a minute to save its data")
    import_volumes(draft, None, pod, container, ("/data", "/tmp"))
    translate_known(document, REDIS)


def _import_other(
    draft: Draft, document: Field, sections: dict[str, Section], services: frozenset[str]
) -> None:
    kind = _kind(document)
    match kind:
        case "Namespace":
            if name := document.get("metadata", "name"):
                _put_namespace(draft, name)
        case "HorizontalPodAutoscaler":
            import_hpa(draft, document, sections)
        case "ScaledObject":
            import_keda(draft, document, sections)
        case "Service":
            import_service(draft, document, services)
        case "Ingress":
            import_ingress(draft, document, services)
        case "Secret":
            _import_secret(document)
        case "Kustomization":
            note = "rendered with the list of files"
            translate_only(document, note, "apiVersion", "kind", "metadata.name", "resources[]")
            document.drop("keep your own beside the rendered files")
        case "ServiceAccount" if _is_account_of_pods(draft, document):
            pass
        case _ if kind in _RENDERED_KINDS:
            if kind in _MONITORING:
                draft.kubernetes.setdefault("monitoring", "prometheus-operator")
            if is_rendered(document):
                translate_known(document, OBJECT)
                for each in ("labels", "annotations"):
                    document.child("metadata", each).drop(f"not all objects have it: {_PATCHES}")
                document.translate("rendered again")
            document.drop(_RENDERED_KINDS[kind])
        case "ConfigMap":
            for leaf in (*document.child("data").leaves(), *document.child("binaryData").leaves()):
                leaf.drop("no Bananas workload uses it as a variable")
        case _ if kind not in (*_WORKLOADS, "NetworkPolicy", "PodDisruptionBudget"):
            document.drop(f"a topology does not describe {kind} objects")


def _is_account_of_pods(draft: Draft, document: Field) -> bool:
    name = get_path(draft.kubernetes, "service_account", "name")
    return name is not None and document.text_of("metadata", "name") == name


def _import_secret(document: Field) -> None:
    """Values of secrets are in no topology, only the names of variables."""
    document.child("type").translate("referenced by name")
    document.child("metadata", "name").translate("`kubernetes.secret`")
    for section in ("data", "stringData"):
        document.child(section).drop("a topology has no secret values: keep the Secret")
