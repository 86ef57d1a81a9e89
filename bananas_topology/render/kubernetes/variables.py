"""Environment variables of containers.

All values come from `launch`. Secrets are references, never values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from bananas_topology.launch import launch_for, launch_for_api
from bananas_topology.render.containers import METRICS_PORT
from bananas_topology.render.environment import in_table_order
from bananas_topology.render.kubernetes.objects import Object
from bananas_topology.spec.model import Api, Pool, Topology

#: Variables that come from the Secret or the pod, never as plain values.
_REFERENCED = ("REDIS_URL", "WORKER_ID")

#: Kubernetes expands ``$(NAME)`` and ``$$`` in the value of a variable.
_EXPANDED = re.compile(r"\$(?=[$(])")


def worker_environment(topology: Topology, pool: Pool) -> Object:
    """``env`` of one pool's container.

    All of it is in the pod template, nothing in a ConfigMap: an old pod that restarts during a
    rollout, and a revision that ``kubectl rollout undo`` returns to, get the variables that they
    were made with.
    """
    plain = {**launch_for(topology, pool).env, "METRICS_PORT": str(METRICS_PORT)}
    entries: dict[str, Any] = {
        name: _value(text) for name, text in _allowed(plain, pool.secrets).items()
    }
    entries["WORKER_ID"] = {"valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    entries |= _references(topology, ("REDIS_URL", *pool.secrets))
    return {"env": _entries(entries)}


def api_environment(topology: Topology, api: Api) -> Object:
    """``env`` of the api's container."""
    plain = _allowed(launch_for_api(topology, api).env, api.secrets)
    entries: dict[str, Any] = {name: _value(text) for name, text in plain.items()}
    entries |= _references(topology, ("REDIS_URL", "API_TOKEN", *api.secrets))
    return {"env": _entries(entries)}


def secret_reference(topology: Topology, key: str) -> Object:
    """A reference to a key of the Secret."""
    return {"valueFrom": {"secretKeyRef": {"name": topology.kubernetes.secret, "key": key}}}


def _allowed(env: Mapping[str, str], secrets: Iterable[str]) -> dict[str, str]:
    kept_back = {*_REFERENCED, *secrets}
    return {name: text for name, text in env.items() if name not in kept_back}


def _references(topology: Topology, names: Iterable[str]) -> dict[str, Object]:
    return {name: secret_reference(topology, name) for name in names}


def _value(text: str) -> Object:
    return {"value": _EXPANDED.sub("$$", text)}


def _entries(entries: Mapping[str, Object]) -> list[Object]:
    return [{"name": name, **entries[name]} for name in in_table_order(entries)]
