"""The history as JSON. Pure, as views.py."""

from __future__ import annotations

from typing import TypedDict

from bananas_topology.jobs.history import PERIODS, History, PeriodName, Totals
from bananas_topology.jobs.log_histogram import TimeCounts
from bananas_topology.jobs.timestamps import Timestamp
from bananas_topology.system.clock import format_timestamp


class PercentilesJson(TypedDict):
    """Percentiles of a time in milliseconds, to within 10 %."""

    p50: float
    p95: float
    p99: float


class TotalsJson(TypedDict):
    """Counts and times.

    `failed` counts failed runs, and `dead` those of them that were not retried. `run_ms`: run
    times. `wait_ms`: time from a job's creation to its first run, without that of delayed jobs.
    Both are null if there is none.
    """

    completed: int
    failed: int
    dead: int
    wait_ms: PercentilesJson | None
    run_ms: PercentilesJson | None


class HistoryPointJson(TotalsJson):
    """One step, which begins `at`."""

    at: Timestamp


class HistorySumJson(TotalsJson):
    """The whole period of one job type or pool; of all others if the name is null."""

    name: str | None


# "from" is a keyword, which only this form allows as a name.
_Begin = TypedDict("_Begin", {"from": Timestamp})


class HistoryJson(_Begin):
    """The history of a period. `points` has every step, the oldest first.

    The last step is the current one: it is not over. `types` and `pools` add up all of the period,
    most runs first.
    """

    period: str
    step_s: int
    until: Timestamp
    points: list[HistoryPointJson]
    types: list[HistorySumJson]
    pools: list[HistorySumJson]


def history_json(name: PeriodName, history: History) -> HistoryJson:
    """Describe the history of the period with this name."""
    return {
        "period": name,
        "step_s": PERIODS[name].step_s,
        "from": format_timestamp(history.points[0][0]),
        "until": format_timestamp(history.until),
        "points": [
            {"at": format_timestamp(moment), **_totals(totals)} for moment, totals in history.points
        ],
        "types": [{"name": name, **_totals(totals)} for name, totals in history.types],
        "pools": [{"name": name, **_totals(totals)} for name, totals in history.pools],
    }


def _totals(totals: Totals) -> TotalsJson:
    return {
        "completed": totals.completed,
        "failed": totals.failed,
        "dead": totals.dead,
        "wait_ms": _percentiles(totals.waits),
        "run_ms": _percentiles(totals.runs),
    }


def _percentiles(times: TimeCounts) -> PercentilesJson | None:
    seconds = times.percentiles((50, 95, 99))
    if seconds is None:
        return None
    p50, p95, p99 = (float(f"{each * 1000:.3g}") for each in seconds)
    return {"p50": p50, "p95": p95, "p99": p99}
