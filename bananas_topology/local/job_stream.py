"""Shows jobs on a terminal as they finish or, at a high rate, their number per second."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from bananas_topology.supervisor.poll_source import PollSource
from bananas_topology.supervisor.state import ChildState
from bananas_topology.system.clock import monotonic
from bananas_topology.system.terminal import visible
from bananas_topology.worker.logs import TextFormatter

#: Jobs per second, of all workers, above which only their number is shown: more than a person can
#: read.
MAX_LINES_PER_S = 20

#: Seconds over which jobs are counted.
_WINDOW_S = 1.0

#: Shows a line of a child, given its name and pool.
ShowLine = Callable[[str, str, str], None]


class JobStream(PollSource):
    """A source of the supervisor's loop, which also takes the reports of jobs.

    `show_rate` receives one line of text, empty for none.
    """

    def __init__(self, show_line: ShowLine, show_rate: Callable[[str], None]) -> None:
        self._show_line = show_line
        self._show_rate = show_rate
        self._formatter = TextFormatter(color=False)
        self._begun_at = monotonic()
        self._count = 0
        self._is_counting = False

    def take(self, state: ChildState, text: str) -> None:
        """Show the jobs of a report; one that cannot be read is ignored."""
        try:
            report = json.loads(text)
            count = int(report["count"])
            lines = [self._format(job) for job in report["jobs"]]
        except (ValueError, KeyError, TypeError):
            return
        self._count += count
        # A report that omits jobs is part of a rate too high to read.
        self._is_counting |= self._count > MAX_LINES_PER_S or count > len(lines)
        if not self._is_counting:
            for line in lines:
                self._show_line(state.name, state.pool, line)

    def on_turn(self) -> None:
        """At the end of a second, show the number of jobs that were not shown one by one."""
        elapsed_s = monotonic() - self._begun_at
        if elapsed_s < _WINDOW_S:
            return
        rate = round(self._count / elapsed_s)
        self._show_rate(f"{rate:,} jobs/s" if self._is_counting else "")
        self._is_counting = self._is_counting and rate > MAX_LINES_PER_S
        self._begun_at, self._count = monotonic(), 0

    def _format(self, job: Mapping[str, Any]) -> str:
        """Format a job as the worker's log would.

        Raises:
            KeyError, TypeError: a field is missing.
        """
        fields: dict[str, Any] = {name: job[name] for name in ("attempt", "duration_ms")}
        texts = {name: visible(str(job[name])) for name in ("job_id", "job_type")}
        record = {"levelno": logging.INFO, "msg": visible(str(job["event"])), **texts, **fields}
        return self._formatter.format(logging.makeLogRecord(record))
