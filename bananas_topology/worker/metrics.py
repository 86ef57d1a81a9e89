"""What a worker has done: counted as it settles, said in one log line a minute."""

from __future__ import annotations

import logging

from bananas_topology.clock import monotonic
from bananas_topology.jobs.broker import Ack, Bury, Retry
from bananas_topology.units import format_duration
from bananas_topology.worker.run import Run

#: Seconds between two lines of metrics.
REPORT_S = 60.0

log = logging.getLogger(__name__)


class Tally:
    """Counts of one worker since its start. Utilisation and error rate are of all that time."""

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._started_at = monotonic()
        self._completed = 0
        self._failed = 0
        self._busy_ms = 0.0

    def count(self, run: Run) -> None:
        """Note one run that has ended."""
        if isinstance(run.settlement, Ack):
            self._completed += 1
        elif isinstance(run.settlement, Retry | Bury):
            self._failed += 1
        self._busy_ms += run.duration_s * 1000

    def report(self) -> None:
        """Say it, under the names that dashboards know."""
        processed = self._completed + self._failed
        uptime_ms = (monotonic() - self._started_at) * 1000
        capacity_ms = max(1.0, uptime_ms * self._concurrency)
        fields = {
            "jobs_processed": processed,
            "jobs_completed": self._completed,
            "jobs_failed": self._failed,
            "avg_duration_ms": round(self._busy_ms / max(1, processed)),
            "worker_utilization": f"{100 * self._busy_ms / capacity_ms:.1f}%",
            "error_rate": f"{100 * self._failed / max(1, processed):.2f}%",
            "uptime": format_duration(round(uptime_ms / 1000) * 1000),
        }
        log.info("System metrics", extra=fields)
