"""What `bananas top` shows, as lines of exactly the terminal's size. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

from rich.cells import cell_len, chop_cells, set_cell_size
from rich.text import Text

from bananas_topology.cli import console
from bananas_topology.cli.job import as_fields
from bananas_topology.cli.top.keys import HELP
from bananas_topology.cli.top.model import JobDetails, Model, Pane, Snapshot
from bananas_topology.cli.top.tables import (
    COLUMNS,
    Column,
    Figures,
    Row,
    cursor,
    pool_rows,
    queue_rows,
    rows,
)
from bananas_topology.system.terminal import visible
from bananas_topology.units import quantity

_BARS = "▁▂▃▄▅▆▇█"

#: Width from which queues and pools are side by side.
_WIDE = 120

#: Characters to which a column may be shortened.
_MIN_CELL = 6

#: Characters of the names of a job's fields.
_NAME_WIDTH = 11

#: Characters of one field of a job that are shown.
_MAX_FIELD = 20_000

#: Lines that the reason for a lost connection may take.
_MAX_REASON = 3

_QUEUE_COLUMNS = (Column("queue"), Column("ready", True), Column("oldest", True), Column("note"))
_POOL_COLUMNS = (
    Column("pool"), Column("workers", True), Column("busy", True), Column("use", True),
    Column("stuck", True),
)  # fmt: skip

_FOOTER = "q quit  tab list  enter details  r retry  / filter  s sort  p pause  ? help"


class Size(NamedTuple):
    """Columns and lines of the terminal."""

    width: int
    height: int


def view(model: Model, size: Size, now_s: float) -> list[Text]:
    """Draw the model; `now_s` is the monotonic time."""
    head = [_title(model), *_connection(model, size.width, now_s)]
    footer = _footer(model)
    room = size.height - len(head) - 1
    if model.is_helping:
        body = [Text(f"{keys:<24}{meaning}") for keys, meaning in HELP]
    elif model.job_id is not None:
        body = _job(model, Size(size.width, room))
    elif model.snapshot is not None:
        body = _overview(model, model.snapshot, Size(size.width, room))
    else:
        body = [Text("connecting …" if model.lost_since_s is None else "")]
    lines = [*head, *body[:room], *[Text()] * (room - len(body)), footer]
    for line in lines:
        line.truncate(size.width, overflow="ellipsis")
    return lines[-size.height :] if size.height else []


def page_size(size: Size) -> int:
    """Number of rows that PgUp and PgDn move by."""
    return max(1, size.height // 2)


def _title(model: Model) -> Text:
    title = Text("bananas top", "bold")
    if model.snapshot is not None:
        is_live = model.lost_since_s is None and not model.is_paused
        moment = f"{model.snapshot.at.astimezone():%H:%M:%S}"
        title.append(f"  {moment}" if is_live else f"  as of {moment}", "not bold")
    if model.is_paused:
        title.append("  ").append(" PAUSED ", "reverse")
    return title.append(f"  {console.one_line(model.title)}", "not bold")


def _connection(model: Model, width: int, now_s: float) -> list[Text]:
    """How long the server has been unavailable, and why. The end of a reason says most."""
    if model.lost_since_s is None:
        return []
    since = console.duration(max(1, int(now_s - model.lost_since_s)))
    text = f"Redis unavailable for {since}: {console.one_line(model.lost_reason)}"
    lines = textwrap.wrap(text, max(20, width), max_lines=_MAX_REASON, placeholder=" …")
    return [Text(line, "bold red") for line in lines]


def _footer(model: Model) -> Text:
    if model.is_typing:
        return Text("filter: ", "bold").append(f"{model.filter}█", "not bold")
    if model.message:
        return Text(console.one_line(model.message), "bold")
    if model.job_id is not None:
        return Text("q quit  escape back  ↑↓ scroll  r retry  p pause  ? help", "dim")
    return Text(_FOOTER, "dim")


def _overview(model: Model, snapshot: Snapshot, size: Size) -> list[Text]:
    is_wide = size.width >= _WIDE
    left = size.width // 2 if is_wide else size.width
    queues = _alerting(_QUEUE_COLUMNS, list(queue_rows(snapshot)), left - 2)
    queues.append(_counts(snapshot))
    # Half of the screen at most, whatever the number of pools.
    limit = max(1, size.height // 2 - (2 if is_wide else len(queues) + 2))
    figures = list(pool_rows(model, snapshot))
    pools = _alerting(_POOL_COLUMNS, figures[:limit], size.width - left if is_wide else left)
    if len(figures) > limit:
        pools.append(Text(f"… {quantity(len(figures) - limit, 'more pool')}", "dim"))
    lines = _beside(queues, pools, left) if is_wide else [*queues, *pools]
    lines.insert(0, _throughput(model, size.width))
    return [*lines, *_pane(model, snapshot, Size(size.width, size.height - len(lines)))]


def _alerting(columns: Sequence[Column], figures: Sequence[Figures], width: int) -> list[Text]:
    lines = _table(columns, [row.cells for row in figures], width)
    for line, row in zip(lines[1:], figures, strict=True):
        line.stylize("red" if row.is_alert else "")
    return lines


def _beside(left: Sequence[Text], right: Sequence[Text], width: int) -> list[Text]:
    lines = []
    for i in range(max(len(left), len(right))):
        line = left[i].copy() if i < len(left) else Text()
        line.truncate(width, overflow="ellipsis", pad=True)
        lines.append(line.append_text(right[i]) if i < len(right) else line)
    return lines


def _throughput(model: Model, width: int) -> Text:
    completed = [rate.completed for rate in model.rates]
    last = model.rates[-1] if model.rates else None
    label = f"completed {_number(last.completed)}/s" if last else "completed"
    tail = f"max {_number(max(completed))}/s" if completed else ""
    if last and last.failed:
        tail += f"  died {_number(last.failed)}/s"
    label, tail = f"{label:<18}", f"  {tail}"
    bars = sparkline(completed, max(0, width - len(label) - len(tail)))
    return Text(label).append(bars, "green").append(tail)


def sparkline(values: Sequence[float], width: int) -> str:
    """Draw the last values as bars from zero to the largest of them.

    >>> sparkline([9, 0, 1, 4, 8], 4)
    '▁▂▅█'
    """
    shown = values[-width:] if width else ()
    largest = max(shown, default=0) or 1
    return "".join(_BARS[min(7, int(8 * value / largest))] for value in shown)


def _number(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"


def _counts(snapshot: Snapshot) -> Text:
    activity = snapshot.activity
    counts = Text(f"scheduled {activity.scheduled:,}  running {activity.running:,}  ")
    counts.append(f"dead {activity.dead:,}", "red" if activity.dead else "")
    return counts.append(f"  completed {activity.completed:,}")


def _pane(model: Model, snapshot: Snapshot, size: Size) -> list[Text]:
    shown = rows(model)
    selected = cursor(model, shown)
    room = max(1, size.height - 2)
    start = max(0, min(selected - room // 2, len(shown) - room))
    columns = COLUMNS[model.pane]
    column = model.sort.column
    # Widths are those of all rows, so that columns stay where they are while one scrolls.
    lines = _table(columns, [row.cells for row in shown], size.width - 2, column, start, room)
    marked = [
        Text("> " if start + i == selected else "  ").append_text(line)
        for i, line in enumerate(lines[1:])
    ]
    if shown:
        marked[selected - start].stylize("reverse")
    header = Text("  ").append_text(lines[0])
    return [_tabs(model, snapshot, shown), header, *marked]


def _tabs(model: Model, snapshot: Snapshot, shown: Sequence[Row]) -> Text:
    counts = {
        Pane.RUNNING: snapshot.activity.running,
        Pane.WORKERS: len(snapshot.workers),
        Pane.DEAD: snapshot.activity.dead,
    }
    line = Text()
    for number, (pane, count) in enumerate(counts.items(), 1):
        label = f" {number} {pane} {count:,} "
        line.append(f"[{label[1:-1]}]" if pane is model.pane else label, "bold")
        line.append(" ")
    if model.filter:
        line.append(f' filter "{console.one_line(model.filter)}": {len(shown):,}')
    read = len(snapshot.dead) if model.pane is Pane.DEAD else len(snapshot.activity.jobs)
    if model.pane is not Pane.WORKERS and read < counts[model.pane]:
        which = "newest" if model.pane is Pane.DEAD else "random"
        line.append(f" of {read:,} {which} ones", "dim")
    return line


def last_scroll(model: Model, size: Size) -> int:
    """The largest useful `scroll` of a job's details."""
    room = size.height - 2 - (0 if model.lost_since_s is None else _MAX_REASON)
    return max(0, len(_job_lines(model.job, size.width)) - room)


def _job(model: Model, size: Size) -> list[Text]:
    if model.job is None:
        return [Text("reading …")]
    lines = _job_lines(model.job, size.width)
    return lines[max(0, min(model.scroll, len(lines) - size.height)) :]


def _job_lines(details: JobDetails | None, width: int) -> list[Text]:
    if details is None:
        return []
    if details.job is None:
        return [Text(f"no job has the id {console.one_line(details.job_id)}")]
    lines: list[Text] = []
    for name, value in as_fields(details.job):
        text = visible(value[:_MAX_FIELD]).replace("\t", "    ")
        text += "\n…" if len(value) > _MAX_FIELD else ""
        parts = [
            part
            for line in text.splitlines() or [""]
            for part in chop_cells(line, max(2, width - _NAME_WIDTH)) or [""]
        ]
        lines += [
            Text(f"{'' if i else name:<{_NAME_WIDTH}}", "bold").append(part, "not bold")
            for i, part in enumerate(parts)
        ]
    return lines


def _table(
    columns: Sequence[Column],
    cells: Sequence[Sequence[str]],
    width: int,
    sorted_by: int | None = None,
    start: int = 0,
    room: int | None = None,
) -> list[Text]:
    """Header and lines of a table; `start` and `room` select what is shown of its rows."""
    names = [
        f"{column.name}*" if i == sorted_by else column.name for i, column in enumerate(columns)
    ]
    widths = [
        max(cell_len(name), *(cell_len(row[i]) for row in cells)) if cells else cell_len(name)
        for i, name in enumerate(names)
    ]
    widths = fit(widths, width - 2 * (len(columns) - 1))
    shown = cells[start:] if room is None else cells[start : start + room]

    def line(texts: Sequence[str]) -> str:
        padded = (
            _cell(text, size, column.is_number)
            for text, size, column in zip(texts, widths, columns, strict=True)
        )
        return "  ".join(padded).rstrip()

    return [Text(line(names), "bold"), *(Text(line(row)) for row in shown)]


def fit(widths: Sequence[int], room: int) -> list[int]:
    """Shorten the widest columns until they have room.

    >>> fit([36, 10, 20], 46)
    [18, 10, 18]
    """
    fitted = list(widths)
    while sum(fitted) > room and max(fitted) > _MIN_CELL:
        fitted[len(fitted) - 1 - fitted[::-1].index(max(fitted))] -= 1
    return fitted


def _cell(text: str, width: int, is_number: bool) -> str:
    size = cell_len(text)
    if size > width:
        return set_cell_size(text, width - 1) + "…"
    return " " * (width - size) + text if is_number else text + " " * (width - size)
