"""Environment variables: those that all pools share in a ConfigMap, the rest in the pods.

All values come from `launch`. Secrets are references, never values.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from bananas_topology.launch import launch_for, launch_for_api
from bananas_topology.render.containers import METRICS_PORT
from bananas_topology.render.environment import OF_ONE_POOL, in_table_order
from bananas_topology.render.kubernetes.objects import Object, metadata, object_name
from bananas_topology.spec.model import Api, Pool, Topology

#: Variables that come from the Secret or the pod, never as plain values.
_REFERENCED = ("REDIS_URL", "WORKER_ID")

#: Kubernetes expands ``$(NAME)`` and ``$$`` in the value of a variable.
_EXPANDED = re.compile(r"\$(?=[$(])")


def config_name(topology: Topology) -> str:
    """The name of the ConfigMap with shared variables."""
    return object_name(topology, "worker-env")


def config_map(topology: Topology) -> Object:
    """The ConfigMap with the variables that all pools share."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(topology, config_name(topology)),
        "data": shared_variables(topology),
    }


def shared_variables(topology: Topology) -> dict[str, str]:
    """The plain variables with the same value in every pool, in the order of the documentation."""
    first, *others = [_plain(topology, pool) for pool in topology.pools]
    return {
        name: first[name]
        for name in in_table_order(first)
        if name not in OF_ONE_POOL and all(other.get(name) == first[name] for other in others)
    }


def worker_environment(topology: Topology, pool: Pool) -> Object:
    """``envFrom`` and ``env`` of one pool's container."""
    shared = shared_variables(topology)
    own = {name: text for name, text in _plain(topology, pool).items() if name not in shared}
    entries: dict[str, Any] = {name: _value(text) for name, text in own.items()}
    entries["WORKER_ID"] = {"valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    entries |= _references(topology, ("REDIS_URL", *pool.secrets))
    return {
        "envFrom": [{"configMapRef": {"name": config_name(topology)}}],
        "env": _entries(entries),
    }


def api_environment(topology: Topology, api: Api) -> Object:
    """``env`` of the api's container."""
    plain = _allowed(launch_for_api(topology, api).env, api.secrets)
    entries: dict[str, Any] = {name: _value(text) for name, text in plain.items()}
    entries |= _references(topology, ("REDIS_URL", "API_TOKEN", *api.secrets))
    return {"env": _entries(entries)}


def secret_reference(topology: Topology, key: str) -> Object:
    """A reference to a key of the Secret."""
    return {"valueFrom": {"secretKeyRef": {"name": topology.kubernetes.secret, "key": key}}}


def checksum(data: Mapping[str, Any]) -> str:
    """A checksum for the pod template, so that a changed ConfigMap restarts the pods."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def _plain(topology: Topology, pool: Pool) -> dict[str, str]:
    """A pool's variables that are not secret, with METRICS_PORT, which only containers have."""
    launched = {**launch_for(topology, pool).env, "METRICS_PORT": str(METRICS_PORT)}
    return _allowed(launched, pool.secrets)


def _allowed(env: Mapping[str, str], secrets: Iterable[str]) -> dict[str, str]:
    kept_back = {*_REFERENCED, *secrets}
    return {name: text for name, text in env.items() if name not in kept_back}


def _references(topology: Topology, names: Iterable[str]) -> dict[str, Object]:
    return {name: secret_reference(topology, name) for name in names}


def _value(text: str) -> Object:
    return {"value": _EXPANDED.sub("$$", text)}


def _entries(entries: Mapping[str, Object]) -> list[Object]:
    return [{"name": name, **entries[name]} for name in in_table_order(entries)]
