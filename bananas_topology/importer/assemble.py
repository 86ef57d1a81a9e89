"""The draft as a person would have written it: defaults said once, and what goes without saying
left out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from bananas_topology.contract.worker import PRIORITIES, WorkerConfig
from bananas_topology.importer.draft import Draft, Section, get_path
from bananas_topology.importer.variables import POOL_DEFAULTS
from bananas_topology.units import format_duration, parse_duration_ms

#: The order in which a person reads a pool.
_POOL_ORDER = (
    "mode", "priorities", "job_types", "concurrency", "replicas", "scheduler",
    "scheduler_interval", "interval", "image", "job_timeout", "max_retries", "max_crashes", "grace",
    "lease", "port", "publish", "service_type", "ingress", "env", "secrets", "resources",
    "autoscale", "placement", "disruption", "egress", "logging", "results",
)  # fmt: skip

_AUTOSCALE_ORDER = (
    "min", "max", "cpu", "memory", "queue_depth", "requests_per_second", "scale_up", "scale_down",
)  # fmt: skip
_STEP_ORDER = ("window", "percent", "pods", "period", "select")

#: What may stand in `defaults`: the same for most pools, and nothing that makes a pool what it is.
_SHARED = (
    ("mode",), ("job_timeout",), ("max_retries",), ("max_crashes",), ("lease",), ("env",),
    ("secrets",),
)  # fmt: skip

_PRESET_CONCURRENCY = {"thin": 5, "scheduler-only": 0}
#: What a managed server is by itself; the published schema says the same (a test compares them).
_REDIS_DEFAULTS = {
    ("managed", "image"): "valkey/valkey:9.0",
    ("managed", "memory"): "1Gi",
    ("managed", "storage"): "10Gi",
}

#: How fast an autoscaler goes by itself, one direction after the other.
_STEPS = {"scale_up": ("percent", 100), "scale_down": ("pods", 1)}

_LEAST_GRACE_MS = WorkerConfig().grace_ms


def assemble(draft: Draft) -> Section:
    """Make the topology's mapping, in the order in which it is written.

    Everything that a topology says by saying nothing is taken out.
    """
    sections = list(_sections(draft))
    image = _take_common(sections, "image")
    for section in sections:
        _drop_defaults(draft, section)
    topology: Section = {
        "version": 1,
        "name": draft.name,
        "image": image if image != "bananas-worker:latest" else None,
        "build": draft.build,
        "handlers": draft.handlers or ["jobs"],
        "redis": _redis(draft),
        "logging": _take_logging(draft),
        "defaults": _take_defaults(draft),
        "jobs": draft.jobs,
        "pools": {name: _ordered(pool) for name, pool in draft.pools.items()},
        "scheduler": None if draft.scheduler is None else _ordered(draft.scheduler),
        "schedules": draft.schedules,
        "api": None if draft.api is None else _ordered(draft.api),
        "kubernetes": _kubernetes(draft),
    }
    kept = ("pools", "scheduler", "api")
    return {
        name: value
        for name, value in topology.items()
        if (value not in (None, "", {}, [])) or (name in kept and value is not None)
    }


def _sections(draft: Draft) -> Iterator[Section]:
    yield from draft.pools.values()
    if draft.scheduler is not None:
        yield draft.scheduler
    if draft.api is not None:
        yield draft.api


def _take_common(sections: list[Section], key: str) -> Any:
    """Take a value out of all sections that have the commonest one; returns it."""
    counts = Counter(section[key] for section in sections if key in section)
    if not counts:
        return None
    common, _ = counts.most_common(1)[0]
    for section in sections:
        if section.get(key) == common:
            del section[key]
    return common


def _drop_defaults(draft: Draft, section: Section) -> None:
    """Take out what the section says by saying nothing."""
    mode = section.get("mode", "default")
    concurrency = _PRESET_CONCURRENCY.get(mode, WorkerConfig().concurrency)
    has_scheduler = mode == "thin" or (mode == "default" and draft.scheduler is None)
    replicas = get_path(section, "autoscale", "min") or 1
    defaults: dict[tuple[str, ...], Any] = {
        **POOL_DEFAULTS,
        ("concurrency",): concurrency,
        ("scheduler",): has_scheduler,
        ("replicas",): replicas,
        ("interval",): "1s",
        ("grace",): format_duration(_grace_ms(draft, section)),
        ("port",): 8080,
        ("service_type",): "ClusterIP",
        ("autoscale", "scale_up", "window"): "0s",
        ("autoscale", "scale_up", "period"): "30s",
        ("autoscale", "scale_up", "select"): "max",
        ("autoscale", "scale_down", "window"): "5m",
        ("autoscale", "scale_down", "period"): "1m",
        ("autoscale", "scale_down", "select"): "max",
    }
    if mode != "specialized":
        defaults["priorities",] = list(PRIORITIES)
    for path, default in defaults.items():
        # Retries and time-outs wait until it is known what most pools say of them.
        if get_path(section, *path) == default and path not in _SHARED:
            _remove(section, path)
    for direction, (kind, number) in _STEPS.items():
        step = get_path(section, "autoscale", direction) or {}
        if step.get(kind) == number and len(step.keys() & {"percent", "pods"}) == 1:
            _remove(section, ("autoscale", direction, kind))


def _grace_ms(draft: Draft, section: Section) -> int:
    """How long a stop waits where the topology does not say it: as long as its longest job."""
    timeouts = [section.get("job_timeout", POOL_DEFAULTS["job_timeout",])]
    timeouts += [job["timeout"] for job in draft.jobs.values() if "timeout" in job]
    return max(_LEAST_GRACE_MS, *(parse_duration_ms(each) for each in timeouts if "$" not in each))


def _take_logging(draft: Draft) -> Section:
    """What all sections say of logging alike, taken out of them."""
    common: Section = {}
    sections = [section for section in _sections(draft) if section is not draft.api]
    for key in ("level", "format", "color", "console"):
        values = [get_path(section, "logging", key) for section in sections]
        if values and values[0] is not None and all(value == values[0] for value in values):
            common[key] = values[0]
            for section in _sections(draft):
                if get_path(section, "logging", key) == values[0]:
                    _remove(section, ("logging", key))
    return common


def _take_defaults(draft: Draft) -> Section:
    """What most pools say alike, taken out of those that do."""
    shared: Section = {}
    pools = list(draft.pools.values())
    for (key,) in _SHARED:
        fallback = "default" if key == "mode" else POOL_DEFAULTS.get((key,))
        values = [pool.get(key, fallback) for pool in pools]
        counts = Counter(json.dumps(value, sort_keys=True) for value in values)
        text, count = counts.most_common(1)[0]
        common = json.loads(text)
        if len(pools) > 1 and count * 2 > len(pools) and common != fallback:
            shared[key] = common
        for pool, value in zip(pools, values, strict=True):
            if value == shared.get(key, fallback):
                pool.pop(key, None)
            elif key in shared or value != fallback:
                pool[key] = value if value is not None else {}
    return shared


def _redis(draft: Draft) -> Section:
    """The server, without what it is anyway."""
    if draft.redis.get("key_prefix") == WorkerConfig().key_prefix:
        del draft.redis["key_prefix"]
    for path, default in _REDIS_DEFAULTS.items():
        if get_path(draft.redis, *path) == default:
            _remove(draft.redis, path)
    return {key: value for key, value in draft.redis.items() if value}


def _kubernetes(draft: Draft) -> Section:
    """What only Kubernetes needs to know, without what it is anyway."""
    defaults = {"namespace": draft.name, "secret": f"{draft.name}-secrets", "autoscaler": "hpa"}
    return {key: value for key, value in draft.kubernetes.items() if defaults.get(key) != value}


def _remove(section: Section, path: tuple[str, ...]) -> None:
    """Take out the value at a path, and what is empty without it."""
    *parents, last = path
    chain = [section]
    for name in parents:
        below = chain[-1].get(name)
        if not isinstance(below, dict):
            return
        chain.append(below)
    chain[-1].pop(last, None)
    for above, name in reversed(list(zip(chain, parents, strict=False))):
        if not above[name]:
            del above[name]


def _ordered(section: Section) -> Section:
    """A section's keys as a person reads them; those that are not known to us come last."""
    if "resources" in section:
        section["resources"] = _in_order(section["resources"], ("requests", "limits"))
    if "autoscale" in section:
        section["autoscale"] = _in_order(section["autoscale"], _AUTOSCALE_ORDER)
        for direction in _STEPS.keys() & section["autoscale"].keys():
            step = section["autoscale"][direction]
            section["autoscale"][direction] = _in_order(step, _STEP_ORDER)
    return _in_order(section, _POOL_ORDER)


def _in_order(section: Section, order: tuple[str, ...]) -> Section:
    known = [key for key in order if key in section]
    return {key: section[key] for key in (*known, *(each for each in section if each not in known))}
