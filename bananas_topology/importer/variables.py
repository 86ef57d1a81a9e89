"""A worker's environment variables, back into the fields of a topology that they come from."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from bananas_topology.contract.api import API_VARIABLES, SHARED_VARIABLES
from bananas_topology.contract.worker import VARIABLES
from bananas_topology.importer.draft import Draft, Section, put
from bananas_topology.importer.source import EnvironmentFields, Field
from bananas_topology.units import format_duration, parse_duration_ms

_BY_NAME = {variable.name: variable for variable in (*API_VARIABLES, *VARIABLES)}


def _bool(text: str) -> bool:
    return text.lower() in ("1", "t", "true")


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _duration(text: str) -> str:
    return format_duration(parse_duration_ms(text))


#: Variable to field of a pool, and how its text becomes the field's value.
_POOL_FIELDS: dict[str, tuple[tuple[str, ...], Callable[[str], Any]]] = {
    "WORKER_MODE": (("mode",), str),
    "WORKER_CONCURRENCY": (("concurrency",), int),
    "WORKER_PRIORITIES": (("priorities",), _items),
    "WORKER_JOB_TYPES": (("job_types",), _items),
    "ENABLE_SCHEDULER": (("scheduler",), _bool),
    "SCHEDULER_INTERVAL": (("scheduler_interval",), _duration),
    "JOB_TIMEOUT": (("job_timeout",), _duration),
    "MAX_RETRIES": (("max_retries",), int),
    "WORKER_MAX_CRASHES": (("max_crashes",), int),
    "WORKER_LEASE": (("lease",), _duration),
    "WORKER_GRACE": (("grace",), _duration),
    "RESULT_BACKEND_ENABLED": (("results", "enabled"), _bool),
    "RESULT_BACKEND_TTL_SUCCESS": (("results", "ttl_success"), _duration),
    "RESULT_BACKEND_TTL_FAILURE": (("results", "ttl_failure"), _duration),
    "LOG_LEVEL": (("logging", "level"), str),
    "LOG_FORMAT": (("logging", "format"), str),
    "LOG_COLOR": (("logging", "color"), _bool),
    "LOG_CONSOLE_ENABLED": (("logging", "console"), _bool),
    "LOG_FILE_ENABLED": (("logging", "file", "enabled"), _bool),
    "LOG_FILE_PATH": (("logging", "file", "path"), str),
    "LOG_FILE_MAX_SIZE_MB": (("logging", "file", "max_size_mb"), int),
    "LOG_FILE_MAX_BACKUPS": (("logging", "file", "max_backups"), int),
    "LOG_FILE_MAX_AGE_DAYS": (("logging", "file", "max_age_days"), int),
    "LOG_FILE_COMPRESS": (("logging", "file", "compress"), _bool),
}

#: The same of the one variable that only the api has.
_PORT_FIELD: tuple[tuple[str, ...], Callable[[str], Any]] = (("port",), int)

#: Variables that every rendering makes by itself.
_RENDERED = {
    "WORKER_ID": "each replica gets its own",
    "WORKER_POOL": "the pool's name",
    "METRICS_PORT": "rendered workers always serve their metrics",
    "LIVENESS_FILE": "rendered where a health check needs it",
    "API_TOKEN": "always by secret reference",
}


#: What a pool says by saying nothing, path by path; the mode's presets are not among them.
POOL_DEFAULTS: dict[tuple[str, ...], Any] = {
    path: convert(_BY_NAME[name].default_text)
    for name, (path, convert) in _POOL_FIELDS.items()
    if path[0] not in ("mode", "concurrency", "priorities", "job_types", "scheduler")
}

#: Of a worker's fields, those that a scheduler has as well.
_SCHEDULER_FIELDS = ("logging", "scheduler_interval")


#: Variables that only a worker has.
_WORKERS_OWN = ("WORKER_MODE", "WORKER_CONCURRENCY", "WORKER_PRIORITIES", "WORKER_HANDLERS")


def is_worker(environment: EnvironmentFields) -> bool:
    """Whether these are the variables of a worker."""
    return any(name in environment for name in _WORKERS_OWN)


def is_scheduler(environment: EnvironmentFields) -> bool:
    """Whether this worker is a scheduler and nothing else."""
    text, _ = environment.get("WORKER_MODE", ("", None))
    return text == "scheduler-only"


def apply_scheduler(draft: Draft, section: Section, environment: EnvironmentFields) -> None:
    """Write a scheduler's variables into the section `scheduler`."""
    for name, (text, source) in environment.items():
        if name in ("WORKER_MODE", "ENABLE_SCHEDULER"):
            source.translate("the section `scheduler`")
        elif name in _POOL_FIELDS and _POOL_FIELDS[name][0][0] not in _SCHEDULER_FIELDS:
            if text in ("0", _BY_NAME[name].default_text):
                source.keep()
            else:
                source.drop("a scheduler runs no jobs")
        else:
            apply_worker(draft, section, {name: (text, source)})
    if "scheduler_interval" in section:
        section["interval"] = section.pop("scheduler_interval")


def apply_worker(draft: Draft, section: Section, environment: EnvironmentFields) -> None:
    """Write a worker's variables into its pool, and what all workers share into the draft."""
    for name, (text, source) in environment.items():
        if name in _POOL_FIELDS:
            _put_checked(section, name, text, source)
        elif not _apply_shared(draft, name, text, source):
            put(section, ("env", name), text, source)


def apply_api(draft: Draft, section: Section, environment: EnvironmentFields) -> None:
    """Write the api's variables into its section."""
    for name, (text, source) in environment.items():
        if name == "API_PORT" or (name in SHARED_VARIABLES and name in _POOL_FIELDS):
            _put_checked(section, name, text, source)
        elif name in _POOL_FIELDS:
            source.drop("a worker's variable; the api has no use for it")
        elif not _apply_shared(draft, name, text, source):
            put(section, ("env", name), text, source)


def pool_name(environment: EnvironmentFields, otherwise: str) -> str:
    """What a pool is called: as its workers are told, or as the file calls it."""
    text, _ = environment.get("WORKER_POOL", ("", None))
    return text or otherwise


def _put_checked(section: Section, name: str, text: str, source: Field) -> None:
    """Write a variable that the contract takes; one that it refuses was a mistake."""
    path, convert = _PORT_FIELD if name == "API_PORT" else _POOL_FIELDS[name]
    if "$" in text:
        put(section, path, text, source)
        return
    try:
        _BY_NAME[name].read(text)
        put(section, path, convert(text), source)
    except ValueError as error:
        source.mark_mistake(f"the contract refuses it: {error}; the default is there instead")


def _apply_shared(draft: Draft, name: str, text: str, source: Field) -> bool:
    """Write what is not of one pool alone; False when the variable is nothing of ours."""
    if name in _RENDERED:
        source.translate(_RENDERED[name])
    elif name == "WORKER_HANDLERS":
        modules = _items(text)
        draft.handlers += [module for module in modules if module not in draft.handlers]
        source.keep()
    elif name == "REDIS_KEY_PREFIX":
        put(draft.redis, ("key_prefix",), text, source)
    elif name == "REDIS_URL":
        _apply_redis_url(draft, text, source)
    elif name == "WORKER_JOBS":
        _apply_json(text, source, lambda jobs: draft.jobs.update(_jobs(jobs)))
    elif name == "WORKER_SCHEDULES":
        _apply_json(text, source, draft.schedules.update)
    else:
        return False
    return True


def _apply_redis_url(draft: Draft, text: str, source: Field) -> None:
    host = text.partition("://")[2].rpartition("@")[2].partition(":")[0].partition("/")[0]
    if draft.has_managed_redis and (host == "redis" or host.endswith(("-redis", "_redis"))):
        source.translate("the managed Redis of the topology")
    elif "@" in text and "$" not in text:
        put(draft.redis, ("url",), "${REDIS_URL}", None)
        source.mark_mistake("a password in clear; REDIS_URL comes by secret reference instead")
    else:
        put(draft.redis, ("url",), "${REDIS_URL}" if "$" in text else text, source)


def _apply_json(text: str, source: Field, take: Callable[[Section], object]) -> None:
    try:
        value = json.loads(text)
        take(value)
    except (ValueError, TypeError, AttributeError) as error:
        source.mark_mistake(f"the contract refuses it: {error}; it is left out")
    else:
        source.keep()


def _jobs(limits: Section) -> Section:
    """Per-job settings as the topology writes them: with a `backoff` of their own."""
    jobs: Section = {}
    for name, entry in limits.items():
        jobs[name] = {key: value for key, value in entry.items() if "backoff" not in key}
        for bound in ("base", "cap"):
            if f"backoff_{bound}" in entry:
                jobs[name].setdefault("backoff", {})[bound] = entry[f"backoff_{bound}"]
    return jobs
