"""What services have in common, written once: `x-` blocks with anchors that services merge.

Works on finished services, so that how it reads never decides what it means: unfolding the result
gives exactly what came in. A service from which a patch has taken something away merges nothing;
what a patch has changed is written beside the merge.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from bananas_topology.render.environment import OF_ONE_POOL
from bananas_topology.yaml_writer import MERGE, Shared

#: Keys of a service that a reader looks for in the service itself, alike or not.
_OWN_KEYS = ("deploy", "environment")
#: How many must have an entry in common before it is written elsewhere.
_FEWEST = 2

Services = Mapping[str, Any]


def with_anchors(
    made: Services, patched: Services, workers: Collection[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The `x-` blocks, and the patched services merging them.

    What is common is found in the services as they were `made`; `workers` names those of pools.
    """
    members = [made[name] for name in made if name in workers]
    environment = _common([each["environment"] for each in members], OF_ONE_POOL)
    worker = _common(members, _OWN_KEYS)
    # Where all services are workers, their block says it all.
    container = _common(list(made.values()), _OWN_KEYS) if len(made) > len(members) else {}

    blocks: dict[str, Any] = {}
    of_all = _add(blocks, "container", container)
    only = {key: value for key, value in worker.items() if key not in container}
    of_workers = _add(blocks, "worker", {MERGE: of_all, **only} if of_all and only else only)
    of_environments = _add(blocks, "environment", environment)

    merged: dict[str, Any] = {}
    for name, service in patched.items():
        if name in workers and isinstance(service, dict) and "environment" in service:
            folded = _fold(service["environment"], of_environments, environment)
            service = {**service, "environment": folded}
        if name in workers and of_workers is not None:
            merged[name] = _fold(service, of_workers, worker)
        else:
            merged[name] = _fold(service, of_all, container)
    return blocks, merged


def _common(parts: Sequence[Mapping[str, Any]], own: Collection[str]) -> dict[str, Any]:
    """The entries that all parts have alike, in the order of the first; few parts have none."""
    if len(parts) < _FEWEST:
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
    """The mapping, with the entries that it has alike replaced by one merge."""
    if shared is None or not isinstance(mapping, dict) or not entries.keys() <= mapping.keys():
        return mapping
    rest = {
        key: value
        for key, value in mapping.items()
        if key not in entries or not _is_same(value, entries[key])
    }
    return {MERGE: shared, **rest}


def _is_same(one: Any, other: Any) -> bool:
    """Equal as YAML: for Python, 1 is True."""
    return json.dumps(one) == json.dumps(other)
