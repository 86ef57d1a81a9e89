"""Variables and volumes that containers get from existing objects of the cluster."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bananas_topology.render.credentials import URL_KEY
from bananas_topology.render.kubernetes.objects import Object
from bananas_topology.render.names import MAX_LABEL, dns_label
from bananas_topology.spec.container import (
    Container,
    KeyReference,
    Source,
    VariableSource,
    Volume,
)
from bananas_topology.spec.model import Topology
from bananas_topology.units import format_memory

#: Readable by the pod's group, which is the volume's.
SECRET_MODE = 0o440


def references(container: Container) -> dict[str, Object]:
    """``env`` entries for keys of Secrets and ConfigMaps, by variable."""
    return {
        name: {"valueFrom": _key_reference(reference)}
        for name, reference in container.references.items()
    }


def env_from(container: Container) -> Object:
    """``envFrom`` of a container; empty if there is none."""
    sources = [_variable_source(each) for each in container.env_from]
    return {"envFrom": sources} if sources else {}


def mounts(container: Container) -> list[Object]:
    """``volumeMounts`` of a container."""
    return [
        {
            "name": _volume_name(volume),
            "mountPath": volume.path,
            **({"readOnly": True} if volume.is_read_only else {}),
        }
        for volume in container.volumes
    ]


def volumes(container: Container) -> list[Object]:
    """``volumes`` of a pod."""
    return [{"name": _volume_name(each), **_volume_source(each)} for each in container.volumes]


def credentials_key(topology: Topology, file: str) -> tuple[str, str]:
    """The Secret and the key in it with what a file with credentials contains."""
    other = topology.redis.secret if file == URL_KEY else None
    return (other.name, other.key) if other else (topology.kubernetes.secret, file)


def needed_objects(container: Container) -> Iterator[str]:
    """The objects that must exist for a container to start, each with its kind."""
    for reference in container.references.values():
        if not reference.is_optional:
            yield f"{_object(reference.source)} with the key {reference.key}"
    for each in container.env_from:
        if not each.is_optional:
            yield _object(each.source)
    for volume in container.volumes:
        if volume.claim is not None:
            yield f"PersistentVolumeClaim {volume.claim}"
        elif volume.source is not None:
            yield _object(volume.source)


def _object(source: Source) -> str:
    return f"{'Secret' if source.is_secret else 'ConfigMap'} {source.name}"


def _key_reference(reference: KeyReference) -> Object:
    field = "secretKeyRef" if reference.source.is_secret else "configMapKeyRef"
    key: Object = {"name": reference.source.name, "key": reference.key}
    return {field: {**key, "optional": True} if reference.is_optional else key}


def _variable_source(each: VariableSource) -> Object:
    field = "secretRef" if each.source.is_secret else "configMapRef"
    name: dict[str, Any] = {"name": each.source.name}
    made: Object = {"prefix": each.prefix} if each.prefix else {}
    return {**made, field: {**name, "optional": True} if each.is_optional else name}


def _volume_name(volume: Volume) -> str:
    """A name that none of our own volumes has."""
    return dns_label(f"volume-{volume.name}", MAX_LABEL)


def _volume_source(volume: Volume) -> Object:
    if volume.claim is not None:
        return {"persistentVolumeClaim": {"claimName": volume.claim}}
    if volume.source is None:
        return {"emptyDir": {"sizeLimit": format_memory(volume.temporary_bytes or 0)}}
    if volume.source.is_secret:
        return {"secret": {"secretName": volume.source.name, "defaultMode": SECRET_MODE}}
    return {"configMap": {"name": volume.source.name}}
