"""The vocabulary of the contract: what a worker's settings may be, and their limits."""

from __future__ import annotations

from enum import StrEnum


class Mode(StrEnum):
    """Which jobs a worker accepts."""

    THIN = "thin"
    DEFAULT = "default"
    SPECIALIZED = "specialized"
    JOB_SPECIALIZED = "job-specialized"
    SCHEDULER_ONLY = "scheduler-only"


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
