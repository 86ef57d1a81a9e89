"""Environment variables of workers and of the api, back into the fields of a topology."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from bananas_topology.contract.api import API_SETTINGS
from bananas_topology.contract.kinds import boolean, split_list
from bananas_topology.contract.names import API, SCHEDULER
from bananas_topology.contract.settings import POOL, Setting
from bananas_topology.contract.values import PRESETS, Mode, is_without_effect
from bananas_topology.contract.worker import WORKER_SETTINGS
from bananas_topology.importer.draft import Draft, Section, has_variable, put
from bananas_topology.importer.redis_server import put_unknown_url, put_url
from bananas_topology.importer.source import EnvironmentFields, Field
from bananas_topology.spec.interpolation import BadSyntax, NotSet, interpolate

_SETTINGS = {each.variable: each for each in (*WORKER_SETTINGS, *API_SETTINGS)}

_METRICS_PORT = "6061"
_CREDENTIALS = "credentials are rendered as files"

#: Where the value of a variable comes from that has no field in a topology.
_RENDERED = {
    "WORKER_ID": "each replica gets its own",
    "WORKER_POOL": "the pool's name",
    "METRICS_PORT": "rendered workers serve their metrics there",
    "LIVENESS_FILE": "rendered where a health check needs it",
    "API_POOLS": "the replicas of the pools",
    "API_TOKEN": _CREDENTIALS,
    "API_TOKEN_FILE": _CREDENTIALS,
    "REDIS_PASSWORD_FILE": _CREDENTIALS,
    "RESULT_BACKEND_ENABLED": "`keep` says how long results are kept",
}

#: A text that is one variable: its name, and its default.
_VARIABLE = re.compile(
    r"\$(?:\{(?P<name>[A-Za-z_]\w*)(?::?-(?P<default>.*))?\}|(?P<bare>[A-Za-z_]\w*))", re.DOTALL
)

#: How long results are kept: variable to field of `keep`.
_RESULTS = {"RESULT_BACKEND_TTL_SUCCESS": "results", "RESULT_BACKEND_TTL_FAILURE": "errors"}

#: Modes that have no job types: the Go version ignores the variable in these.
_WITHOUT_JOB_TYPES = tuple(mode for mode in Mode if mode is not Mode.JOB_SPECIALIZED)

#: Variables by which a worker is recognized.
_WORKERS_OWN = ("WORKER_MODE", "WORKER_CONCURRENCY", "WORKER_PRIORITIES", "WORKER_HANDLERS")


def is_setting(variable: str) -> bool:
    """Whether a variable is set by the topology, so that `env` cannot have it."""
    return variable in _SETTINGS


def is_worker(environment: EnvironmentFields) -> bool:
    """Whether these are the variables of a worker."""
    return any(name in environment for name in _WORKERS_OWN)


def is_scheduler(environment: EnvironmentFields) -> bool:
    """Whether this worker is a scheduler and nothing else."""
    text, _ = environment.get("WORKER_MODE", ("", None))
    return text == Mode.SCHEDULER_ONLY


def apply_scheduler(
    draft: Draft, section: Section, environment: EnvironmentFields, owner: str = SCHEDULER
) -> None:
    """Write a scheduler's variables into the section `scheduler`, or into a pool."""
    for name, (text, source) in environment.items():
        setting = _SETTINGS.get(name)
        if name in ("WORKER_MODE", "ENABLE_SCHEDULER"):
            source.translate("the section `scheduler`" if owner == SCHEDULER else "`mode`")
        elif setting and setting.path_in(SCHEDULER):
            _put_checked(section, setting.path_in(owner), setting, text, source)
        elif setting and setting.path_in(POOL):
            if text in ("0", setting.default_text):
                source.keep()
            else:
                source.drop("a scheduler runs no jobs")
        else:
            _apply_other(draft, section, name, text, source)


def apply_worker(draft: Draft, section: Section, environment: EnvironmentFields) -> None:
    """Write a worker's variables into its pool, and what all workers share into the draft."""
    without_results = _apply_results(section, environment)
    # The defaults of other variables depend on the mode.
    for name, (text, source) in sorted(environment.items(), key=lambda it: it[0] != "WORKER_MODE"):
        setting = _SETTINGS.get(name)
        if without_results and name in _RESULTS:
            source.drop("no results are stored")
        elif name == "WORKER_JOB_TYPES" and section.get("mode", Mode.DEFAULT) in _WITHOUT_JOB_TYPES:
            source.drop("has an effect in mode job-specialized only")
        elif setting and (path := setting.path_in(POOL)):
            _put_checked(section, path, setting, text, source)
        else:
            _apply_other(draft, section, name, text, source)
    if section.get("mode") == Mode.SPECIALIZED and "priorities" not in section:
        # What the Go version took in this case; here it is required.
        section["priorities"] = ["high"]
        draft.notices.append(
            'a specialized worker names no priorities: "high", as in the Go version'
        )


def apply_api(draft: Draft, section: Section, environment: EnvironmentFields) -> None:
    """Write the api's variables into its section."""
    for name, (text, source) in environment.items():
        setting = _SETTINGS.get(name)
        if setting and (path := setting.path_in(API)):
            _put_checked(section, path, setting, text, source)
        elif name in ("API_READ_TOKEN", "API_READ_TOKEN_FILE"):
            put(section, ("secrets",), ["API_READ_TOKEN"], None)
            source.translate("`api.secrets`; rendered as the variable API_READ_TOKEN")
        elif setting and setting.path_in(POOL):
            source.drop("a worker's variable, which the api does not use")
        else:
            _apply_other(draft, section, name, text, source)


def pool_name(environment: EnvironmentFields, otherwise: str) -> str:
    """The name of a pool: from its workers' variables, or `otherwise`."""
    text, _ = environment.get("WORKER_POOL", ("", None))
    return text or otherwise


def _put_checked(
    section: Section, path: tuple[str, ...], setting: Setting, text: str, source: Field
) -> None:
    """Write a variable that is valid, or interpolated; one that is invalid was a mistake."""
    is_list = setting.kind.schema.get("type") == "array"
    try:
        if not has_variable(text):
            value = setting.kind.to_topology(setting.kind.read(text.replace("$$", "$")))
            put(section, path, _escaped(value), source)
        elif is_list:
            _put_default_of_list(section, path, setting, text, source)
        elif _is_valid_unset(setting, written := _with_default(setting, section, text)):
            put(section, path, written, source)
        else:
            source.drop("not a valid value while the variable is not set; replaced by the default")
    except ValueError as error:
        source.mark_mistake(f"not a valid value: {error}; replaced by the default")


def _is_valid_unset(setting: Setting, text: str) -> bool:
    """Whether a text has a valid value if no variable is set, or needs one that is set."""
    try:
        setting.kind.read(interpolate(text, {}))
    except NotSet:
        return True
    except (BadSyntax, ValueError):
        return False
    return True


def _with_default(setting: Setting, section: Section, text: str) -> str:
    """A variable with a default as a topology writes it: without one, it would have to be set.

    Raises:
        ValueError: the default is not valid.
    """
    match = _VARIABLE.fullmatch(text)
    if match is None:
        return text
    name = match["name"] or match["bare"]
    default = match["default"] or _default_text(setting, section)
    if default and _VARIABLE.fullmatch(default):
        return f"${{{name}:-{_with_default(setting, section, default)}}}"
    if default == "" or "$" in default:
        return text
    value = setting.kind.to_topology(setting.kind.read(default))
    written = str(value).lower() if isinstance(value, bool) else value
    return f"${{{name}:-{written}}}"


def _default_text(setting: Setting, section: Section) -> str:
    """The default of a variable; that of some depends on the mode."""
    mode = section.get("mode", Mode.DEFAULT)
    preset = PRESETS[Mode(mode) if mode in tuple(Mode) else Mode.DEFAULT]
    if setting.name == "concurrency":
        return str(preset.concurrency)
    if setting.name == "enable_scheduler":
        return "false" if preset.has_scheduler is False else "true"
    return "" if setting.when_unset else setting.default_text


def _put_default_of_list(
    section: Section, path: tuple[str, ...], setting: Setting, text: str, source: Field
) -> None:
    """Write the default of a variable with a list, which a variable cannot be in a topology."""
    match = _VARIABLE.fullmatch(text)
    default = match["default"] if match else None
    if not default or "$" in default:
        source.drop("a topology writes each name; a variable cannot be a list")
        return
    put(section, path, setting.kind.to_topology(setting.kind.read(default)), None)
    source.drop("replaced by its default: a variable cannot be a list in a topology")


def _escaped(value: Any) -> Any:
    return value.replace("$", "$$") if isinstance(value, str) else value


def _apply_other(draft: Draft, section: Section, name: str, text: str, source: Field) -> None:
    """Write a variable that is no setting of one section."""
    setting = _SETTINGS.get(name)
    if is_without_effect(name):
        source.drop("has no effect: only the Go version reads it")
    elif name == "WORKER_HANDLERS":
        _apply_handlers(draft, text, source)
    elif setting and name == "REDIS_KEY_PREFIX":
        _put_checked(draft.redis, ("key_prefix",), setting, text, source)
    elif name == "REDIS_URL":
        put_url(draft, text, source)
    elif name == "REDIS_URL_FILE":
        put_unknown_url(draft)
        source.translate(_CREDENTIALS)
    elif name == "WORKER_JOBS":
        _apply_json(setting, text, source, lambda jobs: draft.jobs.update(_jobs(jobs)))
    elif name == "WORKER_SCHEDULES":
        _apply_json(setting, text, source, draft.schedules.update)
    elif name == "METRICS_PORT" and text != _METRICS_PORT:
        source.drop(f"rendered workers serve their metrics at port {_METRICS_PORT}")
    elif setting and not setting.path:
        source.translate(_RENDERED.get(name, "set where the process is started"))
    else:
        put(section, ("env", name), text, source)


def _apply_handlers(draft: Draft, text: str, source: Field) -> None:
    """Add the modules of handlers; a variable may be one of them, but not several."""
    if match := _VARIABLE.fullmatch(text):
        default = match["default"]
        modules = [text] if default is None or "$" in default else split_list(default)
        if len(modules) == 1:
            modules = [text]
            source.keep()
        else:
            source.drop("replaced by its default: a variable cannot be a list in a topology")
    else:
        modules = split_list(text)
        source.keep()
    draft.handlers += [each for each in modules if each not in draft.handlers]


def _apply_results(section: Section, environment: EnvironmentFields) -> bool:
    """Write that no results are stored, if that is so; returns whether it is."""
    if "RESULT_BACKEND_ENABLED" not in environment:
        return False
    text, source = environment["RESULT_BACKEND_ENABLED"]
    if match := _VARIABLE.fullmatch(text):
        text = match["default"] or "true"
        source.drop("replaced by its default: `keep` says how long results are kept")
    try:
        is_on = boolean().read(text)
    except ValueError as error:
        source.mark_mistake(f"not a valid value: {error}; replaced by the default")
        return False
    if is_on:
        source.keep()
        return False
    for key in _RESULTS.values():
        put(section, ("keep", key), 0, source, "`keep`: no results and no errors")
    return True


def _apply_json(
    setting: Setting | None, text: str, source: Field, take: Callable[[Section], object]
) -> None:
    assert setting is not None
    if match := _VARIABLE.fullmatch(text):
        text = match["default"] or "{}"
        source.drop("replaced by its default: a topology has each entry")
    try:
        setting.kind.read(text)
        take(_with_plain_names(json.loads(text)))
    except ValueError as error:
        source.mark_mistake(f"not a valid value: {error}; left out")
    else:
        source.keep()


def _with_plain_names(value: Any) -> Any:
    """A value in which names are without the ``$$`` of values: a topology replaces no names."""
    if isinstance(value, dict):
        return {key.replace("$$", "$"): _with_plain_names(each) for key, each in value.items()}
    return [_with_plain_names(each) for each in value] if isinstance(value, list) else value


def _jobs(limits: Section) -> Section:
    """Per-job settings as the topology has them: with a section `backoff`."""
    jobs: Section = {}
    for name, entry in limits.items():
        jobs[name] = {key: value for key, value in entry.items() if "backoff" not in key}
        for bound in ("base", "cap"):
            if f"backoff_{bound}" in entry:
                jobs[name].setdefault("backoff", {})[bound] = entry[f"backoff_{bound}"]
    return jobs
