"""Rules on what containers get from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from posixpath import dirname, normpath

from bananas_topology.contract.names import API, REDIS
from bananas_topology.spec.container import Container
from bananas_topology.spec.nodes import KeyPath
from bananas_topology.spec.rules.context import RuleContext, Violation, rule

#: Directories that are mounted in every container, or belong to the system.
_TAKEN = ("/tmp", "/run/secrets", "/proc", "/sys", "/dev")


def _containers(context: RuleContext) -> Iterator[tuple[KeyPath, Container, str | None]]:
    """Every section with a container, and the directory of its log files."""
    for pool in context.topology.pools:
        worker = pool.worker
        logs = normpath(dirname(worker.log_file_path)) if worker.log_file_enabled else None
        yield context.path_of(pool), pool.container, logs
    if api := context.topology.api:
        yield (API,), api.container, None


@rule("BT250", "Volume at a path that is in use", example="{path: /tmp, temporary: 1Gi}")
def volumes_have_paths_of_their_own(context: RuleContext) -> Iterator[Violation]:
    """A volume hides what is below its path, such as the files with credentials."""
    for path, container, logs in _containers(context):
        used: dict[str, str] = {name: "every container" for name in _TAKEN}
        if logs is not None:
            used[logs] = "logging.file"
        for volume in container.volumes:
            at = _normal(volume.path)
            other = next((name for name in used if _hides(at, name)), None)
            if other is not None:
                yield Violation(
                    (*path, "volumes", volume.name, "path"),
                    f'volume "{volume.name}" at {at} would hide {other}, used by {used[other]}',
                    "choose another path",
                    depends_on=((*path, "logging"),),
                )
            used[at] = f'volume "{volume.name}"'


@rule("BT251", "Init command with the name of another service", example="init: {low: …}")
def init_commands_have_names_of_their_own(context: RuleContext) -> Iterator[Violation]:
    """With Compose, each is a service that is named after its pool and itself."""
    taken = {pool.name for pool in context.topology.pools} | {API, REDIS}
    for pool in context.topology.pools:
        for init in pool.container.init:
            name = f"{pool.name}-{init.name}"
            if name in taken:
                yield Violation(
                    (*context.path_of(pool), "init", init.name),
                    f'init command "{init.name}" of pool "{pool.name}" would be the service '
                    f'"{name}", which there is already',
                    "rename it",
                    at_key=True,
                )
            taken.add(name)


def is_taken(path: str) -> bool:
    """Whether a volume at this path would hide what every container has."""
    return any(_hides(_normal(path), name) for name in _TAKEN)


def _normal(path: str) -> str:
    return normpath(f"/{path.lstrip('/')}")


def _hides(path: str, other: str) -> bool:
    """Whether a mount at `path` hides `other`; one above a volume leaves that mounted."""
    is_above = other in _TAKEN and (path == "/" or other.startswith(f"{path}/"))
    is_in_system = other in _TAKEN and other != "/tmp" and path.startswith(f"{other}/")
    return path == other or is_above or is_in_system
