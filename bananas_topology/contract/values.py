"""The vocabulary of the contract: what a worker's settings may be, and their limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Mode(StrEnum):
    """Which jobs a worker accepts."""

    THIN = "thin"
    DEFAULT = "default"
    SPECIALIZED = "specialized"
    JOB_SPECIALIZED = "job-specialized"
    SCHEDULER_ONLY = "scheduler-only"


@dataclass(frozen=True, slots=True)
class Preset:
    """Defaults of a mode.

    `has_scheduler` None means: if the topology has no `scheduler:` section. A worker that is
    configured by its variables alone knows of no such section, and has one.
    """

    concurrency: int
    has_scheduler: bool | None


PRESETS: Mapping[Mode, Preset] = {
    Mode.THIN: Preset(concurrency=5, has_scheduler=True),
    Mode.DEFAULT: Preset(concurrency=10, has_scheduler=None),
    Mode.SPECIALIZED: Preset(concurrency=10, has_scheduler=False),
    Mode.JOB_SPECIALIZED: Preset(concurrency=10, has_scheduler=False),
    Mode.SCHEDULER_ONLY: Preset(concurrency=0, has_scheduler=True),
}


#: In the order in which they are served.
PRIORITIES = ("high", "normal", "low")
LOG_LEVELS = ("debug", "info", "warn", "error")
LOG_FORMATS = ("json", "text")

MAX_CONCURRENCY = 1000
MIN_SCHEDULER_INTERVAL_MS = 100
MAX_SCHEDULER_INTERVAL_MS = 60_000
#: A shorter lease could expire on a busy machine while its worker is healthy.
MIN_LEASE_MS = 1_000
MAX_RETRIES = 1000

#: A valid job type: printable, no comma (the separator in variables), no whitespace.
JOB_TYPE_PATTERN = r"[^\s,\x00-\x1f\x7f]{1,200}"

#: Variables of the Go version that have no effect here: their names, or what those begin with.
WITHOUT_EFFECT = (
    *("LOG_ES_", "LOG_CONSOLE_BUFFER_SIZE", "LOG_CONSOLE_FLUSH_INTERVAL", "LOG_FILE_BUFFER_SIZE"),
    *("LOG_FILE_BATCH_", "CRON_SCHEDULER_ENABLED", "CRON_SCHEDULER_INTERVAL"),
    *("WORKER_ROUTING_KEYS", "PPROF_PORT"),
)


def is_without_effect(variable: str) -> bool:
    """Whether a variable had an effect in the Go version, and has none here.

    >>> is_without_effect("LOG_ES_ENABLED"), is_without_effect("LOG_LEVEL")
    (True, False)
    """
    return variable.startswith(WITHOUT_EFFECT)
