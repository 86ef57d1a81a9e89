"""Environment variables of containers.

All values come from `launch`. Secrets are references or files, never values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from bananas_topology.launch import launch_for, launch_for_api
from bananas_topology.render.containers import METRICS_PORT
from bananas_topology.render.credentials import (
    URL_KEY,
    api_files,
    file_variables,
    without_variables,
    worker_files,
)
from bananas_topology.render.environment import in_table_order
from bananas_topology.render.kubernetes.objects import Object
from bananas_topology.render.kubernetes.pods import CREDENTIALS_DIRECTORY
from bananas_topology.render.kubernetes.redis import redis_name
from bananas_topology.render.kubernetes.sources import env_from, references
from bananas_topology.render.redis_server import PORT
from bananas_topology.spec.container import Container
from bananas_topology.spec.model import Api, Pool, Topology

#: Variables that come from the Secret or the pod, never as plain values.
_REFERENCED = ("REDIS_URL", "WORKER_ID")

#: Kubernetes expands ``$(NAME)`` and ``$$`` in the value of a variable.
_EXPANDED = re.compile(r"\$(?=[$(])")


def worker_environment(topology: Topology, pool: Pool) -> Object:
    """``env`` and ``envFrom`` of one pool's container.

    All of it is in the pod template, nothing in a ConfigMap: an old pod that restarts during a
    rollout, and a revision that ``kubectl rollout undo`` returns to, get the variables that they
    were made with.
    """
    plain = {**launch_for(topology, pool).env, "METRICS_PORT": str(METRICS_PORT)}
    entries: dict[str, Any] = {
        name: _value(text) for name, text in _allowed(plain, pool.secrets).items()
    }
    entries["WORKER_ID"] = {"valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    entries |= _references(topology, pool.secrets) | references(pool.container)
    entries |= _credentials(topology, worker_files(topology), pool.container)
    return {**env_from(pool.container), "env": _entries(entries)}


def api_environment(topology: Topology, api: Api) -> Object:
    """``env`` and ``envFrom`` of the api's container."""
    plain = _allowed(launch_for_api(topology, api).env, api.secrets)
    entries: dict[str, Any] = {name: _value(text) for name, text in plain.items()}
    in_files = without_variables(api_files(topology))
    secrets = [name for name in api.secrets if name not in in_files]
    entries |= _references(topology, secrets) | references(api.container)
    entries |= _credentials(topology, api_files(topology), api.container)
    return {**env_from(api.container), "env": _entries(entries)}


def _allowed(env: Mapping[str, str], secrets: Iterable[str]) -> dict[str, str]:
    kept_back = {*_REFERENCED, *secrets}
    return {name: text for name, text in env.items() if name not in kept_back}


def _references(topology: Topology, names: Iterable[str]) -> dict[str, Object]:
    """References to the keys of the Secret with these names."""
    secret = topology.kubernetes.secret
    return {name: {"valueFrom": {"secretKeyRef": {"name": secret, "key": name}}} for name in names}


def _credentials(
    topology: Topology, files: tuple[str, ...], container: Container
) -> dict[str, Object]:
    """Where the server is, and the paths of files with credentials."""
    made = file_variables(files, CREDENTIALS_DIRECTORY)
    if not topology.redis.is_external:
        made[URL_KEY] = f"redis://{redis_name(topology)}:{PORT}/0"
    # An entry without a value is an empty variable; the server would drop an empty value.
    empty: dict[str, Object] = {name: {} for name in without_variables(files) if container.env_from}
    return empty | {name: {"value": text} for name, text in made.items()}


def literal(text: str) -> str:
    """Text in which Kubernetes expands nothing."""
    return _EXPANDED.sub("$$", text)


def _value(text: str) -> Object:
    return {"value": literal(text)}


def _entries(entries: Mapping[str, Object]) -> list[Object]:
    return [{"name": name, **entries[name]} for name in in_table_order(entries)]
