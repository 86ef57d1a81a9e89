"""The values of the contract as text: how each kind is read from a variable, and written to one.

A reader raises ValueError that says what was expected; who calls it names the variable.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from bananas_topology.units import format_duration, parse_duration_ms

MODES = ("thin", "default", "specialized", "job-specialized", "scheduler-only")
PRIORITIES = ("high", "normal", "low")
LOG_LEVELS = ("debug", "info", "warn", "error")
LOG_FORMATS = ("json", "text")

MAX_CONCURRENCY = 1000
MIN_SCHEDULER_INTERVAL_MS = 100
MAX_SCHEDULER_INTERVAL_MS = 60_000
#: Below this, a busy machine could lose leases of healthy workers.
MIN_LEASE_MS = 1_000
MAX_RETRIES = 1000

#: What a job type may be called: printable, no comma (the variables' separator), no white space.
JOB_TYPE_PATTERN = r"[^\s,\x00-\x1f\x7f]{1,200}"
MODULE_PATTERN = r"[^\W\d]\w*(\.[^\W\d]\w*)*"


@dataclass(frozen=True, slots=True)
class JobLimits:
    """What the topology says of one job type; None leaves it to the handler, then the pool.

    After failed run n it waits `backoff_base_ms` times 2 to the n, at most `backoff_cap_ms`.
    """

    timeout_ms: int | None = None
    max_retries: int | None = None
    backoff_base_ms: int | None = None
    backoff_cap_ms: int | None = None


@dataclass(frozen=True, slots=True)
class CronJob:
    """A job enqueued at each occurrence of a cron expression; `payload` is any JSON value."""

    cron: str
    job: str
    timezone: str = "UTC"
    payload: Any = None
    priority: str = "normal"
    catch_up: bool = False


def choice(what: str, choices: tuple[str, ...]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"invalid {what}: {text} (must be one of: {', '.join(choices)})")
        return text

    return read


def whole(minimum: int, maximum: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch(r"\d{1,9}", text, re.ASCII) or not minimum <= int(text) <= maximum:
            raise ValueError(f"expected a whole number from {minimum} to {maximum}")
        return int(text)

    return read


def read_concurrency(text: str) -> int:
    if not re.fullmatch(r"-?\d{1,9}", text, re.ASCII):
        raise ValueError(f"expected a whole number from 1 to {MAX_CONCURRENCY}")
    if int(text) > MAX_CONCURRENCY:
        raise ValueError(f"worker concurrency too high: {text} (maximum {MAX_CONCURRENCY})")
    return int(text)  # zero and less depend on the mode: see _contradictions


# Go's strconv.ParseBool, which read these variables until now, accepts exactly these.
_TRUE, _FALSE = ("1", "t", "T", "TRUE", "true", "True"), ("0", "f", "F", "FALSE", "false", "False")


def read_bool(text: str) -> bool:
    if text not in _TRUE + _FALSE:
        raise ValueError("expected true or false")
    return text in _TRUE


def write_port(port: int) -> str:
    return str(port) if port else ""


def write_bool(value: bool) -> str:
    return "true" if value else "false"


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def read_priorities(text: str) -> tuple[str, ...]:
    items = _items(text)
    if not items:
        raise ValueError("worker must process at least one priority queue")
    for item in items:
        if item not in PRIORITIES:
            raise ValueError(f"invalid priority: {item} (must be one of: {', '.join(PRIORITIES)})")
    # Strict priority has one order, whatever order they were written in.
    return tuple(priority for priority in PRIORITIES if priority in items)


def list_of(what: str, pattern: str) -> Callable[[str], tuple[str, ...]]:
    def read(text: str) -> tuple[str, ...]:
        items = _items(text)
        wrong = [item for item in items if not re.fullmatch(pattern, item)]
        if wrong or not items:
            met = f', not "{wrong[0]}"' if wrong else ""
            raise ValueError(f"expected {what}, separated by commas{met}")
        return tuple(dict.fromkeys(items))

    return read


def duration(minimum_ms: int, too_short: str = "") -> Callable[[str], int]:
    def read(text: str) -> int:
        duration_ms = parse_duration_ms(text)
        if duration_ms < minimum_ms:
            raise ValueError(too_short or f"expected at least {format_duration(minimum_ms)}")
        return duration_ms

    return read


def read_scheduler_interval(text: str) -> int:
    interval_ms = parse_duration_ms(text)
    if interval_ms < MIN_SCHEDULER_INTERVAL_MS:
        raise ValueError(f"scheduler interval too short: {text} (minimum 100ms)")
    if interval_ms > MAX_SCHEDULER_INTERVAL_MS:
        raise ValueError(f"scheduler interval too long: {text} (maximum 1 minute)")
    return interval_ms


def matching(pattern: str, expected: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"expected {expected}")
        return text

    return read


def _json_object(text: str) -> dict[str, dict[str, Any]]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"expected a JSON object ({error})") from error
    if not isinstance(value, dict) or not all(isinstance(item, dict) for item in value.values()):
        raise ValueError("expected a JSON object of objects")
    return value


def read_jobs(text: str) -> dict[str, JobLimits]:
    limits: dict[str, JobLimits] = {}
    for name, entry in _json_object(text).items():
        _refuse_unknown(name, entry, {"max_retries", *_JOB_DURATIONS})
        retries = _optional(name, entry, "max_retries", int)
        if retries is not None and not 0 <= retries <= MAX_RETRIES:
            raise ValueError(f"expected max_retries of {name} from 0 to {MAX_RETRIES}")
        durations = {
            field: duration(1)(text)
            for key, field in _JOB_DURATIONS.items()
            if (text := _optional(name, entry, key, str)) is not None
        }
        limits[name] = JobLimits(max_retries=retries, **durations)
    return limits


#: A job type's durations: what the variable calls them, and their field.
_JOB_DURATIONS = {
    "timeout": "timeout_ms",
    "backoff_base": "backoff_base_ms",
    "backoff_cap": "backoff_cap_ms",
}


def write_jobs(jobs: Mapping[str, JobLimits]) -> str:
    entries: dict[str, dict[str, Any]] = {}
    for name, limits in sorted(jobs.items()):
        entries[name] = {
            key: format_duration(duration_ms)
            for key, field in _JOB_DURATIONS.items()
            if (duration_ms := getattr(limits, field)) is not None
        }
        if limits.max_retries is not None:
            entries[name]["max_retries"] = limits.max_retries
    return _write_json(entries)


def read_schedules(text: str) -> dict[str, CronJob]:
    known = {item.name for item in fields(CronJob)}
    schedules: dict[str, CronJob] = {}
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
        schedules[name] = CronJob(**entry)
    return schedules


def write_schedules(schedules: Mapping[str, CronJob]) -> str:
    defaults = {item.name: item.default for item in fields(CronJob)}
    entries = {
        name: {key: getattr(job, key) for key in defaults if getattr(job, key) != defaults[key]}
        for name, job in sorted(schedules.items())
    }
    return _write_json(entries)


def _refuse_unknown(name: str, entry: dict[str, Any], known: set[str]) -> None:
    for key in entry:
        if key not in known:
            raise ValueError(f'expected only {", ".join(sorted(known))} in "{name}", not "{key}"')


def _optional(name: str, entry: dict[str, Any], key: str, kind: type) -> Any:
    value = entry.get(key)
    # bool is an int to Python, but not to whoever wrote the variable.
    if value is not None and (not isinstance(value, kind) or (kind is int and value is True)):
        raise ValueError(f'expected "{key}" of "{name}" to be a {kind.__name__}')
    return value


def _write_json(entries: dict[str, Any]) -> str:
    return json.dumps(entries, ensure_ascii=False, separators=(",", ":")) if entries else ""


def write_list(items: tuple[str, ...]) -> str:
    return ",".join(items)
