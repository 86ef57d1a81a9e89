"""Variables and volumes that services get from the shell, from files and from named volumes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bananas_topology.render.compose.references import Reference, required
from bananas_topology.spec.container import Container, Source, Volume

#: The host's directories with one file or directory for each Secret and ConfigMap.
SECRETS_DIRECTORY = "${SECRETS_DIR:-./secrets}"
CONFIG_DIRECTORY = "${CONFIG_DIR:-./config}"

#: The volume of the managed server.
REDIS_VOLUME = "redis-data"


def references(container: Container) -> Mapping[str, Any]:
    """Variables whose values Compose takes from the shell; None leaves one unset if it is there."""
    return {
        name: None if each.is_optional else required(name)
        for name, each in container.references.items()
    }


def env_files(container: Container) -> list[dict[str, Any]]:
    """``env_file`` of a service."""
    return [
        {"path": _host_path(each.source, ".env"), "required": not each.is_optional}
        for each in container.env_from
    ]


def mounts(container: Container) -> list[dict[str, Any]]:
    """``volumes`` of a service."""
    return [_mount(volume) for volume in container.volumes]


def named_volumes(containers: Iterator[Container]) -> dict[str, dict[str, Any]]:
    """The top-level ``volumes`` that services share."""
    claims = (each.claim for container in containers for each in container.volumes)
    return {_claim_name(claim): {} for claim in claims if claim is not None}


def _mount(volume: Volume) -> dict[str, Any]:
    target = {"target": volume.path}
    if volume.source is not None:
        bind = {"type": "bind", "source": _host_path(volume.source), **target, "read_only": True}
        # Otherwise Docker makes an empty directory where the name is misspelled.
        return {**bind, "bind": {"create_host_path": False}}
    if volume.claim is None:
        # In memory: a new volume would belong to root, whom the program does not run as.
        return {"type": "tmpfs", **target, "tmpfs": {"size": volume.temporary_bytes}}
    read_only = {"read_only": True} if volume.is_read_only else {}
    return {"type": "volume", "source": _claim_name(volume.claim), **target, **read_only}


def _claim_name(claim: str) -> str:
    return f"{claim}-claim" if claim == REDIS_VOLUME else claim


def _host_path(source: Source, suffix: str = "") -> Reference:
    directory = SECRETS_DIRECTORY if source.is_secret else CONFIG_DIRECTORY
    return Reference(f"{directory}/{source.name}{suffix}")
