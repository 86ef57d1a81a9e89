"""What is said once for many: `defaults:`, and the top-level `logging:` and `results:`.

Works on nodes, so that a value keeps the place where it was written, wherever it ends up.
"""

from __future__ import annotations

from collections.abc import Collection

from bananas_topology.spec.nodes import Mapping, Scalar, child

#: Fields that are put together key by key; any other is taken as a whole.
_MERGED = ("env", "logging", "file", "results", "resources", "requests", "limits")

#: What has no meaning for a pool of schedulers, and is not inherited by one.
_OF_WORKERS = (
    "mode", "concurrency", "priorities", "job_types", "autoscale", "replicas", "scheduler",
    "resources", "grace", "disruption",
)  # fmt: skip

#: What the `scheduler:` section takes from `defaults:`.
_FOR_SCHEDULER = ("image", "env", "secrets", "placement", "egress", "logging")


def layered(above: Mapping | None, below: Mapping | None) -> Mapping:
    """A new map with all of `above`, and of `below` what `above` does not say."""
    result = Mapping(above.start if above else 0, above.end if above else 0)
    for source in (above, below):
        for name, key in source.keys.items() if source else ():
            assert source is not None
            node, present = source.items[name], result.items.get(name)
            if present is None:
                result.set(key, node)
            elif name in _MERGED and isinstance(present, Mapping) and isinstance(node, Mapping):
                result.items[name] = layered(present, node)
    return result


def apply_layers(root: Mapping) -> Mapping:
    """A copy of the topology in which each pool, the scheduler and the api say everything."""
    general = _only(root, ("logging", "results"))
    defaults = layered(_map(root, "defaults"), general)
    result = layered(root, None)
    pools = _map(root, "pools")
    if pools is not None:
        filled = layered(pools, None)
        for name, pool in pools.items.items():
            if isinstance(pool, Mapping):
                filled.items[name] = _pool(pool, defaults)
        result.items["pools"] = filled
    for name, below in (
        ("scheduler", _only(defaults, _FOR_SCHEDULER)),
        ("api", _only(general, ("logging",))),
    ):
        section = _map(root, name)
        if section is not None:
            result.items[name] = layered(section, below)
    return result


def _pool(pool: Mapping, defaults: Mapping) -> Mapping:
    mode = child(pool, "mode") or child(defaults, "mode")
    name = mode.text if isinstance(mode, Scalar) else "default"
    if name == "scheduler-only":
        inherited = [each for each in defaults.items if each not in _OF_WORKERS]
        return layered(pool, _only(defaults, inherited))
    if name != "job-specialized":
        return layered(
            pool, _only(defaults, [each for each in defaults.items if each != "job_types"])
        )
    return layered(pool, defaults)


def _only(source: Mapping, names: Collection[str]) -> Mapping:
    result = Mapping(source.start, source.end)
    wanted = set(names)
    for name, key in source.keys.items():
        if name in wanted:
            result.set(key, source.items[name])
    return result


def _map(root: Mapping, name: str) -> Mapping | None:
    node = root.items.get(name)
    return node if isinstance(node, Mapping) else None
