"""How things look to people: colours and tables on a terminal, plain lines in a pipe.

The only module with rich, which is imported when something is really drawn with it: that takes
longer than all the rest of a short command. Results go to standard output, talk to standard error.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any, Literal, Protocol

from bananas_topology.system.clock import parse_timestamp, wall_now

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from bananas_topology.spec.diagnostics import Diagnostic
    from bananas_topology.spec.load import Report
    from bananas_topology.spec.model import Api, Pool
    from bananas_topology.supervisor.output import Paint

#: The colours of pools, in the order in which the pools come: told apart on light and dark.
_POOL_COLORS = (36, 33, 35, 32, 34, 31, 96, 93, 95, 92, 94, 91)

_SEVERITY_STYLES = {"error": "bold red", "warning": "bold yellow"}

#: Columns of a terminal that says nothing of its width.
_USUAL_WIDTH = 80

#: Characters between two columns of a table.
_TABLE_GAP = 3

#: Characters from which on a word may be broken in a table.
_LONG_WORD = 14

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def is_terminal(stream: IO[str]) -> bool:
    """Whether a person looks at it, in a terminal that understands more than text."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def is_colored(stream: IO[str]) -> bool:
    """Whether colours are wanted there."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR")


def can_rewrite(stream: IO[str]) -> bool:
    """Whether a line that was written there can be replaced."""
    return is_terminal(stream)


def painter(stream: IO[str]) -> Paint:
    """What gives each pool a colour of its own there, in the order in which they are met."""
    if not is_colored(stream):
        return lambda pool, text: text
    colors: dict[str, int] = {}

    def paint(pool: str, text: str) -> str:
        color = colors.setdefault(pool, _POOL_COLORS[len(colors) % len(_POOL_COLORS)])
        return f"\x1b[{color}m{text}\x1b[0m"

    return paint


def notice(text: str) -> None:
    """Say something to whoever runs the command."""
    print(printable(text), file=sys.stderr, flush=True)


def printable(text: str) -> str:
    """The text without what would drive a terminal: foreign data must not.

    >>> printable("caf\\xe9 \\x1b[31mred")
    'caf\\xe9 \\\\x1b[31mred'
    """
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def print_json(value: Any) -> None:
    """Print a result as JSON."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def moment(value: object) -> str:
    """A moment as people read it: local time, and how long ago or ahead it is."""
    if isinstance(value, str):
        try:
            return moment(parse_timestamp(value))
        except ValueError:
            return value
    if not isinstance(value, datetime):
        return "unknown"
    seconds = (wall_now() - value).total_seconds()
    distance = f"{duration(seconds)} ago" if seconds >= 0 else f"in {duration(-seconds)}"
    return f"{value.astimezone():%Y-%m-%d %H:%M:%S} ({distance})"


def age(since: datetime | None) -> str:
    """How long ago it was; empty if it never was."""
    return "" if since is None else duration(max(0.0, (wall_now() - since).total_seconds()))


def duration(seconds: float) -> str:
    """A duration as people say it, to two units.

    >>> [duration(each) for each in (0.0123, 1.5, 59.99, 90, 7300, 200_000)]
    ['12ms', '1.5s', '59s', '1m30s', '2h1m', '2d7h']
    """
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 10:
        return f"{seconds:.1f}s"
    units = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))
    parts: list[str] = []
    rest = int(seconds)
    for unit, size in units:
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
        if len(parts) == 2 or (parts and not count):
            break
    return "".join(parts)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a result as a table; in a pipe, as lines whose fields are separated by tabs."""
    if not is_terminal(sys.stdout):
        for row in (columns, *rows):
            print("\t".join(_one_line(cell) for cell in row))
        return
    _print_rich_table(columns, rows)


def print_fields(fields: Iterable[tuple[str, str]]) -> None:
    """Print a result that has names and values; longer values go on below their first line."""
    pairs = list(fields)
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        lines = printable(value).splitlines() or [""]
        indented = f"\n{' ' * (width + 2)}".join(lines)
        print(f"{_styled(f'{name:<{width}}', '1', sys.stdout)}  {indented}")


def print_plan(pools: Sequence[tuple[Pool, int]], api: Api | None = None) -> None:
    """Print what would be started: pools, each with its number of processes, and the api."""
    processes = sum(count for _, count in pools) + (api is not None)
    threads = sum(pool.concurrency * count for pool, count in pools)
    total: tuple[str, ...] = ("total", "", str(processes), str(threads))
    if is_terminal(sys.stdout):
        rows = [(*_numbers(pool, n), _takes(pool)) for pool, n in pools]
        if api is not None:
            rows.append(("api", "api", "1", "0", f"HTTP on port {api.port}"))
        columns: tuple[str, ...] = ("pool", "mode", "processes", "threads", "takes")
        _print_rich_table(columns, [*rows, (*total, "")])
        return
    columns = ("pool", "mode", "processes", "threads", "priorities", "job types", "scheduler")
    lines = [(*_numbers(pool, n), *_consumption(pool)) for pool, n in pools]
    if api is not None:
        lines.append(("api", "api", "1", "0", "none", "none", "no"))
    print_table(columns, [*lines, (*total, "", "", "")])


def print_diagnostics(report: Report, stream: IO[str] | None = None) -> None:
    """Print findings: one line each, and on a terminal the place in the source below it.

    `stream` None: standard error, where they are not what was asked for.
    """
    stream = stream or sys.stderr
    if not report.diagnostics:
        return
    if not is_terminal(stream):
        for diagnostic in report.diagnostics:
            print(_one_line(str(diagnostic)), file=stream)
        return
    console = _console(stream)
    lines = report.source.splitlines()
    for diagnostic in report.diagnostics:
        console.print(_finding(diagnostic), soft_wrap=True)
        if 0 < diagnostic.span.line <= len(lines):
            shown = _excerpt(diagnostic, lines[diagnostic.span.line - 1], console.width)
            console.print(shown, soft_wrap=True)


class Advance(Protocol):
    """Told how many more are done."""

    def __call__(self, count: int, /) -> None: ...


@contextmanager
def progress(label: str, total: int | None) -> Iterator[Advance]:
    """A progress bar on a terminal, and nothing elsewhere; `total` None: it is not known."""
    if not is_terminal(sys.stderr):
        yield lambda count: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=_console(sys.stderr)) as bar:
        task = bar.add_task(label, total=total)
        yield lambda count: bar.advance(task, count)


def _print_rich_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; where it is too wide for the terminal, a block of lines for each row."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    cells = [list(row) for row in rows]
    console = _console(sys.stdout)
    if cells and _least_width(columns, cells) > console.width:
        _print_blocks(columns, cells)
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for index, name in enumerate(columns):
        numeric = all(re.fullmatch(r"[\d,./]*", row[index]) for row in cells)
        table.add_column(
            name,
            justify="right" if cells and numeric else "left",
            # Names are cut last: what a column is about must be readable at 80 columns.
            no_wrap=index == 0,
            overflow="fold",
        )
    for row in cells:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console.print(table)


def _least_width(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> int:
    """Columns of the terminal below which names would be cut, or words that are not long."""
    from rich.cells import cell_len

    def words(index: int, text: str) -> list[str]:
        return [text] if index == 0 else text.split() or [""]

    width = _TABLE_GAP * (len(columns) - 1)
    for index, name in enumerate(columns):
        found = (cell_len(word) for row in cells for word in words(index, row[index]))
        longest = max(found)
        width += max(cell_len(name), longest if index == 0 else min(longest, _LONG_WORD))
    return width


def _print_blocks(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    for number, row in enumerate(cells):
        if number:
            print()
        print_fields((name, cell) for name, cell in zip(columns, row, strict=True) if cell)


def _console(stream: IO[str]) -> Console:
    from rich.console import Console

    system: Literal["auto"] | None = "auto" if is_colored(stream) else None
    return Console(file=stream, highlight=False, markup=False, color_system=system)


def _finding(diagnostic: Diagnostic) -> Text:
    from rich.text import Text

    style = _SEVERITY_STYLES[diagnostic.severity.value]
    text = Text(_one_line(str(diagnostic)))
    text.highlight_regex(rf"(?<=: ){diagnostic.severity} {diagnostic.code}(?=:)", style)
    return text


def _excerpt(diagnostic: Diagnostic, line: str, width: int) -> Text:
    """The source line and a caret below it; a line too long is shown around the place."""
    from rich.cells import cell_len
    from rich.text import Text

    number = str(diagnostic.span.line)
    room = max(20, (width or _USUAL_WIDTH) - len(number) - 5)
    # One character for one, so that columns stay true.
    line = _CONTROL.sub(" ", line.replace("\t", " "))
    begin = diagnostic.span.column - 1
    is_within = diagnostic.span.end_line == diagnostic.span.line
    end = diagnostic.span.end_column - 1 if is_within else len(line)
    cut = max(0, begin - room // 2) if len(line) > room else 0
    shown = line[cut : cut + room]
    offset = cell_len(line[cut:begin])
    marked = max(1, cell_len(line[begin : min(end, cut + room)]))
    text = Text(f"  {number} | {shown}\n  {' ' * len(number)} | {' ' * offset}")
    return text.append("^" * marked, _SEVERITY_STYLES[diagnostic.severity.value])


def _styled(text: str, code: str, stream: IO[str]) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if is_colored(stream) else text


def _one_line(text: str) -> str:
    return printable(" ".join(text.split("\n")).replace("\t", " "))


def _numbers(pool: Pool, count: int) -> tuple[str, str, str, str]:
    return (pool.name, pool.mode.value, str(count), str(pool.concurrency * count))


def _consumption(pool: Pool) -> tuple[str, str, str]:
    if pool.concurrency == 0:
        return "none", "none", "yes"
    types = ",".join(pool.job_types) or "all"
    return ",".join(pool.priorities), types, "yes" if pool.enable_scheduler else "no"


def _takes(pool: Pool) -> str:
    """What a pool takes, in words."""
    from bananas_topology.contract.worker import PRIORITIES

    parts: list[str] = []
    if pool.concurrency:
        every = len(pool.priorities) == len(PRIORITIES)
        urgency = "" if every else f"{', '.join(pool.priorities)}: "
        parts.append(urgency + (", ".join(pool.job_types) or "all jobs"))
    if pool.enable_scheduler:
        parts.append("schedules")
    return ", ".join(parts)
