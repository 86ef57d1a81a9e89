"""The history of the last hour and day: counts and times by job type and pool.

Workers count, and add their counts every few seconds to the current step of each period, by the
server's clock (lua/transitions/add_history.lua). That takes constant space in Redis. Other clients'
workers add nothing. Reading takes two round trips.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
import redis

from bananas_topology.jobs.connection import translate_errors
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.log_histogram import TimeCounts
from bananas_topology.jobs.stored import server_time

#: Maximum names in a reading; the others are added up.
NAME_LIMIT = 200

PeriodName = Literal["hour", "day"]


@dataclass(frozen=True, slots=True)
class Period:
    """How long the history goes back: a number of steps, the current one included."""

    step_s: int
    steps: int

    @property
    def keep_s(self) -> int:
        """How long a step is kept after it was last changed."""
        return self.step_s * (self.steps + 1)


PERIODS: dict[PeriodName, Period] = {"hour": Period(60, 60), "day": Period(900, 96)}


class TypeCounts(msgspec.Struct, array_like=True):
    """A worker's counts of one job type: settlements, and lists of run and wait times.

    `failed` counts failed runs, `dead` those of them that were not retried. Times as in
    log_histogram.py.
    """

    job_type: str
    completed: int
    failed: int
    dead: int
    runs: list[int]
    waits: list[int]


@dataclass(frozen=True, slots=True)
class HistoryFlush:
    """Counts to add to the history, those of each type once. `token` is unique to them."""

    token: str
    pool: str
    counts: bytes

    @classmethod
    def of(cls, token: str, pool: str, counts: Iterable[TypeCounts]) -> HistoryFlush:
        """Encode counts; of more types than the history has room for, the first are kept."""
        return cls(token, pool, msgspec.msgpack.encode(list(counts)))


@dataclass(slots=True)
class Totals:
    """Sums of counts, as those of `TypeCounts`."""

    completed: int = 0
    failed: int = 0
    dead: int = 0
    runs: TimeCounts = field(default_factory=TimeCounts)
    waits: TimeCounts = field(default_factory=TimeCounts)

    def add(self, cell: _Cell) -> None:
        self.completed += cell.completed
        self.failed += cell.failed
        self.dead += cell.dead
        self.runs.add(cell.runs, cell.level)
        self.waits.add(cell.waits, cell.level)

    def update(self, other: Totals) -> None:
        """Add other totals."""
        self.completed += other.completed
        self.failed += other.failed
        self.dead += other.dead
        self.runs.update(other.runs)
        self.waits.update(other.waits)


@dataclass(frozen=True, slots=True)
class History:
    """One period up to `until`, the server's time. Each point is a step, the oldest first.

    `types` and `pools` are sums over the period by name, most runs first; of all further names
    the name is None.
    """

    until: datetime
    points: list[tuple[datetime, Totals]]
    types: list[tuple[str | None, Totals]]
    pools: list[tuple[str | None, Totals]]


_Position = Annotated[int, msgspec.Meta(ge=1)]
_Count = Annotated[int, msgspec.Meta(ge=0)]


class _Cell(msgspec.Struct, array_like=True):
    """The counts of one job type in one pool in one step. Positions of their names from 1."""

    job_type: _Position
    pool: _Position
    level: Annotated[int, msgspec.Meta(ge=0, le=7)]
    completed: _Count
    failed: _Count
    dead: _Count
    runs: list[int]
    waits: list[int]


class _Step(msgspec.Struct, array_like=True):
    types: list[str]
    pools: list[str]
    cells: list[_Cell]


_STEP = msgspec.msgpack.Decoder(_Step)


class HistoryReader:
    """Reads the history of one prefix.

    Raises:
        RedisUnavailable, RedisUnsuitable: see connection.py.
    """

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    def read(
        self, name: PeriodName, job_type: str | None = None, pool: str | None = None
    ) -> History:
        """Read a period; its points are of one job type, or one pool, or both, if these are given.

        Counts reach the history up to ten seconds late, and belong to the step in which they do.
        """
        period = PERIODS[name]
        with translate_errors(self._client):
            clock = self._client.time()
            current = clock[0] // period.step_s
            numbers = range(current - period.steps + 1, current + 1)
            keys = [self._keys.history(period.step_s, number) for number in numbers]
            stored: Any = self._client.mget(keys)
        points: list[tuple[datetime, Totals]] = []
        sums: defaultdict[tuple[str, str], Totals] = defaultdict(Totals)
        for number, text in zip(numbers, stored, strict=True):
            point = Totals()
            points.append((datetime.fromtimestamp(number * period.step_s, UTC), point))
            step = _decode(text)
            for cell in step.cells:
                names = step.types[cell.job_type - 1], step.pools[cell.pool - 1]
                sums[names].add(cell)
                if job_type in (None, names[0]) and pool in (None, names[1]):
                    point.add(cell)
        return History(
            until=server_time(clock),
            points=points,
            types=_by_name((names[0], totals) for names, totals in sums.items()),
            pools=_by_name((names[1], totals) for names, totals in sums.items()),
        )


def _decode(stored: bytes | None) -> _Step:
    """Decode a step; one without counts if there is none."""
    step = _Step([], [], [])
    if stored is not None:
        with suppress(msgspec.MsgspecError):  # not written by a worker
            step = _STEP.decode(stored)
    types, pools = len(step.types), len(step.pools)
    are_named = all(cell.job_type <= types and cell.pool <= pools for cell in step.cells)
    return step if are_named else _Step([], [], [])


def _by_name(parts: Iterable[tuple[str, Totals]]) -> list[tuple[str | None, Totals]]:
    """Add up entries with the same name, and those beyond the limit or without a name."""
    sums: defaultdict[str, Totals] = defaultdict(Totals)
    for name, totals in parts:
        sums[name].update(totals)
    unnamed = sums.pop("", None)
    ordered = sorted(sums.items(), key=lambda item: -item[1].completed - item[1].failed)
    for _, totals in ordered[NAME_LIMIT:]:
        unnamed = unnamed or Totals()
        unnamed.update(totals)
    named: list[tuple[str | None, Totals]] = [*ordered[:NAME_LIMIT]]
    return named if unnamed is None else [*named, (None, unnamed)]
