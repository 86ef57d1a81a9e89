"""The contract of the worker process: ONE table of environment variables.

`from_env`, `to_env` and the README's table are all made from `VARIABLES`. The names and defaults
are those of the Bananas that users run today (see the README's migration notes), plus ours. A
wrong value is an error that names the variable, what was met and what was expected.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from bananas_topology.contract.values import (
    JOB_TYPE_PATTERN,
    LOG_FORMATS,
    LOG_LEVELS,
    MAX_CONCURRENCY,
    MAX_RETRIES,
    MAX_SCHEDULER_INTERVAL_MS,
    MIN_LEASE_MS,
    MIN_SCHEDULER_INTERVAL_MS,
    MODES,
    MODULE_PATTERN,
    PRIORITIES,
    CronJob,
    JobLimits,
    choice,
    duration,
    list_of,
    matching,
    read_bool,
    read_concurrency,
    read_jobs,
    read_priorities,
    read_scheduler_interval,
    read_schedules,
    whole,
    write_bool,
    write_jobs,
    write_list,
    write_port,
    write_schedules,
)
from bananas_topology.errors import InvalidSettings
from bananas_topology.units import format_duration

__all__ = [
    "EXIT_CONFIG",
    "EXIT_FAILED",
    "EXIT_RESTART",
    "JOB_TYPE_PATTERN",
    "LOG_FORMATS",
    "LOG_LEVELS",
    "MAX_CONCURRENCY",
    "MAX_RETRIES",
    "MAX_SCHEDULER_INTERVAL_MS",
    "MIN_LEASE_MS",
    "MIN_SCHEDULER_INTERVAL_MS",
    "MODES",
    "PRIORITIES",
    "VARIABLES",
    "CronJob",
    "JobLimits",
    "Variable",
    "WorkerConfig",
    "from_env",
    "read_variables",
    "to_env",
]

#: What a worker or the api exits with that cannot use the server, or its port.
EXIT_FAILED = 1

#: What it exits with whose settings or handlers are wrong: the next start would not find them
#: better.
EXIT_CONFIG = 2

#: What a worker exits with that has drained because jobs that cannot be stopped hold too many of
#: its slots: a fresh process is what it asks for, not a crash.
EXIT_RESTART = 75


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
    jobs: Mapping[str, JobLimits] = field(default_factory=dict)
    schedules: Mapping[str, CronJob] = field(default_factory=dict)
    metrics_port: int = 0
    liveness_file: str = ""
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
        """A worker's default as one would write it; empty where there is none."""
        return self.write(_DEFAULTS[self.field])


def from_env(env: Mapping[str, str]) -> WorkerConfig:
    """Read a worker's settings; an empty variable counts as not set.

    Raises:
        InvalidSettings: with one sentence for each variable that is wrong.
    """
    values, problems = read_variables(env, VARIABLES)
    if not problems:
        config = WorkerConfig(**_resolved(values))
        problems = _contradictions(config)
    if problems:
        raise InvalidSettings(problems)
    return config


def read_variables(
    env: Mapping[str, str], variables: Iterable[Variable]
) -> tuple[dict[str, Any], list[str]]:
    """The fields that an environment sets, and a sentence for each variable that is wrong."""
    values: dict[str, Any] = {}
    problems: list[str] = []
    for variable in variables:
        text = env.get(variable.name, "")
        if text == "":
            continue
        try:
            values[variable.field] = variable.read(text)
        except ValueError as error:
            met = "what it holds" if variable.secret else f'"{text}"'
            problems.append(f"{variable.name} is {met}: {error}")
    return values, problems


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


_module_list = list_of("Python modules such as shop.jobs", MODULE_PATTERN)
_job_types = list_of("job types such as send_email", JOB_TYPE_PATTERN)
_name = matching(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}", "letters, digits, dots, dashes, underscores")
_key_prefix = matching(r"[^\s\x00-\x1f\x7f]{1,100}", "1 to 100 characters without white space")
_any_text = matching(r"[^\x00]+", "some text")
_TRUTH = "`true`, `false`"
_DURATION = "a duration"

#: The contract, in the order in which manifests and the README's table show it.
VARIABLES: tuple[Variable, ...] = (
    Variable("WORKER_MODE", "mode", choice("worker mode", MODES), str,
             ", ".join(f"`{mode}`" for mode in MODES), "What kind of work the worker takes"),
    Variable("WORKER_CONCURRENCY", "concurrency", read_concurrency, str, f"1 to {MAX_CONCURRENCY}",
             "Threads in this process; always 0 in `scheduler-only` mode"),
    Variable("WORKER_PRIORITIES", "priorities", read_priorities, write_list,
             "some of `high`, `normal`, `low`", "Priorities to take jobs of, separated by commas"),
    Variable("WORKER_JOB_TYPES", "job_types", _job_types, write_list, "job types",
             "Job types to take, separated by commas; with mode `job-specialized` alone"),
    Variable("WORKER_HANDLERS", "handlers", _module_list, write_list, "Python modules",
             "Modules whose `@job` functions run the jobs, separated by commas"),
    Variable("WORKER_ID", "worker_id", _name, str, "a name",
             "Unique to this process and the same after its restart; the host name if not set"),
    Variable("WORKER_POOL", "pool", _name, str, "a name", "The pool this worker belongs to"),
    Variable("ENABLE_SCHEDULER", "enable_scheduler", read_bool, write_bool, _TRUTH,
             "Whether this process promotes scheduled jobs and fires schedules"),
    Variable("SCHEDULER_INTERVAL", "scheduler_interval_ms", read_scheduler_interval,
             format_duration, "`100ms` to `1m`",
             "How often to look for scheduled jobs that are due"),
    Variable("JOB_TIMEOUT", "job_timeout_ms", duration(1), format_duration, _DURATION,
             "How long a job may run, where the job type says nothing else"),
    Variable("MAX_RETRIES", "max_retries", whole(0, MAX_RETRIES), str, f"0 to {MAX_RETRIES}",
             "Runs after the first, where neither the job nor its type says anything else"),
    Variable("WORKER_MAX_CRASHES", "max_crashes", whole(1, MAX_RETRIES), str,
             f"1 to {MAX_RETRIES}", "Workers that a job may take down before it is buried"),
    Variable("WORKER_LEASE", "lease_ms", duration(MIN_LEASE_MS), format_duration,
             "at least `1s`", "How long after its last sign of life a worker's jobs are still its"),
    Variable("WORKER_GRACE", "grace_ms", duration(0), format_duration, _DURATION,
             "How long a stop waits for running jobs before it hands them back"),
    Variable("WORKER_JOBS", "jobs", read_jobs, write_jobs, "a JSON object",
             "Timeout and retries by job type: `{\"send_email\":{\"timeout\":\"30s\"}}`"),
    Variable("WORKER_SCHEDULES", "schedules", read_schedules, write_schedules, "a JSON object",
             "Cron schedules by name: `{\"nightly\":{\"cron\":\"0 2 * * *\",\"job\":\"report\"}}`"),
    Variable("METRICS_PORT", "metrics_port", whole(1, 65_535), write_port, "1 to 65535",
             "Where to serve `/metrics`, `/livez` and `/readyz`; nowhere if not set"),
    Variable("LIVENESS_FILE", "liveness_file", _any_text, str, "a path",
             "A file touched as long as the worker makes progress; none if not set"),
    Variable("REDIS_URL", "redis_url", _any_text, str, "a URL", "The Redis or Valkey server",
             secret=True),
    Variable("REDIS_KEY_PREFIX", "key_prefix", _key_prefix, str, "up to 100 characters",
             "What every key begins with; may hold a `{hash tag}` for Redis Cluster"),
    Variable("RESULT_BACKEND_ENABLED", "results_enabled", read_bool, write_bool, _TRUTH,
             "Whether results are stored"),
    Variable("RESULT_BACKEND_TTL_SUCCESS", "result_ttl_success_ms", duration(1000),
             format_duration, "at least `1s`", "How long the result of a completed job is kept"),
    Variable("RESULT_BACKEND_TTL_FAILURE", "result_ttl_failure_ms", duration(1000),
             format_duration, "at least `1s`", "How long the result of a dead job is kept"),
    Variable("LOG_LEVEL", "log_level", choice("log level", LOG_LEVELS), str,
             ", ".join(f"`{level}`" for level in LOG_LEVELS), "The least severe event to log"),
    Variable("LOG_FORMAT", "log_format", choice("log format", LOG_FORMATS), str,
             "`json`, `text`", "JSON Lines for machines, or text for people"),
    Variable("LOG_COLOR", "log_color", read_bool, write_bool, _TRUTH,
             "Whether text on a terminal is coloured"),
    Variable("LOG_CONSOLE_ENABLED", "log_console", read_bool, write_bool, _TRUTH,
             "Whether to log to standard output"),
    Variable("LOG_FILE_ENABLED", "log_file_enabled", read_bool, write_bool, _TRUTH,
             "Whether to log to a file"),
    Variable("LOG_FILE_PATH", "log_file_path", _any_text, str, "a path", "The log file"),
    Variable("LOG_FILE_MAX_SIZE_MB", "log_file_max_size_mb", whole(1, 100_000), str,
             "1 to 100000", "Size in MB at which the log file is rotated"),
    Variable("LOG_FILE_MAX_BACKUPS", "log_file_max_backups", whole(0, 10_000), str,
             "0 to 10000", "Rotated log files to keep"),
    Variable("LOG_FILE_MAX_AGE_DAYS", "log_file_max_age_days", whole(0, 36_500), str,
             "0 to 36500", "Days after which a rotated log file is removed; 0 for never"),
    Variable("LOG_FILE_COMPRESS", "log_file_compress", read_bool, write_bool, _TRUTH,
             "Whether rotated log files are compressed"),
)  # fmt: skip

_DEFAULTS: dict[str, Any] = {
    item.name: getattr(WorkerConfig(), item.name) for item in fields(WorkerConfig)
}
