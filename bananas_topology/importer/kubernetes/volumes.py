"""Import the volumes of a pod, as the worker or the api mounts them."""

from __future__ import annotations

from collections.abc import Iterator

from bananas_topology.importer import amounts
from bananas_topology.importer.draft import Draft, Section
from bananas_topology.importer.known import Row, translate_known, translate_only
from bananas_topology.importer.kubernetes.environment import (
    literal,
    mark_secret_name,
    put_url_secret,
)
from bananas_topology.importer.source import Field
from bananas_topology.importer.status import Status
from bananas_topology.importer.volumes import DEFAULT_SIZE, put_volume

_CREDENTIALS = "credentials are rendered as files"

#: The files with credentials in rendered pods.
_FILES = frozenset({"REDIS_URL", "REDIS_PASSWORD", "API_TOKEN"})

#: What the names of rendered volumes begin with.
_PREFIX = "volume-"

_TMP_SIZE = "1Gi"
_OWN = "rendered pods have their own volume there"
_DEFAULT = "the default of Kubernetes"

#: Fields of volumes and mounts that rendered ones have, too.
_VOLUME: tuple[Row, ...] = (
    ("secret.defaultMode", "288|0440", "rendered volumes have this mode"),
    ("secret.optional", "false", _DEFAULT),
    ("configMap.defaultMode", "420|0644", _DEFAULT),
    ("configMap.optional", "false", _DEFAULT),
    ("emptyDir.medium", "()", _DEFAULT),
)
_MOUNT: tuple[Row, ...] = (
    ("mountPropagation", "None", _DEFAULT),
    ("readOnly", "false", _DEFAULT),
    ("recursiveReadOnly", "Disabled", _DEFAULT),
)


def import_volumes(
    draft: Draft, section: Section | None, pod: Field, container: Field, own: tuple[str, ...]
) -> None:
    """Import what a container mounts; rendered pods have their own empty directories at `own`.

    `section` None: one that has no volumes.
    """
    volumes = {volume.text_of("name"): volume for volume in pod.child("volumes").items}
    for mount in container.child("volumeMounts").items:
        volume = volumes.get(mount.text_of("name")) or Field("", 0)
        if has_credentials(volume):
            _import_credentials(draft, volume)
            translate_only(mount, _CREDENTIALS, "name", "mountPath", "readOnly")
        elif mount.text_of("mountPath") in own:
            _mark_own(volume, mount, is_redis=section is None)
        else:
            _import_mount(section, volume, mount)
    for volume in volumes.values():
        volume.drop("not mounted in a way that `volumes` can express")


def has_credentials(volume: Field) -> bool:
    """Whether a volume has only files with credentials, as in rendered pods."""
    paths = {item.text_of("path") for _, item in credentials_of(volume)}
    return bool(paths) and paths <= _FILES


def credentials_of(volume: Field) -> Iterator[tuple[Field, Field]]:
    """The items of Secrets in a volume, each with the name of its Secret."""
    for item in volume.child("secret", "items").items:
        yield volume.child("secret", "secretName"), item
    for source in volume.child("projected", "sources").items:
        for item in source.child("secret", "items").items:
            yield source.child("secret", "name"), item


def _import_credentials(draft: Draft, volume: Field) -> None:
    for secret, item in credentials_of(volume):
        key, path = item.child("key"), item.child("path")
        is_own = (secret.text, key.text) == (draft.kubernetes.get("secret"), path.text)
        if path.text == "REDIS_URL" and not is_own and not draft.has_server:
            put_url_secret(draft, secret, key)
        mark_secret_name(draft, secret)
        if key.text != path.text:
            key.drop(f"rendered pods read the key {path.text}: add it to the Secret")
    translate_only(
        volume,
        _CREDENTIALS,
        *("name", "secret.defaultMode", "secret.items[].*"),
        *("projected.defaultMode", "projected.sources[].secret.items[].*"),
    )


def _mark_own(volume: Field, mount: Field, *, is_redis: bool) -> None:
    if mount.get("subPath") or not (is_redis or volume.get("emptyDir")):
        mount.drop(f"{_OWN}, an empty directory")
        return
    translate_only(mount, _OWN, "name", "mountPath")
    if volume.get("emptyDir"):
        size = volume.child("emptyDir", "sizeLimit")
        if mount.text_of("mountPath") == "/tmp" and size.text not in ("", _TMP_SIZE):
            size.drop(f"the rendered /tmp has {_TMP_SIZE}: use `kubernetes.patches`")
        translate_only(volume, _OWN, "name", "emptyDir", "emptyDir.sizeLimit")


def _import_mount(section: Section | None, volume: Field, mount: Field) -> None:
    """Import one mount as a volume of the topology, or drop it."""
    reason = _why_not(section, volume, mount)
    entry: Section = {"path": literal(mount.text_of("mountPath"))}
    sources = [mount.child("mountPath")]
    if not reason and section is not None:
        try:
            sources += _read_source(entry, volume, mount)
        except ValueError as error:
            reason = f"not valid, left out: {error}"
    if reason or section is None:
        mount.drop(reason)
        return
    name = volume.text_of("name").removeprefix(_PREFIX)
    problem = put_volume(section, name, entry, *sources)
    if problem:
        mount.drop(problem)
    elif sources[0].status is not Status.DROPPED:
        for field in (volume.child("name"), mount.child("name")):
            field.translate("`volumes`")
        translate_known(volume, _VOLUME)
        translate_known(mount, _MOUNT)
        for field in (volume, mount):
            field.drop("`volumes` has no such option: use `kubernetes.patches`")


def _why_not(section: Section | None, volume: Field, mount: Field) -> str:
    """Why a topology cannot express a mount; "" if it can."""
    if section is None:
        return "the managed Redis has its own volume"
    if mount.get("subPath") or mount.get("subPathExpr"):
        return "a topology mounts whole volumes: use `kubernetes.patches`"
    if volume.get("secret", "items") or volume.get("configMap", "items"):
        return "a topology mounts all keys, under their own names: use `kubernetes.patches`"
    if volume.get("emptyDir") and volume.child("name").status is not None:
        return "an empty directory of a topology is mounted at one path only"
    if not any(volume.get(*path) for path in _SOURCES):
        return "`volumes` has claims, empty directories, Secrets and ConfigMaps only"
    return ""


#: Where a volume says what it is.
_SOURCES = (
    ("persistentVolumeClaim", "claimName"),
    ("emptyDir",),
    ("secret", "secretName"),
    ("configMap", "name"),
)


def _read_source(entry: Section, volume: Field, mount: Field) -> list[Field]:
    """Write what a volume is to its entry; returns the fields that it was read from.

    Raises:
        ValueError: the size is not valid.
    """
    read_only = mount.child("readOnly")
    if claim := volume.get("persistentVolumeClaim"):
        entry["claim"] = claim.text_of("claimName")
        flags = [each for each in (read_only, claim.child("readOnly")) if each.text == "true"]
        if flags:
            entry["read_only"] = True
        return [claim.child("claimName"), *flags]
    if directory := volume.get("emptyDir"):
        size = directory.get("sizeLimit")
        entry["temporary"] = amounts.kubernetes_memory(size.text) if size else DEFAULT_SIZE
        if size is None and directory.is_leaf:
            directory.translate(f"`temporary`, which needs a size: {DEFAULT_SIZE}")
        return [size] if size else []
    kind, name = ("secret", "secretName") if volume.get("secret") else ("configMap", "name")
    found = volume.child(kind, name)
    entry["secret" if kind == "secret" else "config"] = found.text
    if read_only.text == "true":
        read_only.translate("always mounted read-only")
    return [found]
