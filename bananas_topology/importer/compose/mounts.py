"""Import files with variables, volumes and devices of a service."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from bananas_topology.importer import amounts
from bananas_topology.importer.draft import (
    Section,
    get_path,
    integer,
    put,
    put_parsed,
    put_structure,
)
from bananas_topology.importer.known import translate_known, translate_only
from bananas_topology.importer.source import Field
from bananas_topology.importer.volumes import DEFAULT_SIZE, put_volume

#: The host's directories in which rendered services look for files of Secrets and ConfigMaps.
_HOST_PATH = re.compile(
    r"(?:\$\{(?:SECRETS|CONFIG)_DIR:-\./(?P<given>secrets|config)\}|(?:\./)?(?P<kind>secrets|config))"
    r"/(?P<name>[^/]+?)/?"
)
_KINDS = {"secrets": "secret", "config": "config"}

#: The volume of the managed Redis in rendered files.
REDIS_VOLUME = "redis-data"

_GPU = "nvidia.com/gpu"
_GPU_PATH = ("resources", "limits", _GPU)


def import_env_files(section: Section, files: Field | None) -> None:
    """Import the files with variables that rendered services would read from the same place."""
    for file in (files.items or [files]) if files else ():
        path = file if file.is_leaf else file.child("path")
        found = _object(path.text.removesuffix(".env")) if path.text.endswith(".env") else None
        if found is None:
            path.drop(
                "not read: list its variables in `env` or `secrets`, or move it to "
                "./config/NAME.env and use `env_from`"
            )
            continue
        entry: Section = dict([found])
        required = file.child("required")
        if required.text == "false":
            entry["optional"] = True
        if put_structure({}, ("env_from",), [entry], path, required):
            section["env_from"] = [*section.get("env_from", []), entry]


def _object(path: str) -> tuple[str, str] | None:
    """The kind and the name of a Secret or ConfigMap that is at a path of the host.

    >>> _object("${CONFIG_DIR:-./config}/shop"), _object("./secrets/tls/"), _object("./data")
    (('config', 'shop'), ('secret', 'tls'), None)
    """
    match = _HOST_PATH.fullmatch(path)
    return (_KINDS[match["given"] or match["kind"]], match["name"]) if match else None


@dataclass(slots=True)
class _Mount:
    """One volume of a service, in short or long syntax, with the fields that say so."""

    kind: str
    source: str
    target: str
    is_read_only: bool = False
    size: Field | None = None
    fields: list[Field] = field(default_factory=list)
    problem: str = ""


def import_volumes(section: Section, service: Field) -> None:
    """Import the volumes and the further temporary directories of a service."""
    path = get_path(section, "logging", "file", "path") or "/var/log/bananas"
    for volume in service.child("volumes").items:
        mount = _short(volume) if volume.is_leaf else _long(volume)
        target = mount.target.rstrip("/")
        is_for_logs = bool(mount.target) and (path == target or path.startswith(f"{target}/"))
        if is_for_logs and not mount.source and mount.kind == "volume":
            note = "each rendered replica has its own volume for log files"
            translate_only(volume, note, "", "type", "target")
        elif is_for_logs:
            volume.mark_mistake("replicas shared one log file; each rendered one has its own")
        else:
            _import_mount(section, volume, mount)
    tmpfs = service.get("tmpfs")
    for directory in (tmpfs.items or [tmpfs]) if tmpfs else ():
        target, _, options = directory.text.partition(":")
        if target != "/tmp" and directory.is_leaf:
            size = re.fullmatch(r"size=(\w+)", options)
            mount = _Mount("tmpfs", "", target, fields=[directory])
            mount.size = Field("", 0, text=size[1] if size else "")
            mount.problem = "" if size or not options else "`temporary` has a size only"
            _import_mount(section, directory, mount)


def _short(volume: Field) -> _Mount:
    source, *rest = re.split(r":(?!-)", volume.text)
    if not rest:
        return _Mount("volume", "", source, problem="a volume without a name")
    kind = "bind" if source.startswith((".", "/", "~", "$")) else "volume"
    options = set(rest[1].split(",")) if len(rest) > 1 else set()
    mount = _Mount(kind, source, rest[0], "ro" in options, fields=[volume])
    if others := options - {"ro", "rw"}:
        mount.problem = f"no option {', '.join(sorted(others))}"
    return mount


def _long(volume: Field) -> _Mount:
    source, target, read_only = (volume.child(key) for key in ("source", "target", "read_only"))
    kind, size = volume.child("type"), volume.get("tmpfs", "size")
    mount = _Mount(kind.text or "volume", source.text, target.text, read_only.text == "true", size)
    mount.fields = [each for each in (kind, source, target, read_only, size) if each is not None]
    if volume.get("volume", "subpath") or volume.get("bind", "propagation"):
        mount.problem = "no subpath, no propagation"
    return mount


def _import_mount(section: Section, volume: Field, mount: _Mount) -> None:
    """Import one mount as a volume of the topology, or drop it."""
    entry: Section = {"path": mount.target}
    name, problem = mount.source, mount.problem
    found = _object(mount.source) if mount.kind == "bind" else None
    if mount.kind == "tmpfs":
        name = posixpath.basename(mount.target.rstrip("/"))
        problem = problem or _put_size(entry, mount)
    elif mount.kind == "volume" and mount.source not in ("", REDIS_VOLUME):
        entry["claim"] = mount.source
        entry |= {"read_only": True} if mount.is_read_only else {}
    elif found is not None and "." not in found[1]:
        entry[found[0]] = name = found[1]
    else:
        problem = problem or (
            "`volumes` has named volumes, temporary directories, and directories in ./secrets and "
            "./config only"
        )
    note = "`volumes`; always read-only" if found and not mount.is_read_only else ""
    problem = problem or put_volume(section, name, entry, *mount.fields, note=note) or ""
    if problem:
        volume.drop(f"{problem}: use `compose.patches`")
    elif found is not None:
        translate_only(volume, "rendered services set it", "bind.create_host_path")


def _put_size(entry: Section, mount: _Mount) -> str:
    """Set the size of a temporary directory; returns what is wrong with it."""
    try:
        text = mount.size.text if mount.size else ""
        entry["temporary"] = amounts.memory(text) if text else DEFAULT_SIZE
    except ValueError as error:
        return f"not valid, left out: {error}"
    return ""


def import_devices(section: Section, service: Field) -> None:
    """Import reserved GPUs."""
    reserved = service.child("deploy", "resources", "reservations", "devices")
    for device in (*reserved.items, *service.child("gpus").items):
        count, capabilities = device.child("count"), device.child("capabilities")
        is_gpu = [leaf.text for leaf in capabilities.leaves()] == ["gpu"]
        is_nvidia = device.text_of("driver") in ("", "nvidia")
        others = device.mapping.keys() - {"driver", "count", "capabilities"}
        if is_gpu and is_nvidia and not others and count.text.isdigit():
            put_parsed(section, _GPU_PATH, integer, count)
            translate_known(device, (("**", "", f"`resources.limits` {_GPU}"),))
        else:
            device.drop(f"`resources.limits` takes a number of {_GPU}: use `compose.patches`")


#: Limits that Compose also has at the top of a service, and their place in a topology.
_LIMITS: dict[str, tuple[tuple[str, str], Callable[[str], int | str]]] = {
    "cpus": (("limits", "cpu"), amounts.cpu),
    "mem_limit": (("limits", "memory"), amounts.memory),
    "mem_reservation": (("requests", "memory"), amounts.memory),
}


def import_resources(section: Section, service: Field) -> None:
    """Import limits and reservations of CPU and memory."""
    resources = service.child("deploy", "resources")
    kinds = {"limits": "limits", "reservations": "requests"}
    units: dict[str, tuple[str, Callable[[str], int | str]]] = {
        "cpus": ("cpu", amounts.cpu),
        "memory": ("memory", amounts.memory),
    }
    for theirs, ours in kinds.items():
        for name, (amount, parse) in units.items():
            if found := resources.get(theirs, name):
                put_parsed(section, ("resources", ours, amount), parse, found)
    for key, (path, parse) in _LIMITS.items():
        if limit := service.get(key):
            put_parsed(section, ("resources", *path), parse, limit)


def import_placement(section: Section, placement: Field | None) -> None:
    """Import constraints on the nodes' labels."""
    constraints = placement.get("constraints") if placement else None
    for constraint in constraints.items if constraints else ():
        label, equals, value = (part.strip() for part in constraint.text.partition("=="))
        if equals and label.startswith("node.labels."):
            path = ("placement", "require", label.removeprefix("node.labels."))
            put(section, path, value, constraint, "`placement.require`")
        else:
            constraint.drop("`placement.require` supports only node labels equal to a value")
