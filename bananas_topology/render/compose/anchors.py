"""What services have in common, written once: `x-` blocks with anchors that services merge.

Works on finished services, so that layout never changes meaning: expanding the result gives exactly
the input. A service from which a patch removed a common entry merges nothing; an entry that a patch
changed is written beside the merge.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from bananas_topology.render.environment import OF_ONE_POOL
from bananas_topology.yaml_writer import MERGE, Shared

#: Keys that stay in their service even if all services have the same value.
_OWN_KEYS = ("deploy", "environment")
#: How many services must share an entry before it moves into a block.
_MIN_SHARING = 2

Services = Mapping[str, Any]


def with_anchors(
    made: Services, patched: Services, workers: Collection[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The `x-` blocks, and the patched services that merge them.

    Common entries are those of the services as `made`, before patches; `workers` are the names of
    the pools' services.
    """
    members = [made[name] for name in made if name in workers]
    environment = _common([service["environment"] for service in members], OF_ONE_POOL)
    worker = _common(members, _OWN_KEYS)
    # If all services are workers, one block is enough.
    container = _common(list(made.values()), _OWN_KEYS) if len(made) > len(members) else {}

    blocks: dict[str, Any] = {}
    shared_container = _add(blocks, "container", container)
    only = {key: value for key, value in worker.items() if key not in container}
    merge: dict[Any, Any] = {MERGE: shared_container} if shared_container and only else {}
    shared_worker = _add(blocks, "worker", {**merge, **only})
    shared_environment = _add(blocks, "environment", environment)

    merged: dict[str, Any] = {}
    for name, service in patched.items():
        if name in workers and isinstance(service, dict) and "environment" in service:
            folded = _fold(service["environment"], shared_environment, environment)
            service = {**service, "environment": folded}
        if name in workers and shared_worker is not None:
            merged[name] = _fold(service, shared_worker, worker)
        else:
            merged[name] = _fold(service, shared_container, container)
    return blocks, merged


def _common(parts: Sequence[Mapping[str, Any]], own: Collection[str]) -> dict[str, Any]:
    """The entries that all parts share, in the order of the first; none if there are too few."""
    if len(parts) < _MIN_SHARING:
        return {}
    return {
        key: value
        for key, value in parts[0].items()
        if key not in own and all(key in part and _is_same(part[key], value) for part in parts)
    }


def _add(blocks: dict[str, Any], name: str, value: Mapping[Any, Any]) -> Shared | None:
    if not value:
        return None
    blocks[f"x-{name}"] = shared = Shared(name, value)
    return shared


def _fold(mapping: Any, shared: Shared | None, entries: Mapping[str, Any]) -> Any:
    """The mapping, with the shared entries replaced by one merge."""
    if shared is None or not isinstance(mapping, dict) or not entries.keys() <= mapping.keys():
        return mapping
    rest = {
        key: value
        for key, value in mapping.items()
        if key not in entries or not _is_same(value, entries[key])
    }
    return {MERGE: shared, **rest}


def _is_same(one: Any, other: Any) -> bool:
    """Equal as YAML; in Python, 1 equals True."""
    return json.dumps(one) == json.dumps(other)
