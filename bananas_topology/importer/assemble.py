"""The draft as people write topologies: common values in `defaults`, default values omitted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from bananas_topology.contract.names import API, SCHEDULER
from bananas_topology.contract.settings import POOL
from bananas_topology.contract.values import PRESETS, PRIORITIES, Mode
from bananas_topology.contract.worker import WORKER_SETTINGS, WorkerConfig
from bananas_topology.importer.draft import Draft, Section, get_path
from bananas_topology.spec.schema import defaults_of, definition, schema
from bananas_topology.units import format_duration, parse_duration_ms

#: Settings that `defaults` may have: the same for most pools, and not what identifies a pool.
_SHARED = tuple(
    each for each in WORKER_SETTINGS
    if each.path_in(POOL) == (each.path,) and not each.is_identity and not each.when_unset
)  # fmt: skip

#: What an autoscaler does by default, in each direction.
_STEPS = {"scale_up": ("percent", 100), "scale_down": ("pods", 1)}


def assemble(draft: Draft) -> Section:
    """Make the mapping of a topology, in the order in which it is written, without defaults."""
    image = _take_common([section for section, _ in _sections(draft)], "image")
    for section, part in _sections(draft):
        _drop_defaults(draft, section, part)
    topology: Section = {
        "version": 1,
        "name": draft.name,
        "image": image if image != schema()["properties"]["image"]["default"] else None,
        "build": draft.build,
        "handlers": draft.handlers or ["jobs"],
        "redis": _redis(draft),
        "logging": _take_logging(draft),
        "defaults": _take_defaults(draft),
        "jobs": draft.jobs,
        "pools": draft.pools,
        "scheduler": draft.scheduler,
        "schedules": draft.schedules,
        "api": draft.api,
        "kubernetes": _kubernetes(draft),
    }
    kept = ("pools", "scheduler", "api")
    given = {
        name: value
        for name, value in topology.items()
        if (value not in (None, "", {}, [])) or (name in kept and value is not None)
    }
    return _in_schema_order(given, schema())


def _sections(draft: Draft) -> Iterator[tuple[Section, dict[str, Any]]]:
    """Each section of processes, with its part of the schema."""
    definitions = schema()["$defs"]
    for pool in draft.pools.values():
        yield pool, definitions[POOL]
    if draft.scheduler is not None:
        yield draft.scheduler, definitions[SCHEDULER]
    if draft.api is not None:
        yield draft.api, definitions[API]


def _take_common(sections: list[Section], key: str) -> Any:
    """Take a value out of all sections that have the most common one, and return it."""
    counts = Counter(section[key] for section in sections if key in section)
    if not counts:
        return None
    common, _ = counts.most_common(1)[0]
    for section in sections:
        if section.get(key) == common:
            del section[key]
    return common


def _drop_defaults(draft: Draft, section: Section, part: dict[str, Any]) -> None:
    """Remove values that are the default."""
    mode = Mode(section["mode"]) if section.get("mode") in tuple(Mode) else Mode.DEFAULT
    preset = PRESETS[mode]
    has_scheduler = preset.has_scheduler
    if has_scheduler is None:
        has_scheduler = draft.scheduler is None
    defaults: dict[tuple[str, ...], Any] = {
        **defaults_of(part),
        ("concurrency",): preset.concurrency,
        ("scheduler",): has_scheduler,
        ("replicas",): get_path(section, "autoscale", "min") or 1,
        ("grace",): format_duration(_grace_ms(draft, section)),
        ("logging", "format"): WorkerConfig().log_format,
    }
    if mode is not Mode.SPECIALIZED:
        defaults["priorities",] = list(PRIORITIES)
    # These are left until it is known which value most pools have.
    undecided = [("mode",), *(each.path_in(POOL) for each in _SHARED)]
    for path, default in defaults.items():
        if get_path(section, *path) == default and path not in undecided:
            _remove(section, path)
    for direction, (kind, number) in _STEPS.items():
        step = get_path(section, "autoscale", direction) or {}
        if step.get(kind) == number and len(step.keys() & {"percent", "pods"}) == 1:
            _remove(section, ("autoscale", direction, kind))


def _grace_ms(draft: Draft, section: Section) -> int:
    """How long a stop waits by default: as long as the longest job."""
    config = WorkerConfig()
    timeouts = [section.get("job_timeout", format_duration(config.job_timeout_ms))]
    timeouts += [job["timeout"] for job in draft.jobs.values() if "timeout" in job]
    known = [parse_duration_ms(each) for each in timeouts if "$" not in each]
    return max([config.grace_ms, *known])


def _take_logging(draft: Draft) -> Section:
    """Take the logging settings that all sections share out of them, and return them."""
    common: Section = {}
    sections = [section for section, _ in _sections(draft)]
    workers = [section for section in sections if section is not draft.api]
    for key in definition(schema()["properties"]["logging"])["properties"].keys() - {"file"}:
        values = [get_path(section, "logging", key) for section in workers]
        if values and values[0] is not None and all(value == values[0] for value in values):
            common[key] = values[0]
            for section in sections:
                if get_path(section, "logging", key) == values[0]:
                    _remove(section, ("logging", key))
    return common


def _take_defaults(draft: Draft) -> Section:
    """Take the values that most pools share out of them, and return them."""
    shared: Section = {}
    pools = list(draft.pools.values())
    workers = [pool for pool in pools if pool.get("mode") != Mode.SCHEDULER_ONLY]
    _take_shared(pools, "mode", shared)
    for setting in _SHARED:
        _take_shared(workers if setting.is_for_jobs else pools, setting.path, shared)
    for key in ("env", "secrets"):
        _take_shared(pools, key, shared)
    return shared


def _take_shared(pools: list[Section], key: str, shared: Section) -> None:
    """Move the value that most pools have to `shared`; others keep theirs, or get the default."""
    if not pools:
        return
    default = defaults_of(schema()["$defs"][POOL]).get((key,))
    values = [pool.get(key, default) for pool in pools]
    counts = Counter(json.dumps(value, sort_keys=True) for value in values)
    text, count = counts.most_common(1)[0]
    common = json.loads(text)
    if len(pools) > 1 and count * 2 > len(pools) and common != default:
        shared[key] = common
    for pool, value in zip(pools, values, strict=True):
        if value == shared.get(key, default):
            pool.pop(key, None)
        elif key in shared or value != default:
            pool[key] = value if value is not None else {}


def _redis(draft: Draft) -> Section:
    """The server, without defaults."""
    for path, default in defaults_of(schema()["$defs"]["redis"]).items():
        if get_path(draft.redis, *path) == default:
            _remove(draft.redis, path)
    return {key: value for key, value in draft.redis.items() if value}


def _kubernetes(draft: Draft) -> Section:
    """The settings of Kubernetes, without defaults."""
    defaults = {
        **defaults_of(schema()["$defs"]["kubernetes"]),
        ("namespace",): draft.name,
        ("secret",): f"{draft.name}-secrets",
    }
    return {key: each for key, each in draft.kubernetes.items() if defaults.get((key,)) != each}


def _remove(section: Section, path: tuple[str, ...]) -> None:
    """Remove the value at a path, and what is empty without it."""
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


def _in_schema_order(section: Section, part: dict[str, Any]) -> Section:
    """A section with its fields in the order of the schema, all the way down."""
    part = definition(part)
    properties = part.get("properties", {})
    known = [name for name in properties if name in section]
    others = [name for name in section if name not in properties]
    rest = part.get("additionalProperties") or {}
    return {
        name: _in_schema_order(section[name], properties.get(name, rest))
        if isinstance(section[name], dict)
        else section[name]
        for name in (*known, *others)
    }
