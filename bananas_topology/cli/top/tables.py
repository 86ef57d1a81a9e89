"""The tables of `bananas top` as rows of text, filtered and sorted. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bananas_topology.cli import console
from bananas_topology.cli.top.model import Model, Pane, Snapshot
from bananas_topology.contract.api import Replicas

#: Pool of workers that do not say one.
NO_POOL = "(none)"


@dataclass(frozen=True, slots=True)
class Column:
    """A column. `largest_first` is the direction it is sorted in by default."""

    name: str
    is_number: bool = False
    largest_first: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A row: the id of what it is about, its cells, and the values that it is sorted by."""

    row_id: str
    cells: tuple[str, ...]
    keys: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Figures:
    """A row of the tables above the pane. `is_alert`: somebody should look at it."""

    cells: tuple[str, ...]
    is_alert: bool


_AGE = Column("for", is_number=True, largest_first=True)

#: The columns of each pane; the first is the one it is sorted by at first.
COLUMNS: dict[Pane, tuple[Column, ...]] = {
    Pane.RUNNING: (_AGE, Column("type"), Column("priority"), Column("worker"), Column("id")),
    Pane.WORKERS: (
        Column("worker"),
        Column("pool"),
        Column("running", is_number=True, largest_first=True),
        Column("slots", is_number=True, largest_first=True),
        Column("stuck", is_number=True, largest_first=True),
        Column("uptime", is_number=True, largest_first=True),
        Column("host"),
        Column("pid", is_number=True),
    ),
    Pane.DEAD: (
        Column("died", is_number=True),
        Column("type"),
        Column("attempts", is_number=True, largest_first=True),
        Column("error"),
        Column("id"),
    ),
}


def rows(model: Model) -> list[Row]:
    """The rows of the current pane, filtered and sorted."""
    if model.snapshot is None:
        return []
    text = model.filter.casefold()
    found = [
        row
        for row in _rows_of(model.pane, model.snapshot)
        if any(text in cell.casefold() for cell in row.cells)
    ]
    column = COLUMNS[model.pane][model.sort.column]
    found.sort(key=lambda row: row.row_id)
    found.sort(
        key=lambda row: row.keys[model.sort.column],
        reverse=column.largest_first != model.sort.reverse,
    )
    return found


def cursor(model: Model, shown: list[Row]) -> int:
    """The index of the selected row; 0 if there is none."""
    for index, row in enumerate(shown):
        if row.row_id == model.selected_id:
            return index
    return max(0, min(model.selected_index, len(shown) - 1))


def queue_rows(snapshot: Snapshot) -> Iterator[Figures]:
    """Queue, ready jobs, age of the oldest, and what is wrong with it."""
    for depth in snapshot.depths:
        notes = []
        if depth.unhandled:
            notes.append(f"no handler: {', '.join(depth.unhandled)}")
        if isolated := sum(each.count for each in depth.suspects.values()):
            notes.append(f"isolated: {isolated:,}")
        oldest = _age(snapshot.at, depth.oldest)
        note = console.one_line("; ".join(notes))
        yield Figures((depth.priority, f"{depth.total:,}", oldest, note), bool(notes))


def pool_rows(model: Model, snapshot: Snapshot) -> Iterator[Figures]:
    """Pool, workers of those wanted, busy slots of all, utilization, and stuck slots."""
    pools: dict[str, list[int]] = {name: [0, 0, 0, 0] for name in model.wanted_replicas}
    for worker in snapshot.workers:
        sums = pools.setdefault(worker.pool or NO_POOL, [0, 0, 0, 0])
        for i, value in enumerate((1, worker.running, worker.concurrency, worker.stuck)):
            sums[i] += value
    for name, (workers, running, slots, stuck) in pools.items():
        wanted = model.wanted_replicas.get(name)
        share = f"{min(100, round(100 * running / slots))}%" if slots else ""
        cells = (
            console.one_line(name),
            f"{workers}" if wanted is None else f"{workers}/{_wanted(wanted)}",
            f"{running:,}/{slots:,}",
            share,
            str(stuck) if stuck else "",
        )
        yield Figures(cells, workers < (wanted.minimum if wanted else 0) or stuck > 0)


def _wanted(replicas: Replicas) -> str:
    minimum, maximum = replicas
    return str(minimum) if minimum == maximum else f"{minimum}-{maximum}"


def _rows_of(pane: Pane, snapshot: Snapshot) -> Iterable[Row]:
    match pane:
        case Pane.RUNNING:
            return _running(snapshot)
        case Pane.WORKERS:
            return _workers(snapshot)
        case Pane.DEAD:
            return _dead(snapshot)


def _running(snapshot: Snapshot) -> Iterator[Row]:
    for job in snapshot.activity.jobs:
        seconds = _seconds(snapshot.at, job.claimed_at)
        texts = (job.job_type or "unknown", job.priority, job.worker_id, job.job_id)
        yield _row(job.job_id, (_age(snapshot.at, job.claimed_at), *texts), (seconds, *texts))


def _workers(snapshot: Snapshot) -> Iterator[Row]:
    for worker in snapshot.workers:
        numbers = (worker.running, worker.concurrency, worker.stuck)
        seconds = _seconds(snapshot.at, worker.started_at)
        pool = worker.pool or NO_POOL
        cells = (
            *(worker.worker_id, pool, *map(str, numbers)),
            *(_age(snapshot.at, worker.started_at), worker.host, str(worker.pid)),
        )
        keys = (worker.worker_id, pool, *numbers, seconds, worker.host, worker.pid)
        yield _row(worker.worker_id, cells, keys)


def _dead(snapshot: Snapshot) -> Iterator[Row]:
    for job in snapshot.dead:
        job_type = job.job_type or "unknown"
        texts = (job_type, str(job.attempts), job.error, job.job_id)
        seconds = _seconds(snapshot.at, job.died_at)
        keys = (seconds, job_type, job.attempts, job.error, job.job_id)
        yield _row(job.job_id, (_age(snapshot.at, job.died_at), *texts), keys)


def _row(row_id: str, cells: tuple[str, ...], keys: tuple[Any, ...]) -> Row:
    return Row(row_id, tuple(map(console.one_line, cells)), keys)


def _seconds(at: datetime, moment: datetime | None) -> float:
    return 0.0 if moment is None else max(0.0, (at - moment).total_seconds())


def _age(at: datetime, moment: datetime | None) -> str:
    return "" if moment is None else console.duration(_seconds(at, moment))
