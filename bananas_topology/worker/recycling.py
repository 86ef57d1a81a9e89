"""When a worker has served long enough to be replaced by a fresh process.

A worker that reaches a limit drains: it finishes the jobs it runs, releases those it holds beyond
that, and exits with `EXIT_RECYCLE`. Whatever started it starts it again.
"""

from __future__ import annotations

from bananas_topology.contract.worker import WorkerConfig


class Recycling:
    """The limits on the life of one worker process."""

    def __init__(self, config: WorkerConfig) -> None:
        self._max_jobs = config.max_jobs
        self._finished = 0

    def count(self, finished: int) -> None:
        """Add to the number of finished runs."""
        self._finished += finished

    def reason(self) -> str:
        """Which limit the process has reached; empty if none. Ask between jobs."""
        if self._max_jobs and self._finished >= self._max_jobs:
            return f"{self._finished} jobs run, max_jobs is {self._max_jobs}"
        return ""
