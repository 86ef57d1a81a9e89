"""Import Compose files, hand-written or rendered, into the draft of a topology."""

from __future__ import annotations

from collections.abc import Callable

from bananas_topology.importer import amounts
from bananas_topology.importer.compose.known import PROCESS, REDIS
from bananas_topology.importer.compose.ports import import_api_ports
from bananas_topology.importer.draft import (
    Draft,
    Section,
    integer,
    put,
    put_name,
    put_parsed,
)
from bananas_topology.importer.known import Row, translate_known, translate_only
from bananas_topology.importer.processes import (
    Process,
    import_variables,
    mark_command,
    put_grace,
)
from bananas_topology.importer.redis_server import check_command, check_image, is_redis
from bananas_topology.importer.source import Field, fields_of

#: Keys of a service whose fields a topology has no place for, with what to do instead.
_DROPPED = {
    "env_file": "not read: list its variables in `env` or `secrets`",
    "secrets": "list the variables in `secrets`; files: use `compose.patches`",
    "configs": "a topology has no files: use `compose.patches`",
    "networks": "rendered services share the project's networks: use `compose.patches`",
    "cap_add": "rendered services drop all capabilities",
    "labels": "use `compose.patches`",
    "devices": "use `compose.patches`",
    "depends_on": "rendered services wait only for Redis: use `compose.patches`",
    "restart": "rendered services use unless-stopped",
}

#: Limits that Compose also has at the top of a service, and their place in a topology.
_LIMITS: dict[str, tuple[tuple[str, str], Callable[[str], int | str]]] = {
    "cpus": (("limits", "cpu"), amounts.cpu),
    "mem_limit": (("limits", "memory"), amounts.memory),
    "mem_reservation": (("requests", "memory"), amounts.memory),
}

_COMPLETED = "service_completed_successfully"


def is_compose(document: Field) -> bool:
    """Whether a document is a Compose file."""
    return bool(document.get("services")) and document.get("kind") is None


def import_compose(draft: Draft, document: Field) -> None:
    """Import one Compose file into the draft."""
    services = document.child("services").mapping
    redis = {name for name, service in services.items() if _is_redis(service)}
    draft.has_managed_redis |= bool(redis)
    if name := document.get("name"):
        put_name(draft, name)
    for service_name, service in services.items():
        if service_name in redis:
            _import_redis(draft, service)
        else:
            _import_service(draft, service_name, service, redis)
    if version := document.get("version"):
        version.mark_mistake("`version` is obsolete; Compose ignores it")
    for section in ("volumes", "networks", "secrets", "configs"):
        _import_definitions(document, section)
    for key, extension in document.mapping.items():
        if key.startswith("x-"):
            extension.follow_copies("not used in this file")


def _import_definitions(document: Field, section: str) -> None:
    """Volumes and networks at the top of a file; rendered files define those that they need."""
    for name, definition in document.child(section).mapping.items():
        is_bare = definition.is_null or definition.text == "{}"
        is_default = section == "networks" and (
            name == "default" or (name == "redis" and definition.text_of("internal") == "true")
        )
        is_credential = definition.text_of("file").startswith("${SECRETS_DIR")
        if section == "secrets" and is_credential:
            definition.translate("credentials are rendered as files")
        elif section == "volumes" and is_bare:
            definition.translate("rendered services define the volumes that they need")
        elif is_default:
            definition.translate("rendered services share the project's networks")
        else:
            definition.drop(f"rendered files define only the {section} that they need")


def _import_service(draft: Draft, name: str, service: Field, redis: set[str]) -> None:
    variables = fields_of(service.get("environment"))
    environment = {variable: (text, source) for variable, text, source in variables}
    dependencies = service.child("depends_on")
    process = Process(
        name=name,
        image=service.text_of("image"),
        command=" ".join(
            leaf.text for key in ("entrypoint", "command") for leaf in service.child(key).leaves()
        ),
        dockerfile=service.text_of("build", "dockerfile"),
        environment=environment,
        uses_redis="REDIS_URL" in environment
        or any(each in redis for each in dependencies.mapping)
        or any(each.text in redis for each in dependencies.items),
    )
    section = import_variables(draft, process)
    if section is None:
        service.drop("not a Bananas service: keep it in a separate Compose file")
        draft.notices.append(f'service "{name}" is not a Bananas service and was left out')
        return
    if section is draft.api:
        import_api_ports(section, service)
    else:
        put_grace(draft, section, process, service.get("stop_grace_period"), amounts.duration)
    _import_process(draft, section, service)
    mark_command(service.get("entrypoint"), service.get("command"))
    _import_dependencies(dependencies, redis)
    _finish(service, PROCESS)


def _import_dependencies(dependencies: Field, redis: set[str]) -> None:
    note = "rendered services wait until Redis is healthy"
    for name, dependency in dependencies.mapping.items():
        if name in redis and dependency.text_of("condition") != _COMPLETED:
            translate_only(dependency, note, "", "condition", "required", "restart")
    for item in dependencies.items:
        if item.text in redis:
            item.translate(note)


def _finish(service: Field, table: tuple[Row, ...]) -> None:
    """Mark what rendered services have anyway, and what to do about the rest."""
    translate_known(service, table)
    for key, note in _DROPPED.items():
        if found := service.get(key):
            found.drop(note)


def _is_redis(service: Field) -> bool:
    return is_redis(service.text_of("image"))


def _import_redis(draft: Draft, service: Field) -> None:
    managed: Section = draft.redis.setdefault("managed", {})
    check_image(draft, service.child("image"))
    if ports := service.get("ports"):
        ports.mark_mistake("publishes Redis on the host; the managed Redis is not published")
    if limit := service.get("deploy", "resources", "limits", "memory"):
        put_parsed(managed, ("memory",), amounts.memory, limit)
    check_command(managed, service.get("entrypoint"), service.get("command"))
    for volume in service.child("volumes").items:
        target = volume.text_of("target") or volume.text.partition(":")[2].partition(":")[0]
        if target == "/data" and not volume.text.startswith((".", "/", "~")):
            note = "the managed Redis has its own volume"
            translate_only(volume, note, "", "type", "source", "target")
        else:
            volume.drop("the managed Redis has its own volume")
    _finish(service, REDIS)


def _import_process(draft: Draft, section: Section, service: Field) -> None:
    """Import what pools, the scheduler and the api have in common."""
    _import_image(draft, section, service)
    if replicas := service.get("deploy", "replicas") or service.get("scale"):
        put_parsed(section, ("replicas",), integer, replicas)
    _import_resources(section, service.get("deploy", "resources"))
    _import_placement(section, service.get("deploy", "placement"))
    _import_volumes(section, service.get("volumes"))
    if ports := service.get("ports"):
        ports.mark_mistake("workers need no published ports; left out")
    for key, (path, parse) in _LIMITS.items():
        if limit := service.get(key):
            put_parsed(section, ("resources", *path), parse, limit)


def _import_image(draft: Draft, section: Section, service: Field) -> None:
    if image := service.get("image"):
        put(section, ("image",), image.text, image)
    if build := service.get("build"):
        context = build if build.is_leaf else build.get("context")
        if context and draft.build in ("", context.text):
            draft.build = context.text
            context.keep()
        build.drop("a topology has only a build context")


def _import_resources(section: Section, resources: Field | None) -> None:
    kinds = {"limits": "limits", "reservations": "requests"}
    units: dict[str, tuple[str, Callable[[str], int | str]]] = {
        "cpus": ("cpu", amounts.cpu),
        "memory": ("memory", amounts.memory),
    }
    for theirs, ours in kinds.items():
        for name, (amount, parse) in units.items():
            if resources and (found := resources.get(theirs, name)):
                put_parsed(section, ("resources", ours, amount), parse, found)


def _import_placement(section: Section, placement: Field | None) -> None:
    constraints = placement.get("constraints") if placement else None
    for constraint in constraints.items if constraints else ():
        label, equals, value = (part.strip() for part in constraint.text.partition("=="))
        if equals and label.startswith("node.labels."):
            path = ("placement", "require", label.removeprefix("node.labels."))
            put(section, path, value, constraint, "`placement.require`")
        else:
            constraint.drop("`placement.require` supports only node labels equal to a value")


def _import_volumes(section: Section, volumes: Field | None) -> None:
    if volumes is None:
        return
    path = section.get("logging", {}).get("file", {}).get("path", "/var/log/bananas")
    for volume in volumes.items:
        target = volume.text.split(":")[1] if ":" in volume.text else volume.text_of("target")
        if target and path.startswith(target) and volume.mapping and not volume.get("source"):
            note = "each rendered replica has its own volume for log files"
            translate_only(volume, note, "type", "target")
        elif target and path.startswith(target):
            volume.mark_mistake("replicas shared one log file; each rendered one has its own")
        else:
            volume.drop("a topology has no volumes: use `compose.patches`")
