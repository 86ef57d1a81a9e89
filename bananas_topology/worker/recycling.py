"""When to replace a worker by a new process.

A worker that reaches a limit drains: it finishes the jobs it runs, releases those it holds beyond
that, and exits with `EXIT_RECYCLE`. Its parent restarts it.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from bananas_topology.contract.worker import WorkerConfig
from bananas_topology.system.clock import monotonic
from bananas_topology.units import format_duration, format_memory

#: Fraction of `max_age` over which the recycling of replicas that started together is spread.
AGE_SPREAD = 0.1

#: Seconds for which a measurement of memory is reused.
_MEASURED_S = 0.5


class Recycling:
    """The limits of one worker process. `spread` is a random number in [0, 1)."""

    def __init__(self, config: WorkerConfig, spread: float) -> None:
        self._max_jobs = config.max_jobs
        self._max_memory_bytes = config.max_memory_bytes
        self._max_age_ms = config.max_age_ms
        age_s = config.max_age_ms / 1000 * (1 + AGE_SPREAD * spread)
        self._expires_at = monotonic() + age_s if age_s else float("inf")
        self._finished = 0
        self._measure_at = 0.0

    def count(self, finished: int) -> None:
        """Add to the number of finished runs."""
        self._finished += finished

    def reason(self) -> str:
        """Which limit the process has reached; empty if none. Ask between jobs."""
        if self._max_jobs and self._finished >= self._max_jobs:
            return f"{self._finished} jobs run, max_jobs is {self._max_jobs}"
        if monotonic() >= self._expires_at:
            return f"max_age of {format_duration(self._max_age_ms)} reached"
        if self._max_memory_bytes and monotonic() >= self._measure_at:
            self._measure_at = monotonic() + _MEASURED_S
            used_bytes = resident_bytes()
            if used_bytes > self._max_memory_bytes:
                limit = format_memory(self._max_memory_bytes)
                return f"{used_bytes // 2**20}Mi resident, max_memory is {limit}"
        return ""


def resident_bytes() -> int:
    """The resident memory of this process; without /proc, its maximum so far."""
    try:
        pages = int(Path("/proc/self/statm").read_bytes().split()[1])
    except OSError:
        # In bytes on macOS, in kilobytes elsewhere.
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return pages * resource.getpagesize()
