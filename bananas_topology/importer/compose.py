"""Import Compose files, hand-written or rendered, into the draft of a topology."""

from __future__ import annotations

from collections.abc import Callable

from bananas_topology.importer import amounts
from bananas_topology.importer.draft import Draft, Section, integer, is_integer, put, put_parsed
from bananas_topology.importer.processes import Process, import_variables
from bananas_topology.importer.redis_server import check_command, check_image, is_redis
from bananas_topology.importer.source import Field, fields_of

#: Keys that rendered services set by themselves.
_RENDERED = {
    "depends_on": "rendered services wait until Redis is healthy",
    "restart": "rendered services use unless-stopped",
    "healthcheck": "rendered services have their own health check",
    "init": "rendered services set it",
    "read_only": "rendered services set it",
    "tmpfs": "rendered services set it",
    "cap_drop": "rendered services drop all capabilities",
    "cap_add": "rendered services drop all capabilities",
    "security_opt": "rendered services set no-new-privileges",
    "user": "rendered services run as an unprivileged user",
    "stop_grace_period": "computed from the pool's `grace`",
    "stop_signal": "rendered services use SIGTERM",
    "logging": "rendered services rotate their logs",
    "secrets": "rendered services get credentials as files, the pool's `secrets` as variables",
    "networks": "rendered services share the project's network",
    "command": "set in rendered services",
    "entrypoint": "set in rendered services",
    "platform": "determined by the image",
    "pull_policy": "rendered services use the default",
    "labels": "rendered services need no labels",
    "expose": "not needed: Compose does not restrict ports between services",
}

_SHARED_PORT = "replicas cannot share one host port; `api.publish` takes a range"


def is_compose(document: Field) -> bool:
    """Whether a document is a Compose file."""
    return bool(document.get("services")) and document.get("kind") is None


def import_compose(draft: Draft, document: Field) -> None:
    """Import one Compose file into the draft."""
    services = document.child("services").mapping
    draft.has_managed_redis |= any(_is_redis(service) for service in services.values())
    if name := document.get("name"):
        put_name(draft, name)
    for service_name, service in services.items():
        _import_service(draft, service_name, service)
    if version := document.get("version"):
        version.mark_mistake("`version` is obsolete; Compose ignores it")
    for section in ("volumes", "networks", "secrets", "configs"):
        if found := document.get(section):
            found.translate(f"rendered services define the {section} that they need")
    for key, extension in document.mapping.items():
        if key.startswith("x-"):
            extension.translate("imported where it is merged")


def put_name(draft: Draft, name: Field) -> None:
    """Set the deployment's name; the first name takes precedence."""
    draft.name = draft.name or name.text
    if name.text == draft.name:
        name.keep()
    else:
        name.drop(f"the topology is named {draft.name}")


def _import_service(draft: Draft, name: str, service: Field) -> None:
    if _is_redis(service):
        _import_redis(draft, service)
        return
    variables = fields_of(service.get("environment"))
    environment = {variable: (text, source) for variable, text, source in variables}
    process = Process(
        name=name,
        image=service.text_of("image"),
        command=" ".join(leaf.text for leaf in service.child("command").leaves()),
        environment=environment,
        uses_redis="REDIS_URL" in environment,
    )
    section = import_variables(draft, process)
    if section is None:
        service.drop("not a Bananas service: keep it in a separate Compose file")
        draft.notices.append(f'service "{name}" is not a Bananas service and was left out')
        return
    if section is draft.api:
        _import_api_ports(section, service)
    _import_process(draft, section, service)


def _is_redis(service: Field) -> bool:
    return is_redis(service.text_of("image"))


def _import_redis(draft: Draft, service: Field) -> None:
    managed: Section = draft.redis.setdefault("managed", {})
    check_image(draft, service.child("image"))
    if ports := service.get("ports"):
        ports.mark_mistake("publishes Redis on the host; the managed Redis is not published")
    if limit := service.get("deploy", "resources", "limits", "memory"):
        put_parsed(managed, ("memory",), amounts.memory, limit)
    check_command(managed, service.get("command"))
    for key, note in _RENDERED.items():
        if found := service.get(key):
            found.translate(note)
    if volumes := service.get("volumes"):
        volumes.translate("the managed Redis has its own volume")
    service.translate("`redis.managed`")


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
    if env_file := service.get("env_file"):
        env_file.drop("not read: list its variables in `env` or `secrets`")
    for key, note in _RENDERED.items():
        if found := service.get(key):
            found.translate(note)
    if deploy := service.get("deploy"):
        deploy.translate("rendered services have their own restart policy")


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
            volume.translate("each rendered replica has its own volume for log files")
        elif target and path.startswith(target):
            volume.mark_mistake("replicas shared one log file; each rendered one has its own")
        else:
            volume.drop("a topology has no volumes: use `compose.patches`")


def _import_api_ports(section: Section, service: Field) -> None:
    has_replicas = service.text_of("deploy", "replicas") not in ("", "0", "1")
    for port in service.child("ports").items:
        _import_port(section, port, has_replicas)


def _import_port(section: Section, port: Field, has_replicas: bool) -> None:
    if not port.is_leaf:
        _import_long_port(section, port, has_replicas)
        return
    *_, host, target = f"::{port.text.partition('/')[0]}".split(":")
    if not is_integer(target):
        port.drop("the api serves one port")
    elif section.setdefault("port", int(target)) != int(target):
        port.mark_mistake(f"the api serves only port {section['port']}")
    elif host and has_replicas and "-" not in host:
        port.mark_mistake(_SHARED_PORT)
    elif host:
        put(section, ("publish",), _published(host), port)
    else:
        port.keep()


def _import_long_port(section: Section, port: Field, has_replicas: bool) -> None:
    if target := port.get("target"):
        put_parsed(section, ("port",), integer, target)
    if published := port.get("published"):
        if has_replicas and "-" not in published.text:
            published.mark_mistake(_SHARED_PORT)
        else:
            put(section, ("publish",), _published(published.text), published)
    port.translate("`api.port` and `api.publish`")


def _published(text: str) -> int | str:
    """A host port, or a range of host ports."""
    return int(text) if is_integer(text) else text
