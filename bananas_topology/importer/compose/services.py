"""Import Compose files, hand-written or rendered, into the draft of a topology."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

from bananas_topology.importer import amounts
from bananas_topology.importer.compose.init_services import (
    COMPLETED,
    import_init_services,
    init_services,
)
from bananas_topology.importer.compose.known import PROCESS, REDIS
from bananas_topology.importer.compose.mounts import (
    REDIS_VOLUME,
    import_devices,
    import_env_files,
    import_placement,
    import_resources,
    import_volumes,
)
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
    put_startup,
)
from bananas_topology.importer.redis_server import (
    add_server,
    check_command,
    check_image,
    is_redis,
    is_used,
    note_new_volume,
)
from bananas_topology.importer.source import Field, fields_of
from bananas_topology.units import parse_duration_ms

#: Keys of a service whose fields a topology has no place for, with what to do instead.
_DROPPED = {
    "secrets": "list the variables in `secrets`; files: use `compose.patches`",
    "configs": "a topology has no files: use `compose.patches`",
    "networks": "rendered services share the project's networks: use `compose.patches`",
    "cap_add": "rendered services drop all capabilities",
    "labels": "use `compose.patches`",
    "devices": "use `compose.patches`",
    "depends_on": "rendered services wait only for Redis: use `compose.patches`",
    "restart": "rendered services use unless-stopped",
}


def is_compose(document: Field) -> bool:
    """Whether a document is a Compose file."""
    return bool(document.get("services")) and document.get("kind") is None


def import_compose(draft: Draft, documents: Sequence[Field]) -> None:
    """Import Compose files, in any order, into the draft."""
    for document in documents:
        for name, service in document.child("services").mapping.items():
            if _is_redis(service):
                add_server(draft, name, {name: None, **dict.fromkeys(_aliases(service))})
    for document in documents:
        _import_processes(draft, document)
    for document in documents:
        for name, service in document.child("services").mapping.items():
            if _is_redis(service):
                _import_redis(draft, name, service)
        for key, extension in document.mapping.items():
            if key.startswith("x-"):
                extension.follow_copies("not used in this file")


def _aliases(redis: Field) -> Iterator[str]:
    """Further names of a service in its networks."""
    for key in ("container_name", "hostname"):
        yield redis.text_of(key)
    for network in redis.child("networks").mapping.values():
        yield from (alias.text for alias in network.child("aliases").items)


def _import_processes(draft: Draft, document: Field) -> None:
    """Import all services of a file except Redis, its name and its version."""
    services = document.child("services").mapping
    redis = set(draft.servers.values())
    if name := document.get("name"):
        put_name(draft, name)
    inits = init_services(services, redis)
    imported: set[str] = set()
    for service_name, service in services.items():
        if service_name not in inits and not _is_redis(service):
            imported |= _import_service(draft, service_name, services, redis)
    for service_name in services:
        if service_name in inits - imported:  # what waits for it cannot have it as a command
            _import_service(draft, service_name, services, redis)
    if version := document.get("version"):
        version.mark_mistake("`version` is obsolete; Compose ignores it")
    for section in ("volumes", "networks", "secrets", "configs"):
        _import_definitions(document, section)


def _import_definitions(document: Field, section: str) -> None:
    """Volumes and networks at the top of a file; rendered files define those that they need."""
    for name, definition in document.child(section).mapping.items():
        is_bare = definition.is_null or definition.text == "{}"
        is_default = section == "networks" and (
            (name == "default" and is_bare)
            or (name == "redis" and definition.texts == {"internal": "true"})
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


def _import_service(
    draft: Draft, name: str, services: Mapping[str, Field], redis: set[str]
) -> set[str]:
    """Import one service; returns the names of those that became its commands before the start."""
    service = services[name]
    variables = fields_of(service.get("environment"))
    environment = {variable: (text, source) for variable, text, source in variables}
    dependencies = service.child("depends_on")
    process = Process(
        name=name,
        image=service.text_of("image"),
        command=" ".join(
            leaf.text for key in ("entrypoint", "command") for leaf in service.child(key).leaves()
        ),
        build=tuple(service.text_of("build", key) for key in ("dockerfile", "target")),
        environment=environment,
        uses_redis="REDIS_URL" in environment
        or any(each in redis for each in dependencies.mapping)
        or any(each.text in redis for each in dependencies.items),
    )
    section = import_variables(draft, process)
    if section is None:
        service.drop("not a Bananas service: keep it in a separate Compose file")
        draft.notices.append(f'service "{name}" is not a Bananas service and was left out')
        return set()
    if section is draft.api:
        import_api_ports(section, service)
    put_grace(draft, section, process, service.get("stop_grace_period"), amounts.duration)
    _import_process(draft, section, service)
    mark_command(service.get("entrypoint"), service.get("command"))
    _import_dependencies(dependencies, redis)
    inits: set[str] = set()
    if draft.is_pool(section):
        _import_startup(section, service.child("healthcheck"))
    translate_known(service, PROCESS)
    if draft.is_pool(section):
        inits = import_init_services(section, name, services, redis)
        for init in inits:
            _import_dependencies(services[init].child("depends_on"), redis)
            _finish(services[init], PROCESS)
    _finish(service, PROCESS)
    return inits


def _import_startup(section: Section, check: Field) -> None:
    period = check.get("start_period")
    if period is not None:
        is_rendered = any(leaf.text == "--started" for leaf in check.child("test").leaves())
        with suppress(ValueError):
            startup_ms = parse_duration_ms(period.text)
            put_startup(section, startup_ms, period, is_rendered=is_rendered)


def _import_dependencies(dependencies: Field, redis: set[str]) -> None:
    note = "rendered services wait until Redis is healthy"
    for name, dependency in dependencies.mapping.items():
        if name in redis and dependency.text_of("condition") != COMPLETED:
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


def _import_redis(draft: Draft, name: str, service: Field) -> None:
    if not is_used(draft, name):
        service.drop("the processes use another server: keep it in a separate Compose file")
        draft.notices.append(f'service "{name}" is not the server in use and was left out')
        return
    managed: Section = draft.redis.setdefault("managed", {})
    check_image(draft, service.child("image"))
    if ports := service.get("ports"):
        ports.mark_mistake("publishes Redis on the host; the managed Redis is not published")
    for limit in filter(
        None,
        (service.get("deploy", "resources", "limits", "memory"), service.get("mem_limit")),
    ):
        put_parsed(managed, ("memory",), amounts.memory, limit)
    check_command(managed, service.get("entrypoint"), service.get("command"))
    for volume in service.child("volumes").items:
        source, _, target = volume.text.partition(":")
        source, target = volume.text_of("source") or source, volume.text_of("target") or target
        is_data = target.partition(":")[0] == "/data"
        if is_data and source != REDIS_VOLUME:
            note_new_volume(draft, source)
        if is_data and not volume.text.startswith((".", "/", "~")):
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
    import_resources(section, service)
    import_devices(section, service)
    import_placement(section, service.get("deploy", "placement"))
    import_env_files(section, service.get("env_file"))
    import_volumes(section, service)
    if (ports := service.get("ports")) and section is not draft.api:
        ports.mark_mistake("workers need no published ports; left out")


def _import_image(draft: Draft, section: Section, service: Field) -> None:
    if image := service.get("image"):
        put(section, ("image",), image.text, image)
    if build := service.get("build"):
        context = build if build.is_leaf else build.get("context")
        if context and draft.build in ("", context.text):
            draft.build = context.text
            context.keep()
        build.drop("a topology has only a build context")
