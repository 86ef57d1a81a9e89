"""The contract of the worker process: ONE table of environment variables.

`from_env`, `to_env` and the README's table are all made from `VARIABLES`. The names and defaults
are those of the Bananas that users run today (see the README's migration notes), plus ours. A
wrong value is an error that names the variable, what was met and what was expected.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from bananas_topology.errors import InvalidSettings
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
_MODULE_PATTERN = r"[^\W\d]\w*(\.[^\W\d]\w*)*"


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


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """Everything that one worker process is told. Field by field the table `VARIABLES`."""

    mode: str = "default"
    concurrency: int = 10
    priorities: tuple[str, ...] = PRIORITIES
    job_types: tuple[str, ...] = ()
    handlers: tuple[str, ...] = ()
    worker_id: str = ""
    pool: str = "default"
    enable_scheduler: bool = True
    scheduler_interval_ms: int = 1_000
    job_timeout_ms: int = 300_000
    max_retries: int = 3
    max_crashes: int = 3
    lease_ms: int = 15_000
    grace_ms: int = 30_000
    metrics_port: int = 0
    liveness_file: str = ""
    jobs: Mapping[str, JobLimits] = field(default_factory=dict)
    schedules: Mapping[str, CronJob] = field(default_factory=dict)
    redis_url: str = "redis://localhost:6379"
    key_prefix: str = "bananas"
    results_enabled: bool = True
    result_ttl_success_ms: int = 3_600_000
    result_ttl_failure_ms: int = 86_400_000
    log_level: str = "info"
    log_format: str = "json"
    log_color: bool = True
    log_console: bool = True
    log_file_enabled: bool = False
    log_file_path: str = "/var/log/bananas/worker.log"
    log_file_max_size_mb: int = 100
    log_file_max_backups: int = 5
    log_file_max_age_days: int = 30
    log_file_compress: bool = True


@dataclass(frozen=True, slots=True)
class Variable:
    """One row of the contract: `read` raises ValueError with what was expected."""

    name: str
    field: str
    read: Callable[[str], Any]
    write: Callable[[Any], str]
    expected: str
    description: str
    secret: bool = False

    @property
    def default_text(self) -> str:
        """The default as one would write it in the environment; empty where there is none."""
        return self.write(_DEFAULTS[self.field])


def from_env(env: Mapping[str, str]) -> WorkerConfig:
    """Read a worker's settings; an empty variable counts as not set.

    Raises:
        InvalidSettings: with one sentence for each variable that is wrong.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    for variable in VARIABLES:
        text = env.get(variable.name, "")
        if text == "":
            continue
        try:
            values[variable.field] = variable.read(text)
        except ValueError as error:
            met = "what it holds" if variable.secret else f'"{text}"'
            problems.append(f"{variable.name} is {met}: {error}")
    if not problems:
        config = WorkerConfig(**_resolved(values))
        problems = _contradictions(config)
    if problems:
        raise InvalidSettings(problems)
    return config


def to_env(config: WorkerConfig) -> dict[str, str]:
    """Write the variables that `from_env` reads back, in table order.

    REDIS_URL and WORKER_ID are left out (whoever starts the process knows them), and so is what
    is empty: no job types, no per-job settings, no schedules.
    """
    written = {
        variable.name: variable.write(getattr(config, variable.field))
        for variable in VARIABLES
        if variable.name not in ("REDIS_URL", "WORKER_ID")
    }
    return {name: text for name, text in written.items() if text != ""}


def _resolved(values: dict[str, Any]) -> dict[str, Any]:
    """Fill in what depends on other variables or on the machine."""
    values.setdefault("worker_id", socket.gethostname())
    if values.get("mode") == "scheduler-only":
        values |= {"concurrency": 0, "enable_scheduler": True, "job_types": (), "priorities": ()}
    return values


def _contradictions(config: WorkerConfig) -> list[str]:
    """What each variable alone cannot show to be wrong."""
    problems: list[str] = []
    if config.mode == "job-specialized" and not config.job_types:
        problems.append(
            "WORKER_JOB_TYPES is not set: "
            "job-specialized mode requires at least one job type to be specified"
        )
    if config.job_types and config.mode != "job-specialized":
        problems.append(
            f"WORKER_JOB_TYPES is set, but WORKER_MODE is {config.mode}: "
            "expected job-specialized, or no job types"
        )
    if config.mode != "scheduler-only":
        if config.concurrency < 1:
            problems.append(
                f'WORKER_CONCURRENCY is "{config.concurrency}": '
                f"worker concurrency must be at least 1 (got {config.concurrency})"
            )
        if not config.handlers:
            problems.append(
                "WORKER_HANDLERS is not set: expected the Python modules that hold the handlers, "
                "separated by commas, such as shop.jobs"
            )
    return problems


# Readers and writers: text to value and back. A reader's ValueError says what was expected.


def _choice(what: str, choices: tuple[str, ...]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"invalid {what}: {text} (must be one of: {', '.join(choices)})")
        return text

    return read


def _whole(minimum: int, maximum: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch(r"\d{1,9}", text, re.ASCII) or not minimum <= int(text) <= maximum:
            raise ValueError(f"expected a whole number from {minimum} to {maximum}")
        return int(text)

    return read


def _concurrency(text: str) -> int:
    if not re.fullmatch(r"-?\d{1,9}", text, re.ASCII):
        raise ValueError(f"expected a whole number from 1 to {MAX_CONCURRENCY}")
    if int(text) > MAX_CONCURRENCY:
        raise ValueError(f"worker concurrency too high: {text} (maximum {MAX_CONCURRENCY})")
    return int(text)  # zero and less depend on the mode: see _contradictions


# Go's strconv.ParseBool, which read these variables until now, accepts exactly these.
_TRUE, _FALSE = ("1", "t", "T", "TRUE", "true", "True"), ("0", "f", "F", "FALSE", "false", "False")


def _bool(text: str) -> bool:
    if text not in _TRUE + _FALSE:
        raise ValueError("expected true or false")
    return text in _TRUE


def _write_port(port: int) -> str:
    return str(port) if port else ""


def _write_bool(value: bool) -> str:
    return "true" if value else "false"


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _priorities(text: str) -> tuple[str, ...]:
    items = _items(text)
    if not items:
        raise ValueError("worker must process at least one priority queue")
    for item in items:
        if item not in PRIORITIES:
            raise ValueError(f"invalid priority: {item} (must be one of: {', '.join(PRIORITIES)})")
    # Strict priority has one order, whatever order they were written in.
    return tuple(priority for priority in PRIORITIES if priority in items)


def _list_of(what: str, pattern: str) -> Callable[[str], tuple[str, ...]]:
    def read(text: str) -> tuple[str, ...]:
        items = _items(text)
        wrong = [item for item in items if not re.fullmatch(pattern, item)]
        if wrong or not items:
            met = f', not "{wrong[0]}"' if wrong else ""
            raise ValueError(f"expected {what}, separated by commas{met}")
        return tuple(dict.fromkeys(items))

    return read


def _duration(minimum_ms: int, too_short: str = "") -> Callable[[str], int]:
    def read(text: str) -> int:
        duration_ms = parse_duration_ms(text)
        if duration_ms < minimum_ms:
            raise ValueError(too_short or f"expected at least {format_duration(minimum_ms)}")
        return duration_ms

    return read


def _scheduler_interval(text: str) -> int:
    interval_ms = parse_duration_ms(text)
    if interval_ms < MIN_SCHEDULER_INTERVAL_MS:
        raise ValueError(f"scheduler interval too short: {text} (minimum 100ms)")
    if interval_ms > MAX_SCHEDULER_INTERVAL_MS:
        raise ValueError(f"scheduler interval too long: {text} (maximum 1 minute)")
    return interval_ms


def _text(pattern: str, expected: str) -> Callable[[str], str]:
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


def _read_jobs(text: str) -> dict[str, JobLimits]:
    limits: dict[str, JobLimits] = {}
    for name, entry in _json_object(text).items():
        _refuse_unknown(name, entry, {"max_retries", *_JOB_DURATIONS})
        retries = _optional(name, entry, "max_retries", int)
        if retries is not None and not 0 <= retries <= MAX_RETRIES:
            raise ValueError(f"expected max_retries of {name} from 0 to {MAX_RETRIES}")
        durations = {
            field: _duration(1)(text)
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


def _write_jobs(jobs: Mapping[str, JobLimits]) -> str:
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


def _read_schedules(text: str) -> dict[str, CronJob]:
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


def _write_schedules(schedules: Mapping[str, CronJob]) -> str:
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


def _comma(items: tuple[str, ...]) -> str:
    return ",".join(items)


_module_list = _list_of("Python modules such as shop.jobs", _MODULE_PATTERN)
_job_types = _list_of("job types such as send_email", JOB_TYPE_PATTERN)
_name = _text(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}", "letters, digits, dots, dashes, underscores")
_key_prefix = _text(r"[^\s\x00-\x1f\x7f]{1,100}", "1 to 100 characters without white space")
_any_text = _text(r"[^\x00]+", "some text")
_TRUTH = "`true`, `false`"
_DURATION = "a duration"

#: The contract, in the order in which manifests and the README's table show it.
VARIABLES: tuple[Variable, ...] = (
    Variable("WORKER_MODE", "mode", _choice("worker mode", MODES), str,
             ", ".join(f"`{mode}`" for mode in MODES), "What kind of work the worker takes"),
    Variable("WORKER_CONCURRENCY", "concurrency", _concurrency, str, f"1 to {MAX_CONCURRENCY}",
             "Threads in this process; always 0 in `scheduler-only` mode"),
    Variable("WORKER_PRIORITIES", "priorities", _priorities, _comma,
             "some of `high`, `normal`, `low`", "Priorities to take jobs of, separated by commas"),
    Variable("WORKER_JOB_TYPES", "job_types", _job_types, _comma, "job types",
             "Job types to take, separated by commas; with mode `job-specialized` alone"),
    Variable("WORKER_HANDLERS", "handlers", _module_list, _comma, "Python modules",
             "Modules whose `@job` functions run the jobs, separated by commas"),
    Variable("WORKER_ID", "worker_id", _name, str, "a name",
             "Unique to this process and the same after its restart; the host name if not set"),
    Variable("WORKER_POOL", "pool", _name, str, "a name", "The pool this worker belongs to"),
    Variable("ENABLE_SCHEDULER", "enable_scheduler", _bool, _write_bool, _TRUTH,
             "Whether this process promotes scheduled jobs and fires schedules"),
    Variable("SCHEDULER_INTERVAL", "scheduler_interval_ms", _scheduler_interval, format_duration,
             "`100ms` to `1m`", "How often to look for scheduled jobs that are due"),
    Variable("JOB_TIMEOUT", "job_timeout_ms", _duration(1), format_duration, _DURATION,
             "How long a job may run, where the job type says nothing else"),
    Variable("MAX_RETRIES", "max_retries", _whole(0, MAX_RETRIES), str, f"0 to {MAX_RETRIES}",
             "Runs after the first, where neither the job nor its type says anything else"),
    Variable("WORKER_MAX_CRASHES", "max_crashes", _whole(1, MAX_RETRIES), str,
             f"1 to {MAX_RETRIES}", "Workers that a job may take down before it is buried"),
    Variable("WORKER_LEASE", "lease_ms", _duration(MIN_LEASE_MS), format_duration,
             "at least `1s`", "How long after its last sign of life a worker's jobs are still its"),
    Variable("WORKER_GRACE", "grace_ms", _duration(0), format_duration, _DURATION,
             "How long a stop waits for running jobs before it hands them back"),
    Variable("WORKER_JOBS", "jobs", _read_jobs, _write_jobs, "a JSON object",
             "Timeout and retries by job type: `{\"send_email\":{\"timeout\":\"30s\"}}`"),
    Variable("WORKER_SCHEDULES", "schedules", _read_schedules, _write_schedules, "a JSON object",
             "Cron schedules by name: `{\"nightly\":{\"cron\":\"0 2 * * *\",\"job\":\"report\"}}`"),
    Variable("METRICS_PORT", "metrics_port", _whole(1, 65_535), _write_port, "1 to 65535",
             "Where to serve `/metrics`, `/livez` and `/readyz`; nowhere if not set"),
    Variable("LIVENESS_FILE", "liveness_file", _any_text, str, "a path",
             "A file touched as long as the worker makes progress; none if not set"),
    Variable("REDIS_URL", "redis_url", _any_text, str, "a URL", "The Redis or Valkey server",
             secret=True),
    Variable("REDIS_KEY_PREFIX", "key_prefix", _key_prefix, str, "up to 100 characters",
             "What every key begins with; may hold a `{hash tag}` for Redis Cluster"),
    Variable("RESULT_BACKEND_ENABLED", "results_enabled", _bool, _write_bool, _TRUTH,
             "Whether results are stored"),
    Variable("RESULT_BACKEND_TTL_SUCCESS", "result_ttl_success_ms", _duration(1000),
             format_duration, "at least `1s`", "How long the result of a completed job is kept"),
    Variable("RESULT_BACKEND_TTL_FAILURE", "result_ttl_failure_ms", _duration(1000),
             format_duration, "at least `1s`", "How long the result of a dead job is kept"),
    Variable("LOG_LEVEL", "log_level", _choice("log level", LOG_LEVELS), str,
             ", ".join(f"`{level}`" for level in LOG_LEVELS), "The least severe event to log"),
    Variable("LOG_FORMAT", "log_format", _choice("log format", LOG_FORMATS), str,
             "`json`, `text`", "JSON Lines for machines, or text for people"),
    Variable("LOG_COLOR", "log_color", _bool, _write_bool, _TRUTH,
             "Whether text on a terminal is coloured"),
    Variable("LOG_CONSOLE_ENABLED", "log_console", _bool, _write_bool, _TRUTH,
             "Whether to log to standard output"),
    Variable("LOG_FILE_ENABLED", "log_file_enabled", _bool, _write_bool, _TRUTH,
             "Whether to log to a file"),
    Variable("LOG_FILE_PATH", "log_file_path", _any_text, str, "a path", "The log file"),
    Variable("LOG_FILE_MAX_SIZE_MB", "log_file_max_size_mb", _whole(1, 100_000), str,
             "1 to 100000", "Size in MB at which the log file is rotated"),
    Variable("LOG_FILE_MAX_BACKUPS", "log_file_max_backups", _whole(0, 10_000), str,
             "0 to 10000", "Rotated log files to keep"),
    Variable("LOG_FILE_MAX_AGE_DAYS", "log_file_max_age_days", _whole(0, 36_500), str,
             "0 to 36500", "Days after which a rotated log file is removed; 0 for never"),
    Variable("LOG_FILE_COMPRESS", "log_file_compress", _bool, _write_bool, _TRUTH,
             "Whether rotated log files are compressed"),
)  # fmt: skip

_DEFAULTS: dict[str, Any] = {
    item.name: getattr(WorkerConfig(), item.name) for item in fields(WorkerConfig)
}
