"""Merges what `defaults:` and the top-level `logging:` and `keep:` set into each section.

Works on nodes, so that diagnostics show a value where it was written.
"""

from __future__ import annotations

from collections.abc import Collection

from bananas_topology.contract.settings import POOL
from bananas_topology.contract.values import Mode
from bananas_topology.contract.worker import WORKER_SETTINGS
from bananas_topology.spec.nodes import MapNode, ScalarNode, child

#: Fields that are merged key by key; any other is replaced as a whole.
_MERGED = (
    *("env", "volumes", "init", "logging", "file", "keep", "resources", "requests", "limits"),
)

#: Those that are maps from names to values.
_OF_NAMES = ("env", "volumes", "init")

#: Fields that a scheduler-only pool does not inherit: it runs no jobs.
_NOT_FOR_SCHEDULERS = (
    *(each.path_in(POOL)[0] for each in WORKER_SETTINGS if each.is_for_jobs),
    *("autoscale", "replicas", "resources", "disruption"),
)

#: Fields that the `scheduler:` section inherits from `defaults:`.
_FOR_SCHEDULER_SECTION = (
    *("image", "env", "secrets", "env_from", "volumes", "priority_class"),
    *("runtime_class", "placement", "egress", "logging"),
)


def merged(
    above: MapNode | None, below: MapNode | None, by_key: Collection[str] = _MERGED
) -> MapNode:
    """A new map with everything in `above`, and what only `below` has.

    Maps that both have under a name in `by_key` are merged, too.
    """
    result = MapNode(above.start if above else 0, above.end if above else 0)
    for source in (above, below):
        for name, key in source.keys.items() if source else ():
            assert source is not None
            node, present = source.items[name], result.items.get(name)
            if present is None:
                result.set(key, node)
            elif name in by_key and isinstance(present, MapNode) and isinstance(node, MapNode):
                # In a map of names each entry is one value, whatever its name is.
                inner = () if name in _OF_NAMES else by_key
                result.items[name] = merged(present, node, inner)
    return result


def apply_defaults(root: MapNode) -> MapNode:
    """A copy of the topology in which pools, scheduler and api have what they inherit."""
    general = _only(root, ("logging", "keep"))
    defaults = merged(_map(root, "defaults"), general)
    result = merged(root, None)
    pools = _map(root, "pools")
    if pools is not None:
        filled = merged(pools, None)
        for name, pool in pools.items.items():
            if isinstance(pool, MapNode):
                filled.items[name] = _pool(pool, defaults)
        result.items["pools"] = filled
    for name, inherited in (
        ("scheduler", _only(defaults, _FOR_SCHEDULER_SECTION)),
        ("api", _only(general, ("logging",))),
    ):
        section = _map(root, name)
        if section is not None:
            result.items[name] = merged(section, inherited)
    return result


def _pool(pool: MapNode, defaults: MapNode) -> MapNode:
    mode = child(pool, "mode") or child(defaults, "mode")
    name = mode.text if isinstance(mode, ScalarNode) else Mode.DEFAULT
    left_out: Collection[str] = ()
    if name == Mode.SCHEDULER_ONLY:
        left_out = _NOT_FOR_SCHEDULERS
    elif name != Mode.JOB_SPECIALIZED:
        left_out = ("job_types",)
    return merged(pool, _only(defaults, [each for each in defaults.items if each not in left_out]))


def _only(source: MapNode, names: Collection[str]) -> MapNode:
    result = MapNode(source.start, source.end)
    wanted = set(names)
    for name, key in source.keys.items():
        if name in wanted:
            result.set(key, source.items[name])
    return result


def _map(root: MapNode, name: str) -> MapNode | None:
    node = root.items.get(name)
    return node if isinstance(node, MapNode) else None
