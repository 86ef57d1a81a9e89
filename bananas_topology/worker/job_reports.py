"""Reports finished jobs to the worker's parent, which shows them: `bananas up` on a terminal.

Only jobs that the log does not show, and only if the parent asks for them.
"""

from __future__ import annotations

import json
import math

from bananas_topology.jobs.settlements import Settlement
from bananas_topology.system.clock import monotonic
from bananas_topology.system.notify import JOBS, Notifier
from bananas_topology.worker.periodic import PeriodicTask
from bananas_topology.worker.run import Run

#: Seconds between messages: short enough to see jobs at once, long enough to cost little.
REPORT_S = 0.1

#: Jobs described in one message; the others are only counted.
MAX_JOBS = 10

#: Maximum characters of a reported id or type.
MAX_TEXT = 200


class JobReports:
    """Collects jobs, and sends them at most every `REPORT_S`. All methods are for the loop."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        self._count = 0
        self._jobs: list[dict[str, str | int]] = []
        self._sent_at = -math.inf
        #: To be run by the loop.
        self.task = PeriodicTask(math.inf, self.send, due=math.inf)

    def add(self, run: Run, settlement: Settlement) -> None:
        """Add a finished job; one that was released is not."""
        if not settlement.counters:
            return
        self._count += 1
        self.task.due = self._sent_at + REPORT_S
        if len(self._jobs) < MAX_JOBS:
            self._jobs.append(
                {
                    "event": settlement.event,
                    "job_id": run.claim.job_id[:MAX_TEXT],
                    "job_type": run.job_type[:MAX_TEXT],
                    "attempt": run.attempt,
                    "duration_ms": run.duration_ms,
                }
            )

    def send(self) -> None:
        """Send what has been added since the last message, if anything."""
        if not self._count:
            return
        message = {"count": self._count, "jobs": self._jobs}
        self._notifier.send(**{JOBS: json.dumps(message)})
        self._sent_at, self._count, self._jobs = monotonic(), 0, []
