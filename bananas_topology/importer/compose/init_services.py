"""Import services that must have completed before a worker starts into its pool's `init`."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping

from bananas_topology.importer.draft import Section, dns_label, put_structure
from bananas_topology.importer.source import Field

COMPLETED = "service_completed_successfully"


def init_services(services: Mapping[str, Field], redis: set[str]) -> set[str]:
    """The names of all services that others wait for until they have completed."""
    return {
        name
        for service in services.values()
        for name in _awaited(service)
        if name in services and name not in redis
    }


def import_init_services(
    section: Section, name: str, services: Mapping[str, Field], redis: set[str]
) -> set[str]:
    """Import what a worker's service waits for, once its fields are marked; returns the names.

    A service that waits for others in turn runs after them.
    """
    worker, imported = services[name], dict[str, None]()
    for init in _in_order(worker, services, redis, depth=0):
        if init not in imported and _import_init(section, init, services[init], worker, name):
            imported[init] = None
    for waiting in (worker, *(services[each] for each in imported)):
        for init in imported:
            condition = waiting.get("depends_on", init, "condition")
            if condition is not None:
                condition.translate("`init`")
    return set(imported)


def _awaited(service: Field) -> Iterator[str]:
    for name, dependency in service.child("depends_on").mapping.items():
        if dependency.text_of("condition") == COMPLETED:
            yield name


def _in_order(
    service: Field, services: Mapping[str, Field], redis: set[str], depth: int
) -> Iterator[str]:
    """What a service waits for, each after what it waits for itself."""
    if depth > len(services):
        return  # they wait for each other
    for name in _awaited(service):
        if name in services and name not in redis:
            yield from _in_order(services[name], services, redis, depth + 1)
            yield name


def _import_init(section: Section, name: str, init: Field, worker: Field, pool: str) -> bool:
    """Import one command; returns whether it can be one."""
    fields = [field for key in ("entrypoint", "command") if (field := init.get(key))]
    try:
        words = [word for field in fields for word in _words(field)]
    except ValueError:
        return False
    if not words:
        return False
    image = init.child("image")
    entry: Section = {"command": words}
    if image.text and image.text != worker.text_of("image"):
        entry["image"] = image.text
    label = dns_label(name.removeprefix(f"{pool}-"))
    leaves = [leaf for field in fields for leaf in field.leaves()]
    if not put_structure(section, ("init", label), entry, *leaves, image):
        return False
    init.child("restart").translate("rendered services for `init` have no")
    for key, field in init.mapping.items():
        if (same := worker.get(key)) is not None:
            field.follow(same)
    return True


def _words(command: Field) -> list[str]:
    """
    Raises:
        ValueError: quotes are not balanced.
    """
    if command.items:
        return [leaf.text for leaf in command.items]
    return shlex.split(command.text)
