"""Environment variables of workers and of the api, back into the fields of a topology."""

from __future__ import annotations

import json
from collections.abc import Callable

from bananas_topology.contract.api import API_SETTINGS
from bananas_topology.contract.kinds import Kind, split_list
from bananas_topology.contract.names import API, SCHEDULER
from bananas_topology.contract.settings import POOL
from bananas_topology.contract.values import Mode
from bananas_topology.contract.worker import WORKER_SETTINGS
from bananas_topology.importer.draft import Draft, Section, put
from bananas_topology.importer.source import EnvironmentFields, Field

_SETTINGS = {each.variable: each for each in (*WORKER_SETTINGS, *API_SETTINGS)}

_CREDENTIALS = "credentials are rendered as files"

#: Where the value of a variable comes from that has no field in a topology.
_RENDERED = {
    "WORKER_ID": "each replica gets its own",
    "WORKER_POOL": "the pool's name",
    "METRICS_PORT": "rendered workers always serve their metrics",
    "LIVENESS_FILE": "rendered where a health check needs it",
    "API_TOKEN": _CREDENTIALS,
    "API_TOKEN_FILE": _CREDENTIALS,
    "REDIS_PASSWORD_FILE": _CREDENTIALS,
}

#: Variables by which a worker is recognized.
_WORKERS_OWN = ("WORKER_MODE", "WORKER_CONCURRENCY", "WORKER_PRIORITIES", "WORKER_HANDLERS")


def is_worker(environment: EnvironmentFields) -> bool:
    """Whether these are the variables of a worker."""
    return any(name in environment for name in _WORKERS_OWN)


def is_scheduler(environment: EnvironmentFields) -> bool:
    """Whether this worker is a scheduler and nothing else."""
    text, _ = environment.get("WORKER_MODE", ("", None))
    return text == Mode.SCHEDULER_ONLY


def apply_scheduler(draft: Draft, section: Section, environment: EnvironmentFields) -> None:
    """Write a scheduler's variables into the section `scheduler`."""
    for name, (text, source) in environment.items():
        setting = _SETTINGS.get(name)
        if name in ("WORKER_MODE", "ENABLE_SCHEDULER"):
            source.translate("the section `scheduler`")
        elif setting and (path := setting.path_in(SCHEDULER)):
            _put_checked(section, path, setting.kind, text, source)
        elif setting and setting.path_in(POOL):
            if text in ("0", setting.default_text):
                source.keep()
            else:
                source.drop("a scheduler runs no jobs")
        else:
            _apply_other(draft, section, name, text, source)


def apply_worker(draft: Draft, section: Section, environment: EnvironmentFields) -> None:
    """Write a worker's variables into its pool, and what all workers share into the draft."""
    for name, (text, source) in environment.items():
        setting = _SETTINGS.get(name)
        if setting and (path := setting.path_in(POOL)):
            _put_checked(section, path, setting.kind, text, source)
        else:
            _apply_other(draft, section, name, text, source)


def apply_api(draft: Draft, section: Section, environment: EnvironmentFields) -> None:
    """Write the api's variables into its section."""
    for name, (text, source) in environment.items():
        setting = _SETTINGS.get(name)
        if setting and (path := setting.path_in(API)):
            _put_checked(section, path, setting.kind, text, source)
        elif setting and setting.path_in(POOL):
            source.drop("a worker's variable; the api has no use for it")
        else:
            _apply_other(draft, section, name, text, source)


def pool_name(environment: EnvironmentFields, otherwise: str) -> str:
    """The name of a pool: from its workers' variables, or `otherwise`."""
    text, _ = environment.get("WORKER_POOL", ("", None))
    return text or otherwise


def _put_checked(
    section: Section, path: tuple[str, ...], kind: Kind, text: str, source: Field
) -> None:
    """Write a variable that is valid, or interpolated; one that is invalid was a mistake."""
    if "$" in text:
        put(section, path, text, source)
        return
    try:
        put(section, path, kind.to_topology(kind.read(text)), source)
    except ValueError as error:
        source.mark_mistake(f"not a valid value: {error}; replaced by the default")


def _apply_other(draft: Draft, section: Section, name: str, text: str, source: Field) -> None:
    """Write a variable that is no setting of one section."""
    setting = _SETTINGS.get(name)
    if name == "WORKER_HANDLERS":
        draft.handlers += [each for each in split_list(text) if each not in draft.handlers]
        source.keep()
    elif name == "REDIS_KEY_PREFIX":
        put(draft.redis, ("key_prefix",), text, source)
    elif name == "REDIS_URL":
        _apply_redis_url(draft, text, source)
    elif name == "REDIS_URL_FILE":
        put(draft.redis, ("url",), "${REDIS_URL}", None)
        source.translate(_CREDENTIALS)
    elif name == "WORKER_JOBS":
        _apply_json(text, source, lambda jobs: draft.jobs.update(_jobs(jobs)))
    elif name == "WORKER_SCHEDULES":
        _apply_json(text, source, draft.schedules.update)
    elif setting and not setting.path:
        source.translate(_RENDERED.get(name, "set where the process is started"))
    else:
        put(section, ("env", name), text, source)


def _apply_redis_url(draft: Draft, text: str, source: Field) -> None:
    host = text.partition("://")[2].rpartition("@")[2].partition(":")[0].partition("/")[0]
    if draft.has_managed_redis and (host == "redis" or host.endswith(("-redis", "_redis"))):
        source.translate("the managed Redis of the topology")
    elif "@" in text and "$" not in text:
        put(draft.redis, ("url",), "${REDIS_URL}", None)
        source.mark_mistake("password in plain text; REDIS_URL becomes a secret reference")
    else:
        put(draft.redis, ("url",), "${REDIS_URL}" if "$" in text else text, source)


def _apply_json(text: str, source: Field, take: Callable[[Section], object]) -> None:
    try:
        value = json.loads(text)
        take(value)
    except (ValueError, TypeError, AttributeError) as error:
        source.mark_mistake(f"not a valid value: {error}; left out")
    else:
        source.keep()


def _jobs(limits: Section) -> Section:
    """Per-job settings as the topology has them: with a section `backoff`."""
    jobs: Section = {}
    for name, entry in limits.items():
        jobs[name] = {key: value for key, value in entry.items() if "backoff" not in key}
        for bound in ("base", "cap"):
            if f"backoff_{bound}" in entry:
                jobs[name].setdefault("backoff", {})[bound] = entry[f"backoff_{bound}"]
    return jobs
