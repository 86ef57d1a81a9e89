"""Terminal output: colors and tables on a terminal, plain lines in a pipe.

The only module beside `top` that uses rich, imported only when something is drawn with it: the
import takes longer than the rest of a short command. Results go to standard output, messages to
standard error.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import IO, TYPE_CHECKING, Any, Literal, Protocol

from bananas_topology.contract.names import API
from bananas_topology.contract.redis_url import mask_urls
from bananas_topology.system.clock import parse_timestamp, wall_now
from bananas_topology.system.terminal import blank, visible, visible_json

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from bananas_topology.spec.diagnostics import Diagnostic
    from bananas_topology.spec.load import CheckResult
    from bananas_topology.spec.model import Api, Pool
    from bananas_topology.supervisor.output import Paint

#: ANSI colors assigned to pools in order of appearance. Readable on light and dark backgrounds: no
#: bright ones, and no bold yellow, which many terminals show as bright.
_POOL_COLORS = (36, 35, 32, 34, 33, 31)

_SEVERITY_STYLES = {"error": "bold red", "warning": "yellow"}

#: Columns of a terminal that does not report its width.
_DEFAULT_WIDTH = 80

#: Characters between two columns of a table.
_TABLE_GAP = 3

#: Length in characters from which a word may be broken in a table.
_LONG_WORD = 14

#: Cells of columns that are aligned to the right.
_NUMERIC = re.compile(r"[\d,./]*( [KMG]iB|%)?")


def is_terminal(stream: IO[str]) -> bool:
    """Whether the stream is a terminal that supports control sequences."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def is_colored(stream: IO[str]) -> bool:
    """Whether to color output to the stream."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR")


def terminal_width() -> int:
    """Columns of the terminal."""
    return shutil.get_terminal_size((_DEFAULT_WIDTH, 24)).columns


def painter(stream: IO[str]) -> Paint:
    """Return a function that colors text by pool, in order of first use."""
    if not is_colored(stream):
        return lambda pool, text: text
    colors: dict[str, int] = {}

    def paint(pool: str, text: str) -> str:
        color = colors.setdefault(pool, _POOL_COLORS[len(colors) % len(_POOL_COLORS)])
        return f"\x1b[{color}m{text}\x1b[0m"

    return paint


def notice(text: str) -> None:
    """Print a message for the user to standard error."""
    print(visible(text), file=sys.stderr, flush=True)


def warn_of_unset(variables: Mapping[str, Iterable[str]]) -> None:
    """Name the variables that pools need and that have no value, with these pools."""
    for name, owners in variables.items():
        notice(f"warning: {name} of {', '.join(owners)} is not set")


def print_json(value: Any) -> None:
    """Print a result as JSON."""
    print(visible_json(json.dumps(value, indent=2, ensure_ascii=False)))


def moment(value: object) -> str:
    """Format a time as local time with its distance from now."""
    if isinstance(value, str):
        try:
            return moment(parse_timestamp(value))
        except ValueError:
            return value
    if not isinstance(value, datetime):
        return "unknown"
    seconds = (wall_now() - value).total_seconds()
    distance = f"{duration(seconds)} ago" if seconds >= 0 else f"in {duration(-seconds)}"
    try:
        local = value.astimezone()
    except OverflowError:
        local = value  # at an end of the calendar there is no other time zone
    return f"{local:%Y-%m-%d %H:%M:%S} ({distance})"


def age(since: datetime | None) -> str:
    """Format the time elapsed since then; empty if unknown."""
    return "" if since is None else duration(max(0.0, (wall_now() - since).total_seconds()))


def duration(seconds: float) -> str:
    """Format a duration approximately, in at most two units.

    >>> [duration(seconds) for seconds in (0.0123, 1.5, 59.99, 90, 7300, 200_000)]
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


@contextmanager
def status_line() -> Iterator[Callable[[str], None]]:
    """Yield a function that shows what is waited for: in one line on a terminal, else in many."""
    if not is_terminal(sys.stderr):
        yield notice
        return
    width = shutil.get_terminal_size().columns

    def show(text: str) -> None:
        print(f"\r\x1b[2K{visible(text)[: width - 1]}", end="", file=sys.stderr, flush=True)

    try:
        yield show
    finally:
        show("")


def clear_screen() -> None:
    """Start again at the top of an empty terminal; nothing happens elsewhere."""
    if is_terminal(sys.stdout):
        print("\x1b[H\x1b[2J", end="")


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, gap: int = _TABLE_GAP
) -> None:
    """Print a table, its columns `gap` characters apart; in a pipe, as tab-separated lines."""
    if not is_terminal(sys.stdout):
        for row in (columns, *rows):
            print("\t".join(one_line(cell) for cell in row))
        return
    _print_rich_table(columns, rows, gap)


def print_fields(fields: Iterable[tuple[str, str]]) -> None:
    """Print names and values; values of several lines are indented."""
    pairs = list(fields)
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        lines = visible(value).splitlines() or [""]
        indented = f"\n{' ' * (width + 2)}".join(lines)
        print(f"{styled(f'{name:<{width}}', '1', sys.stdout)}  {indented}")


def print_plan(pools: Sequence[tuple[Pool, int]], api: Api | None = None) -> None:
    """Print what would be started: pools with their number of processes, and the api."""
    processes = sum(count for _, count in pools) + (api is not None)
    threads = sum(pool.worker.concurrency * count for pool, count in pools)
    total: tuple[str, ...] = ("total", "", str(processes), str(threads))
    if is_terminal(sys.stdout):
        rows = [(*_numbers(pool, n), _work(pool)) for pool, n in pools]
        if api is not None:
            rows.append((API, API, "1", "0", f"HTTP on port {api.config.port}"))
        columns: tuple[str, ...] = ("pool", "mode", "processes", "threads", "accepts")
        _print_rich_table(columns, [*rows, (*total, "")])
        return
    columns = ("pool", "mode", "processes", "threads", "priorities", "job types", "scheduler")
    lines = [(*_numbers(pool, n), *_consumption(pool)) for pool, n in pools]
    if api is not None:
        lines.append((API, API, "1", "0", "none", "none", "no"))
    print_table(columns, [*lines, (*total, "", "", "")])


def print_diagnostics(report: CheckResult, stream: IO[str] | None = None) -> None:
    """Print diagnostics, one per line; on a terminal with an excerpt of the source.

    `stream` defaults to standard error, for commands whose result is something else.
    """
    stream = stream or sys.stderr
    if not report.diagnostics:
        return
    if not is_terminal(stream):
        for diagnostic in report.diagnostics:
            print(one_line(str(diagnostic)), file=stream)
        return
    console = rich_console(stream)
    lines_of = {file: text.splitlines() for file, text in report.sources.items()}
    for diagnostic in report.diagnostics:
        lines = lines_of[diagnostic.file]
        console.print(_diagnostic_line(diagnostic), soft_wrap=True)
        if 0 < diagnostic.span.line <= len(lines):
            shown = _excerpt(diagnostic, lines[diagnostic.span.line - 1], console.width)
            console.print(shown, soft_wrap=True)


class Advance(Protocol):
    """Advances a progress bar by a count."""

    def __call__(self, count: int, /) -> None: ...


@contextmanager
def progress(label: str, total: int | None) -> Iterator[Advance]:
    """Show a progress bar on a terminal only; `total` None: unknown."""
    if not is_terminal(sys.stderr):
        yield lambda count: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=rich_console(sys.stderr)) as bar:
        task = bar.add_task(label, total=total)
        yield lambda count: bar.advance(task, count)


def _print_rich_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], gap: int = _TABLE_GAP
) -> None:
    """Print a table, or one block of lines per row if it is too wide for the terminal."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    cells = [list(row) for row in rows]
    console = rich_console(sys.stdout)
    if cells and _min_width(columns, cells, gap) > console.width:
        _print_blocks(columns, cells)
        return
    # The box puts one character between two columns.
    padding = (0, gap - 1, 0, 0)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=padding)
    for index, name in enumerate(columns):
        numeric = all(_NUMERIC.fullmatch(row[index]) for row in cells)
        table.add_column(
            name,
            justify="right" if cells and numeric else "left",
            # The first column identifies the row and must not be wrapped.
            no_wrap=index == 0,
            overflow="fold",
        )
    for row in cells:
        table.add_row(*(Text(visible(cell)) for cell in row))
    console.print(table)


def _min_width(columns: Sequence[str], cells: Sequence[Sequence[str]], gap: int) -> int:
    """Terminal columns needed to show names and short words unbroken."""
    from rich.cells import cell_len

    def words(index: int, text: str) -> list[str]:
        return [text] if index == 0 else text.split() or [""]

    width = gap * (len(columns) - 1)
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


def rich_console(stream: IO[str]) -> Console:
    """A console of rich that takes text literally."""
    from rich.console import Console

    system: Literal["auto"] | None = "auto" if is_colored(stream) else None
    return Console(file=stream, highlight=False, markup=False, color_system=system)


def _diagnostic_line(diagnostic: Diagnostic) -> Text:
    from rich.text import Text

    style = _SEVERITY_STYLES[diagnostic.severity.value]
    text = Text(one_line(str(diagnostic)))
    text.highlight_regex(rf"(?<=: ){diagnostic.severity} {diagnostic.code}(?=:)", style)
    return text


def _excerpt(diagnostic: Diagnostic, line: str, width: int) -> Text:
    """The source line with a caret below it; a long line is cut around the position."""
    from rich.cells import cell_len
    from rich.text import Text

    number = str(diagnostic.span.line)
    room = max(20, (width or _DEFAULT_WIDTH) - len(number) - 5)
    # Replace characters one to one, so that columns stay correct.
    line = mask_urls(blank(line))
    begin = diagnostic.span.column - 1
    is_within = diagnostic.span.end_line == diagnostic.span.line
    end = diagnostic.span.end_column - 1 if is_within else len(line)
    cut = max(0, begin - room // 2) if len(line) > room else 0
    shown = line[cut : cut + room]
    offset = cell_len(line[cut:begin])
    marked = max(1, cell_len(line[begin : min(end, cut + room)]))
    text = Text(f"  {number} | {shown}\n  {' ' * len(number)} | {' ' * offset}")
    return text.append("^" * marked, _SEVERITY_STYLES[diagnostic.severity.value])


def styled(text: str, code: str, stream: IO[str]) -> str:
    """Give text an ANSI style where output is colored."""
    return f"\x1b[{code}m{text}\x1b[0m" if is_colored(stream) else text


def one_line(text: str) -> str:
    """Foreign text for a single line of a terminal."""
    return visible(" ".join(text.split("\n")).replace("\t", " "))


def _numbers(pool: Pool, count: int) -> tuple[str, str, str, str]:
    return (pool.name, pool.worker.mode.value, str(count), str(pool.worker.concurrency * count))


def _consumption(pool: Pool) -> tuple[str, str, str]:
    if pool.worker.concurrency == 0:
        return "none", "none", "yes"
    types = ",".join(pool.worker.job_types) or "all"
    return ",".join(pool.worker.priorities), types, "yes" if pool.worker.enable_scheduler else "no"


def _work(pool: Pool) -> str:
    """Summarize the jobs that a pool accepts."""
    from bananas_topology.contract.values import PRIORITIES

    parts: list[str] = []
    if pool.worker.concurrency:
        accepts_all = len(pool.worker.priorities) == len(PRIORITIES)
        prefix = "" if accepts_all else f"{', '.join(pool.worker.priorities)}: "
        parts.append(prefix + (", ".join(pool.worker.job_types) or "all jobs"))
    if pool.worker.enable_scheduler:
        parts.append("schedules")
    return ", ".join(parts)
