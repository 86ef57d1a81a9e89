"""Import init containers into the `init` commands of a pool.

Rendered ones have everything that the worker has, so their other fields become what the same fields
of the worker's container became.
"""

from __future__ import annotations

from bananas_topology.importer.draft import Draft, Section, dns_label, put_structure
from bananas_topology.importer.kubernetes.environment import (
    Environment,
    expanded,
    literal,
    names_in,
)
from bananas_topology.importer.kubernetes.pod_settings import check_pull_policy
from bananas_topology.importer.source import Field

#: What the names of rendered init containers begin with.
_PREFIX = "init-"


def import_init_containers(
    draft: Draft, section: Section, pod: Field, container: Field, environment: Environment
) -> None:
    """Import a pod's init containers, once all fields of its worker's container are marked."""
    for init in pod.child("initContainers").items:
        _import_init(draft, section, init, container, environment)


def _import_init(
    draft: Draft, section: Section, init: Field, container: Field, environment: Environment
) -> None:
    leaves = [leaf for key in ("command", "args") for leaf in init.child(key).leaves() if leaf.line]
    words = [expanded(leaf.text, environment) for leaf in leaves]
    if not draft.is_pool(section):
        reason = "only pools have `init` commands"
    elif init.get("restartPolicy"):
        reason = "a sidecar: add it with `kubernetes.patches`"
    elif not init.get("command"):
        reason = "`init` needs a command: that of the image is not known here"
    elif None in words or any(_is_unresolved(leaf.text, init, environment) for leaf in leaves):
        reason = "its command refers to a variable that is not known here"
    else:
        reason = ""
    if reason:
        init.drop(reason)
        return
    name, image = init.child("name"), init.child("image")
    label = dns_label(name.text.removeprefix(_PREFIX))
    entry: Section = {"command": [literal(word) for word in words if word is not None]}
    if image.text and image.text != container.text_of("image"):
        entry["image"] = image.text
    if not put_structure(section, ("init", label), entry, *leaves, image):
        init.drop("left out")
        return
    name.translate(f"the command {label}")
    check_pull_policy(draft, init)
    for key, field in init.mapping.items():
        if (same := container.get(key)) is not None:
            field.follow(same)
    init.drop("`init` commands have only what the worker has")


def _is_unresolved(text: str, init: Field, environment: Environment) -> bool:
    """Whether a word refers to a variable that only the init container has."""
    own = {entry.text_of("name") for entry in init.child("env").items}
    unknown = names_in(text) - environment.plain.keys()
    return bool(unknown & own or (unknown and init.get("envFrom")))
