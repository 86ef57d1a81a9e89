"""Compose files, as they were written by hand or rendered by us, into the draft of a topology."""

from __future__ import annotations

from collections.abc import Callable

from bananas_topology.importer import amounts
from bananas_topology.importer.draft import Draft, Section, is_whole, put, put_read, whole
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

#: What a rendered service has by itself, whatever was there before.
_RENDERED = {
    "depends_on": "rendered services wait for the server's health",
    "restart": "rendered services restart unless stopped",
    "healthcheck": "rendered services judge the worker's own progress",
    "init": "rendered services have it",
    "read_only": "rendered services have it",
    "tmpfs": "rendered services have it",
    "cap_drop": "rendered services drop all",
    "cap_add": "rendered services drop all",
    "security_opt": "rendered services have no-new-privileges",
    "user": "rendered services do not run as root",
    "stop_grace_period": "made of the pool's `grace`",
    "stop_signal": "SIGTERM, as the worker expects",
    "logging": "rendered services rotate their logs",
    "secrets": "rendered services get REDIS_URL and the pool's `secrets`",
    "networks": "rendered services share the project's network",
    "command": "made of the kind of the service",
    "entrypoint": "made of the kind of the service",
    "platform": "the image's affair",
    "pull_policy": "Compose's default",
    "labels": "rendered services have labels of their own",
    "expose": "the ports that the worker serves are known",
}


def is_compose(document: Field) -> bool:
    """Whether a document looks like a Compose file."""
    return bool(document.get("services")) and document.get("kind") is None


def import_compose(draft: Draft, document: Field) -> None:
    """Read one Compose file into the draft."""
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
            found.translate(f"rendered with the {section} that its services need")
    for key, extension in document.mapping.items():
        if key.startswith("x-"):
            extension.translate("read where it is merged in")


def put_name(draft: Draft, name: Field) -> None:
    """The deployment's name: the first one counts."""
    draft.name = draft.name or name.text
    if name.text == draft.name:
        name.keep()
    else:
        name.drop(f"the topology is named {draft.name}")


def _import_service(draft: Draft, name: str, service: Field) -> None:
    environment: EnvironmentFields = {
        variable: (text, source) for variable, text, source in fields_of(service.get("environment"))
    }
    if _is_redis(service):
        _import_redis(draft, service)
    elif _is_worker(service, environment):
        pool = pool_name(environment, name)
        if is_scheduler(environment) and draft.scheduler is None:
            section: Section = {}
            draft.scheduler = section
            apply_scheduler(draft, section, environment)
        else:
            section = draft.pool(pool)
            apply_worker(draft, section, environment)
        _import_process(draft, section, service)
    elif _is_api(name, service, environment):
        draft.api = section = draft.api if draft.api is not None else {}
        _import_api(draft, section, service, environment)
    else:
        service.drop("not a service of Bananas: keep it in a Compose file of its own")
        draft.notices.append(f'service "{name}" is not one of Bananas; it is left out')


def _is_redis(service: Field) -> bool:
    return is_redis(service.text_of("image"))


def _words(service: Field) -> str:
    command = service.get("command")
    return " ".join(leaf.text for leaf in command.leaves()) if command else ""


def _is_worker(service: Field, environment: EnvironmentFields) -> bool:
    return "bananas_topology.worker" in _words(service) or is_worker(environment)


def _is_api(name: str, service: Field, environment: EnvironmentFields) -> bool:
    image = service.text_of("image").rpartition("/")[2].partition(":")[0]
    return (
        "API_PORT" in environment
        or "bananas_topology.api" in _words(service)
        or ("bananas" in image and "api" in image)
        or (name == "api" and "REDIS_URL" in environment)
    )


def _import_redis(draft: Draft, service: Field) -> None:
    managed: Section = draft.redis.setdefault("managed", {})
    judge_image(draft, service.child("image"))
    if ports := service.get("ports"):
        ports.mark_mistake("the server is open to the host's network; rendered ones are not")
    if limit := service.get("deploy", "resources", "limits", "memory"):
        put_read(managed, ("memory",), amounts.memory, limit)
    judge_command(managed, service.get("command"))
    for key, note in _RENDERED.items():
        if found := service.get(key):
            found.translate(note)
    if volumes := service.get("volumes"):
        volumes.translate("the managed Redis has a volume of its own")
    service.translate("the managed Redis of the topology")


def _import_process(draft: Draft, section: Section, service: Field) -> None:
    """What pools, the scheduler and the api have in common."""
    _import_image(draft, section, service)
    if replicas := service.get("deploy", "replicas") or service.get("scale"):
        put_read(section, ("replicas",), whole, replicas)
    _import_resources(section, service.get("deploy", "resources"))
    _import_placement(section, service.get("deploy", "placement"))
    _import_volumes(section, service.get("volumes"))
    if ports := service.get("ports"):
        ports.mark_mistake("a worker serves nobody outside; its host ports are left out")
    if env_file := service.get("env_file"):
        env_file.drop("Compose reads it, we do not: name the variables in `env` or `secrets`")
    for key, note in _RENDERED.items():
        if found := service.get(key):
            found.translate(note)
    if deploy := service.get("deploy"):
        deploy.translate("rendered services restart and roll by rules of their own")


def _import_image(draft: Draft, section: Section, service: Field) -> None:
    if image := service.get("image"):
        put(section, ("image",), image.text, image)
    if build := service.get("build"):
        context = build if build.is_leaf else build.get("context")
        if context and draft.build in ("", context.text):
            draft.build = context.text
            context.keep()
        build.drop("the topology names a build context, and no more of a build")


def _import_resources(section: Section, resources: Field | None) -> None:
    kinds = {"limits": "limits", "reservations": "requests"}
    units: dict[str, tuple[str, Callable[[str], int | str]]] = {
        "cpus": ("cpu", amounts.cpu),
        "memory": ("memory", amounts.memory),
    }
    for theirs, ours in kinds.items():
        for name, (amount, read) in units.items():
            if resources and (found := resources.get(theirs, name)):
                put_read(section, ("resources", ours, amount), read, found)


def _import_placement(section: Section, placement: Field | None) -> None:
    constraints = placement.get("constraints") if placement else None
    for constraint in constraints.items if constraints else ():
        label, equals, value = (part.strip() for part in constraint.text.partition("=="))
        if equals and label.startswith("node.labels."):
            path = ("placement", "require", label.removeprefix("node.labels."))
            put(section, path, value, constraint, "a node label that the pool requires")
        else:
            constraint.drop("a topology requires node labels to be equal to a value")


def _import_volumes(section: Section, volumes: Field | None) -> None:
    if volumes is None:
        return
    path = section.get("logging", {}).get("file", {}).get("path", "/var/log/bananas")
    for volume in volumes.items:
        target = volume.text.split(":")[1] if ":" in volume.text else volume.text_of("target")
        if target and path.startswith(target) and volume.mapping and not volume.get("source"):
            volume.translate("each replica has a volume of its own for its log file")
        elif target and path.startswith(target):
            volume.mark_mistake("replicas wrote one log file on one volume; each has its own now")
        else:
            volume.drop("a topology mounts no volumes: use `compose.patches`")


def _import_api(
    draft: Draft, section: Section, service: Field, environment: EnvironmentFields
) -> None:
    apply_api(draft, section, environment)
    has_replicas = service.text_of("deploy", "replicas") not in ("", "0", "1")
    if ports := service.get("ports"):
        for port in ports.items:
            _import_port(section, port, has_replicas)
    _import_process(draft, section, service)


def _import_port(section: Section, port: Field, has_replicas: bool) -> None:
    if not port.is_leaf:
        _import_long_port(section, port, has_replicas)
        return
    *_, host, target = f"::{port.text.partition('/')[0]}".split(":")
    if not is_whole(target):
        port.drop("the api serves one port")
    elif section.setdefault("port", int(target)) != int(target):
        port.mark_mistake(f"only the port {section['port']} is meant to be reached")
    elif host and has_replicas and "-" not in host:
        port.mark_mistake("replicas cannot share one host port; `api.publish` takes a range")
    elif host:
        put(section, ("publish",), _published(host), port)
    else:
        port.keep()


def _import_long_port(section: Section, port: Field, has_replicas: bool) -> None:
    if target := port.get("target"):
        put_read(section, ("port",), whole, target)
    if published := port.get("published"):
        if has_replicas and "-" not in published.text:
            published.mark_mistake("replicas cannot share one host port; `publish` takes a range")
        else:
            put(section, ("publish",), _published(published.text), published)
    port.translate("the api's port")


def _published(text: str) -> int | str:
    """A port of the host, or a range of them."""
    return int(text) if is_whole(text) else text
