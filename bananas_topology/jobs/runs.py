"""The runs of a job: every attempt, with the worker that made it and how it ended.

A worker records a run that did not complete, and the one that completes after it. A job that
completes at its first attempt writes nothing: its run is known from its result, without its worker.
Runs that ended with their worker are known from the job's crashes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from heapq import merge
from operator import itemgetter
from typing import Annotated

import msgspec

from bananas_topology.jobs.crashes import Crash, read_crashes
from bananas_topology.jobs.job import DECODE_ERRORS
from bananas_topology.jobs.stored import moment_after, parse_moment

#: Characters of an error that are kept per run; all of the last one is in ``failure:<id>``.
ERROR_LIMIT = 500

#: Maximum number of crashes that are read; record_runs.lua bounds the number of runs.
MAX_CRASHES = 20

_NEVER = datetime.max.replace(tzinfo=UTC)


class RunOutcome(StrEnum):
    """How a run ended, if it has.

    INTERRUPTED: the worker stopped, and the job was returned to its queue. CRASHED: the worker
    crashed while it held the job, whether or not the job had started.
    """

    RUNNING = "running"
    COMPLETED = "completed"
    RETRIED = "retried"
    DEAD = "dead"
    INTERRUPTED = "interrupted"
    CRASHED = "crashed"


@dataclass(frozen=True, slots=True)
class JobRun:
    """One run of a job; None is unknown. `error` is ``Type: message``, shortened.

    `attempt` counts from 1. Runs that were interrupted or crashed do not count as an attempt, so
    the next run has the same number.
    """

    attempt: int
    worker_id: str | None
    started_at: datetime | None
    duration_ms: int | None
    outcome: RunOutcome
    error: str | None = None


_Count = Annotated[int, msgspec.Meta(ge=0, lt=10**15)]


class StoredRun(msgspec.Struct, frozen=True, omit_defaults=True):
    """An entry of ``runs:<id>``."""

    attempt: _Count
    worker_id: str
    started_at: str
    duration_ms: _Count
    outcome: RunOutcome
    error: str = ""

    def encode(self) -> bytes:
        """The entry as JSON."""
        return msgspec.json.encode(self)


def read_runs(
    stored: Iterable[bytes], crashes: Iterable[bytes], latest: JobRun | None, attempts: int
) -> tuple[JobRun, ...]:
    """The runs of a job, oldest first.

    `latest` is the run in progress, or the one that completed the job. `attempts` have been made.
    """
    runs = [run for run in map(_parse, stored) if run is not None]
    is_stored = runs and latest and runs[-1].outcome is latest.outcome
    if latest is not None and not is_stored:
        runs.append(latest)
    # Each keeps its own order: the clocks of the workers may differ.
    ends: list[tuple[datetime, JobRun | Crash]] = [(_ended_at(run), run) for run in runs]
    died: list[tuple[datetime, JobRun | Crash]] = [(e.at, e) for e in read_crashes(crashes)]
    found: list[JobRun] = []
    attempt = attempts + 1
    for _, each in reversed(list(merge(ends, died, key=itemgetter(0)))):
        run = _crashed(each, attempt) if isinstance(each, Crash) else each
        found.append(run)
        attempt = run.attempt
    return tuple(reversed(found))


def _ended_at(run: JobRun) -> datetime:
    if run.started_at is None or run.duration_ms is None:
        return _NEVER
    return moment_after(run.started_at, run.duration_ms) or _NEVER


def _crashed(crash: Crash, attempt: int) -> JobRun:
    error = "the worker went down" + ("" if crash.alone else " while it held several jobs")
    return JobRun(attempt, crash.worker_id, crash.claimed_at, None, RunOutcome.CRASHED, error)


def _parse(entry: bytes) -> JobRun | None:
    try:
        run = msgspec.json.decode(entry, type=StoredRun)
    except DECODE_ERRORS:
        return None
    started_at = parse_moment(run.started_at)
    return JobRun(
        run.attempt, run.worker_id, started_at, run.duration_ms, run.outcome, run.error or None
    )
