"""The contract of a worker process: its settings, each read from one environment variable.

Names and defaults are those of the Go version (see the migration notes), plus our own. A field of
`WorkerConfig` is the only description of its setting.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from bananas_topology.contract import jobs as contract_jobs
from bananas_topology.contract.jobs import JobSettings, Keep, Schedule
from bananas_topology.contract.kinds import (
    boolean,
    choice,
    duration,
    integer,
    memory,
    name_list,
    optional,
    priority_list,
    retention,
    text,
)
from bananas_topology.contract.names import API, SCHEDULER
from bananas_topology.contract.redis_url import check_url
from bananas_topology.contract.settings import (
    POOL,
    TOPOLOGY,
    Setting,
    check_exclusive,
    read_variables,
    setting,
    settings_of,
    write_variables,
)
from bananas_topology.contract.values import (
    JOB_TYPE_PATTERN,
    LOG_FORMATS,
    LOG_LEVELS,
    MAX_CONCURRENCY,
    MAX_RETRIES,
    MAX_SCHEDULER_INTERVAL_MS,
    MIN_LEASE_MS,
    MIN_SCHEDULER_INTERVAL_MS,
    PRESETS,
    PRIORITIES,
    Mode,
)
from bananas_topology.errors import InvalidSettings
from bananas_topology.units import parse_duration_ms


def _read_redis_url(value: str) -> str:
    if (reason := check_url(value)) is not None:
        raise ValueError(reason)
    return value


def _read_concurrency(value: str) -> int:
    if not re.fullmatch(r"-?\d{1,9}", value, re.ASCII):
        raise ValueError(f"expected an integer from 1 to {MAX_CONCURRENCY}")
    if int(value) > MAX_CONCURRENCY:
        raise ValueError(f"worker concurrency too high: {value} (maximum {MAX_CONCURRENCY})")
    return int(value)  # whether 0 is valid depends on the mode: see _contradictions


def _read_scheduler_interval(value: str) -> int:
    interval_ms = parse_duration_ms(value)
    if interval_ms < MIN_SCHEDULER_INTERVAL_MS:
        raise ValueError(f"scheduler interval too short: {value} (minimum 100ms)")
    if interval_ms > MAX_SCHEDULER_INTERVAL_MS:
        raise ValueError(f"scheduler interval too long: {value} (maximum 1 minute)")
    return interval_ms


_NAME = text(
    "a name",
    r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}",
    "letters, digits, dots, dashes and underscores",
)
_KEY_PREFIX = text(
    "up to 100 characters", r"[^\s\x00-\x1f\x7f]{1,100}", "1 to 100 characters without whitespace"
)
_REDIS_URL = replace(text("a URL"), read=_read_redis_url)
_CONCURRENCY = replace(integer(1, MAX_CONCURRENCY), read=_read_concurrency)
_INTERVAL = replace(
    duration(MIN_SCHEDULER_INTERVAL_MS, MAX_SCHEDULER_INTERVAL_MS), read=_read_scheduler_interval
)
_MODULES = name_list(
    "Python modules, separated by commas",
    "Python modules such as shop.jobs",
    r"[^\W\d]\w*(\.[^\W\d]\w*)*",
)
_JOB_TYPES = name_list(
    "job types, separated by commas", "job types such as send_email", JOB_TYPE_PATTERN, "job_type"
)


# fmt: off
@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """All settings of one worker process, in the order of the documentation."""

    mode: Mode = setting(
        Mode.DEFAULT, "WORKER_MODE", choice("worker mode", tuple(Mode)),
        "Which jobs to accept: thin and default accept all, specialized only some priorities, "
        "job-specialized only some job types, scheduler-only none",
        "mode", is_identity=True,
    )
    concurrency: int = setting(
        10, "WORKER_CONCURRENCY", _CONCURRENCY, "Threads in one worker process",
        "concurrency", is_identity=True, is_for_jobs=True,
        when_unset="5 in mode thin, 0 in mode scheduler-only, otherwise 10",
    )
    priorities: tuple[str, ...] = setting(
        PRIORITIES, "WORKER_PRIORITIES", priority_list(PRIORITIES),
        "Priorities to accept jobs with. high is always served before normal, and normal before "
        "low",
        "priorities", is_identity=True, is_for_jobs=True, when_unset="all",
    )
    job_types: tuple[str, ...] = setting(
        (), "WORKER_JOB_TYPES", _JOB_TYPES, "Job types to accept; only in mode job-specialized",
        "job_types", is_identity=True, is_for_jobs=True, when_unset="all",
    )
    handlers: tuple[str, ...] = setting(
        (), "WORKER_HANDLERS", _MODULES, "Python modules whose `@job` functions run the jobs",
        "handlers", sections=(TOPOLOGY,),
    )
    worker_id: str = setting(
        "", "WORKER_ID", _NAME,
        "Unique to this process, and the same after a restart. By default the host name, followed "
        "by a number if another worker on this host has it",
    )
    pool: str = setting(
        "default", "WORKER_POOL", _NAME, "The pool this worker belongs to", is_identity=True
    )
    enable_scheduler: bool = setting(
        True, "ENABLE_SCHEDULER", boolean(),
        "Whether workers also promote delayed jobs and fire schedules",
        "scheduler", is_identity=True, is_for_jobs=True,
        when_unset="true in mode thin, and in mode default unless there is a scheduler: section",
    )
    scheduler_interval_ms: int = setting(
        1_000, "SCHEDULER_INTERVAL", _INTERVAL,
        "How often to check for delayed jobs and schedules that are due",
        "scheduler_interval", sections=(POOL, SCHEDULER),
    )
    job_timeout_ms: int = setting(
        300_000, "JOB_TIMEOUT", duration(1),
        "Maximum run time of a job whose type does not set one", "job_timeout",
    )
    max_retries: int = setting(
        3, "MAX_RETRIES", integer(0, MAX_RETRIES),
        "Retries of a failed job when neither the job nor its type sets a number", "max_retries",
    )
    max_crashes: int = setting(
        3, "WORKER_MAX_CRASHES", integer(1, MAX_RETRIES),
        "Worker crashes a job may cause before it is buried", "max_crashes",
    )
    lease_ms: int = setting(
        15_000, "WORKER_LEASE", duration(MIN_LEASE_MS),
        "How long a worker keeps its claims after its last heartbeat", "lease",
    )
    grace_ms: int = setting(
        30_000, "WORKER_GRACE", duration(0),
        "How long a stop waits for running jobs before it releases them", "grace",
        is_for_jobs=True, when_unset="the longest timeout of the jobs it accepts, at least 30s",
    )
    max_jobs: int = setting(
        0, "WORKER_MAX_JOBS", optional(integer(1, 999_999_999)),
        "Jobs after which a worker is replaced by a fresh process, once its running jobs end",
        "max_jobs", is_for_jobs=True, when_unset="no limit",
    )
    max_memory_bytes: int = setting(
        0, "WORKER_MAX_MEMORY", optional(memory(16 * 2**20)),
        "Resident memory above which a worker is replaced by a fresh process, once its running "
        "jobs end",
        "max_memory", is_for_jobs=True, when_unset="no limit",
    )
    max_age_ms: int = setting(
        0, "WORKER_MAX_AGE", optional(duration(1_000)),
        "Age at which a worker is replaced by a fresh process, once its running jobs end; up to a "
        "tenth later, so that replicas take turns",
        "max_age", is_for_jobs=True, when_unset="no limit",
    )
    jobs: Mapping[str, JobSettings] = setting(
        dict, "WORKER_JOBS", contract_jobs.JOBS,
        "Timeout and retries by job type: `{\"send_email\":{\"timeout\":\"30s\"}}`",
        "jobs", sections=(TOPOLOGY,),
    )
    schedules: Mapping[str, Schedule] = setting(
        dict, "WORKER_SCHEDULES", contract_jobs.SCHEDULES,
        "Cron schedules by name: `{\"nightly\":{\"cron\":\"0 2 * * *\",\"job\":\"report\"}}`",
        "schedules", sections=(TOPOLOGY,),
    )
    metrics_port: int = setting(
        0, "METRICS_PORT", optional(integer(1, 65_535)),
        "Port for `/metrics`, `/livez` and `/readyz`; disabled if not set",
    )
    liveness_file: str = setting(
        "", "LIVENESS_FILE", text("a path"),
        "File touched while the worker makes progress; none if not set",
    )
    redis_url: str = setting(
        "redis://localhost:6379", "REDIS_URL", _REDIS_URL, "The Redis or Valkey server",
        "redis.url", sections=(TOPOLOGY,), is_secret=True,
    )
    redis_url_file: str = setting(
        "", "REDIS_URL_FILE", text("a path"),
        "File with the URL, instead of REDIS_URL; its password is read again for each connection",
    )
    redis_password_file: str = setting(
        "", "REDIS_PASSWORD_FILE", text("a path"),
        "File with the password, instead of the URL's; read again for each connection",
    )
    key_prefix: str = setting(
        "bananas", "REDIS_KEY_PREFIX", _KEY_PREFIX,
        "Prefix of every key; may contain a `{hash tag}` for Redis Cluster",
        "redis.key_prefix", sections=(TOPOLOGY,),
    )
    results_enabled: bool = setting(
        True, "RESULT_BACKEND_ENABLED", boolean(),
        "Whether to store results; if false, none are, whatever else is set",
    )
    keep_completed_ms: int = setting(
        86_400_000, "KEEP_COMPLETED", retention(),
        "How long to keep a completed job; 0 deletes it at once", "keep.completed",
    )
    keep_dead_ms: int = setting(
        604_800_000, "KEEP_DEAD", retention(),
        "How long to keep a dead job, which can be retried; 0 deletes it at once", "keep.dead",
    )
    keep_results_ms: int = setting(
        3_600_000, "RESULT_BACKEND_TTL_SUCCESS", retention(),
        "How long to keep the result of a completed job; 0 stores none", "keep.results",
    )
    keep_errors_ms: int = setting(
        86_400_000, "RESULT_BACKEND_TTL_FAILURE", retention(),
        "How long to keep the error of a dead job as its result; 0 stores none", "keep.errors",
    )
    log_level: str = setting(
        "info", "LOG_LEVEL", choice("log level", LOG_LEVELS), "Least severe level to log",
        "logging.level", sections=(POOL, SCHEDULER, API),
    )
    log_format: str = setting(
        "json", "LOG_FORMAT", choice("log format", LOG_FORMATS),
        "JSON Lines for machines, or text for people", "logging.format",
        sections=(POOL, SCHEDULER, API), when_unset="json; with `bananas up`, text",
    )
    log_color: bool = setting(
        True, "LOG_COLOR", boolean(), "Whether to color text on a terminal", "logging.color",
        sections=(POOL, SCHEDULER, API),
    )
    log_console: bool = setting(
        True, "LOG_CONSOLE_ENABLED", boolean(), "Whether to log to standard output",
        "logging.console", sections=(POOL, SCHEDULER),
    )
    log_file_enabled: bool = setting(
        False, "LOG_FILE_ENABLED", boolean(), "Whether to log to a file", "logging.file.enabled",
        sections=(POOL, SCHEDULER),
    )
    log_file_path: str = setting(
        "/var/log/bananas/worker.log", "LOG_FILE_PATH", text("a path"), "Path of the log file",
        "logging.file.path", sections=(POOL, SCHEDULER),
    )
    log_file_max_size_mb: int = setting(
        100, "LOG_FILE_MAX_SIZE_MB", integer(1, 100_000),
        "Size in MB at which the log file is rotated", "logging.file.max_size_mb",
        sections=(POOL, SCHEDULER),
    )
    log_file_max_backups: int = setting(
        5, "LOG_FILE_MAX_BACKUPS", integer(0, 10_000), "Number of rotated log files to keep",
        "logging.file.max_backups", sections=(POOL, SCHEDULER),
    )
    log_file_max_age_days: int = setting(
        30, "LOG_FILE_MAX_AGE_DAYS", integer(0, 36_500),
        "Days after which a rotated log file is deleted; 0 for never",
        "logging.file.max_age_days", sections=(POOL, SCHEDULER),
    )
    log_file_compress: bool = setting(
        True, "LOG_FILE_COMPRESS", boolean(), "Whether to compress rotated log files",
        "logging.file.compress", sections=(POOL, SCHEDULER),
    )
# fmt: on

    @property
    def keep(self) -> Keep:
        """How long to keep jobs, and their results, whose type does not set it."""
        return self.keep_of(Keep())

    def keep_of(self, job_type: Keep) -> Keep:
        """How long to keep jobs of a type, and their results; `job_type` has what it sets."""
        keep = job_type.or_else(
            Keep(
                completed_ms=self.keep_completed_ms,
                dead_ms=self.keep_dead_ms,
                results_ms=self.keep_results_ms,
                errors_ms=self.keep_errors_ms,
            )
        )
        return keep if self.results_enabled else replace(keep, results_ms=0, errors_ms=0)


#: The worker's settings in the order of the documentation and of rendered manifests.
WORKER_SETTINGS: tuple[Setting, ...] = settings_of(WorkerConfig)

#: Settings that mode scheduler-only fixes, whatever the variables are.
SCHEDULER_ONLY: Mapping[str, Any] = {
    "concurrency": 0,
    "enable_scheduler": True,
    "job_types": (),
    "priorities": (),
}


def from_env(env: Mapping[str, str]) -> WorkerConfig:
    """Read a worker's settings; an empty variable counts as not set, and has its mode's preset.

    Raises:
        InvalidSettings: with one sentence for each invalid variable.
    """
    values, problems = read_variables(env, WORKER_SETTINGS)
    problems += check_exclusive(env, "REDIS_URL", "REDIS_URL_FILE")
    if not problems:
        preset = PRESETS[values.get("mode", Mode.DEFAULT)]
        values.setdefault("concurrency", preset.concurrency)
        values.setdefault("enable_scheduler", preset.has_scheduler is not False)
        if values.get("mode") is Mode.SCHEDULER_ONLY:
            values |= SCHEDULER_ONLY
        config = WorkerConfig(**values)
        problems = _contradictions(config, has_priorities="priorities" in values)
    if problems:
        raise InvalidSettings(problems)
    return config


def to_env(config: WorkerConfig) -> dict[str, str]:
    """Write the variables that `from_env` reads back, in the order of the documentation.

    Left out are REDIS_URL and WORKER_ID, which are set where the process is started, and empty
    values: no job types, no per-job settings, no schedules.
    """
    settings = [each for each in WORKER_SETTINGS if each.name not in ("redis_url", "worker_id")]
    return write_variables(config, settings)


def _contradictions(config: WorkerConfig, has_priorities: bool) -> list[str]:
    """Errors in the combination of variables."""
    problems: list[str] = []
    if config.mode is Mode.SPECIALIZED and not has_priorities:
        problems.append(
            "WORKER_PRIORITIES is not set: "
            "specialized mode requires at least one priority to be specified"
        )
    if config.mode is Mode.JOB_SPECIALIZED and not config.job_types:
        problems.append(
            "WORKER_JOB_TYPES is not set: "
            "job-specialized mode requires at least one job type to be specified"
        )
    if config.job_types and config.mode is not Mode.JOB_SPECIALIZED:
        problems.append(
            f"WORKER_JOB_TYPES is set, but WORKER_MODE is {config.mode}: "
            "expected job-specialized, or no job types"
        )
    if config.mode is not Mode.SCHEDULER_ONLY:
        if config.concurrency < 1:
            problems.append(
                f'WORKER_CONCURRENCY is "{config.concurrency}": '
                f"worker concurrency must be at least 1 (got {config.concurrency})"
            )
        if not config.handlers:
            problems.append(
                "WORKER_HANDLERS is not set: expected the Python modules with the handlers, "
                "separated by commas, such as shop.jobs"
            )
    return problems
