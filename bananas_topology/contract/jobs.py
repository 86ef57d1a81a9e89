"""Settings of job types, and schedules, with their JSON in variables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from bananas_topology.contract.kinds import Kind, duration, retention
from bananas_topology.contract.values import MAX_RETRIES, PRIORITIES
from bananas_topology.units import format_duration


@dataclass(frozen=True, slots=True)
class Keep:
    """How long to keep jobs and their results; 0 keeps none, None leaves it to the next level.

    `results_ms` is for the results of completed jobs, `errors_ms` for those of dead ones.
    """

    completed_ms: int | None = None
    dead_ms: int | None = None
    results_ms: int | None = None
    errors_ms: int | None = None

    def or_else(self, other: Keep) -> Keep:
        """What is set here and, where nothing is, what is set in `other`."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return replace(
            other, **{name: value for name, value in values.items() if value is not None}
        )


@dataclass(frozen=True, slots=True)
class JobSettings:
    """Settings of one job type; None leaves a setting to the handler, then to the pool.

    The delay after failed run n is `backoff_base_ms` times 2 to the n, at most `backoff_cap_ms`.
    `priority` is for clients, which enqueue the job: workers do not receive it.
    """

    priority: str | None = None
    timeout_ms: int | None = None
    max_retries: int | None = None
    backoff_base_ms: int | None = None
    backoff_cap_ms: int | None = None
    keep: Keep = Keep()


@dataclass(frozen=True, slots=True)
class Schedule:
    """A job enqueued at each occurrence of a cron expression; `payload` is any JSON value."""

    cron: str
    job: str
    timezone: str = "UTC"
    payload: Any = None
    priority: str = "normal"
    catch_up: bool = False


#: The durations of a job type: key in the variable to field.
_DURATIONS = {
    "timeout": "timeout_ms",
    "backoff_base": "backoff_base_ms",
    "backoff_cap": "backoff_cap_ms",
}

#: The fields of `Keep`, by their key in a variable, in a topology and in `@job`.
KEEP_FIELDS = {each.name.removesuffix("_ms"): each.name for each in fields(Keep)}


def _read_jobs(text: str) -> dict[str, JobSettings]:
    jobs: dict[str, JobSettings] = {}
    for name, entry in _json_object(text).items():
        _refuse_unknown(name, entry, {"max_retries", "keep", *_DURATIONS})
        retries = _optional(name, entry, "max_retries", int)
        if retries is not None and not 0 <= retries <= MAX_RETRIES:
            raise ValueError(f'expected "max_retries" of "{name}" to be from 0 to {MAX_RETRIES}')
        durations = {
            field: duration(1).read(text)
            for key, field in _DURATIONS.items()
            if (text := _optional(name, entry, key, str)) is not None
        }
        keep = _read_keep(name, entry.get("keep", {}))
        jobs[name] = JobSettings(max_retries=retries, keep=keep, **durations)
    return jobs


def _read_keep(name: str, entry: Any) -> Keep:
    if not isinstance(entry, dict):
        raise ValueError(f'expected "keep" of "{name}" to be an object')
    _refuse_unknown(f"{name}.keep", entry, set(KEEP_FIELDS))
    durations = {
        field: retention().read(text)
        for key, field in KEEP_FIELDS.items()
        if (text := _optional(f"{name}.keep", entry, key, str)) is not None
    }
    return Keep(**durations)


def _write_jobs(jobs: Mapping[str, JobSettings]) -> str:
    entries: dict[str, dict[str, Any]] = {}
    for name, job in sorted(jobs.items()):
        entries[name] = {
            key: format_duration(duration_ms)
            for key, field in _DURATIONS.items()
            if (duration_ms := getattr(job, field)) is not None
        }
        if job.max_retries is not None:
            entries[name]["max_retries"] = job.max_retries
        keep = {
            key: format_duration(duration_ms)
            for key, field in KEEP_FIELDS.items()
            if (duration_ms := getattr(job.keep, field)) is not None
        }
        if keep:
            entries[name]["keep"] = keep
    return _write_json(entries)


def _read_schedules(text: str) -> dict[str, Schedule]:
    known = {item.name for item in fields(Schedule)}
    schedules: dict[str, Schedule] = {}
    for name, entry in _json_object(text).items():
        _refuse_unknown(name, entry, known)
        for key in ("cron", "job"):
            if key not in entry:
                raise ValueError(f'expected "{key}" in "{name}"')
        for key in known - {"payload", "catch_up"}:
            _optional(name, entry, key, str)
        _optional(name, entry, "catch_up", bool)
        if entry.get("priority", "normal") not in PRIORITIES:
            raise ValueError(f"invalid priority: {entry['priority']}")
        schedules[name] = Schedule(**entry)
    return schedules


def _write_schedules(schedules: Mapping[str, Schedule]) -> str:
    defaults = {item.name: item.default for item in fields(Schedule)}
    entries = {
        name: {
            key: getattr(schedule, key)
            for key in defaults
            if getattr(schedule, key) != defaults[key]
        }
        for name, schedule in sorted(schedules.items())
    }
    return _write_json(entries)


def _json_object(text: str) -> dict[str, dict[str, Any]]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"expected a JSON object ({error})") from error
    if not isinstance(value, dict) or not all(isinstance(item, dict) for item in value.values()):
        raise ValueError("expected a JSON object of objects")
    return value


def _refuse_unknown(name: str, entry: dict[str, Any], known: set[str]) -> None:
    for key in entry:
        if key not in known:
            raise ValueError(f'expected only {", ".join(sorted(known))} in "{name}", got "{key}"')


def _optional(name: str, entry: dict[str, Any], key: str, kind: type) -> Any:
    value = entry.get(key)
    # In Python a bool is an int; in JSON it is not.
    if value is not None and (not isinstance(value, kind) or (kind is int and value is True)):
        raise ValueError(f'expected "{key}" of "{name}" to be {_JSON_TYPES[kind]}')
    return value


_JSON_TYPES = {str: "a string", int: "an integer", bool: "true or false"}


def _write_json(entries: dict[str, Any]) -> str:
    return json.dumps(entries, ensure_ascii=False, separators=(",", ":")) if entries else ""


JOBS = Kind("a JSON object", _read_jobs, _write_jobs)
SCHEDULES = Kind("a JSON object", _read_schedules, _write_schedules)
