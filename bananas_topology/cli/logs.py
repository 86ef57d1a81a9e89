"""`bananas logs`: the output of the processes that `bananas up` runs, or ran last."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bananas_topology.cli import completion, console
from bananas_topology.cli.options import (
    FILE_HELP,
    AsFormat,
    Format,
    LogLevel,
    Overrides,
)
from bananas_topology.cli.topology import topology_files, wanted_run
from bananas_topology.system.clock import parse_timestamp, wall_now
from bananas_topology.system.files import has_lost_reader
from bananas_topology.system.terminal import visible, visible_json
from bananas_topology.units import parse_duration_ms

if TYPE_CHECKING:
    from bananas_topology.local.logs import Line
    from bananas_topology.supervisor.output import Paint
    from bananas_topology.supervisor.record import RunRecord


#: The time that text lines begin with: that of their arrival is shown already.
_TIME = re.compile(r"^\d\d:\d\d:\d\d ")


_Pools = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[POOL]...",
        help="Pools or processes; all if none are given.",
        autocompletion=completion.pools_and_processes,
    ),
]
_Follow = Annotated[bool, typer.Option("--follow", "-f", help="Show new lines as they come.")]
_Since = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="DURATION|TIME",
        help="Only lines from then on: 10m, or 2030-01-31T18:00Z.",
        show_default=False,
    ),
]
_Tail = Annotated[
    int | None,
    typer.Option(
        "--tail", "-n", metavar="N", min=0, help="Only the latest N lines.", show_default=False
    ),
]
_Level = Annotated[
    LogLevel | None,
    typer.Option("--level", help="Only lines of this level or above.", show_default=False),
]
# Not -f as elsewhere: that means --follow here, as in other programs that show logs.
_File = Annotated[
    list[Path] | None,
    typer.Option("--file", metavar="FILE", help=FILE_HELP, show_default=False),
]


def logs(
    pools: _Pools = None,
    follow: _Follow = False,
    since: _Since = None,
    tail: _Tail = None,
    level: _Level = None,
    format: AsFormat = Format.TEXT,
    files: _File = None,
    overrides: Overrides = None,
) -> None:
    """Show the output of the processes that `bananas up` runs.

    Also what it ran last, after it has ended or was killed. `supervisor` is its own log. A line
    without a level, such as one of a traceback, has the level of the line before it. Up to 20 MB
    are kept for each process.

    Examples:

        bananas logs --tail 100

        bananas logs -f worker-high

        bananas logs --since 10m --level warn
    """
    from bananas_topology.local import logs as local_logs
    from bananas_topology.local.runs import find_state

    moment = None if since is None else _moment(since)
    directory, record = find_state(wanted_run(topology_files(files, overrides)))
    directory /= local_logs.LOG_DIRECTORY
    wanted = local_logs.Filter(
        children=local_logs.choose_children(directory, pools or ()),
        since=moment,
        level=None if level is None else level.value,
    )
    show = _as_json if format is Format.JSON else _as_text(wanted.children)
    if not follow:
        for line in local_logs.read(directory, wanted, tail):
            print(show(line))
        return
    with local_logs.Follower(directory, pools or (), wanted) as follower:
        for line in local_logs.read(directory, wanted, tail, follower):
            print(show(line))
        sys.stdout.flush()
        for line in follower.lines(lambda: _has_ended(record)):
            print(show(line), flush=True)


def _has_ended(record: RunRecord | None) -> bool:
    """Whether there will be no more lines.

    Raises:
        BrokenPipeError: nobody reads them, as after `| head`, which printing would show only later.
    """
    from bananas_topology.supervisor.record import is_running

    if has_lost_reader(sys.stdout.fileno()):
        raise BrokenPipeError
    return record is None or not is_running(record)


def _moment(text: str) -> datetime:
    """Parse a duration before now, or a time."""
    try:
        return wall_now() - timedelta(milliseconds=parse_duration_ms(text))
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text).astimezone()
    # A time near the year 1 or 9999 may have none in another zone.
    except (ValueError, OverflowError) as error:
        message = (
            f'expected a duration such as 10m or a time such as 2030-01-31T18:00, got "{text}"'
        )
        raise typer.BadParameter(message, param_hint="--since") from error


def _as_json(line: Line) -> str:
    entry = {"time": line.at, "process": line.child, "line": line.text}
    return visible_json(json.dumps(entry, ensure_ascii=False))


def _as_text(children: Sequence[str]) -> Callable[[Line], str]:
    """Format lines as `up` shows them, with the time of their arrival."""
    width = max(map(len, children), default=0)
    paint: Paint = console.painter(sys.stdout)

    def show(line: Line) -> str:
        pool = line.child.rpartition("-")[0] or line.child
        prefix = paint(pool, f"{line.child:<{width}} |")
        text = visible(_TIME.sub("", line.text))
        return f"{prefix} {_local_time(line.at)} {text}".rstrip()

    return show


def _local_time(at: str) -> str:
    """The arrival in local time, with milliseconds; unreadable ones as they are."""
    try:
        moment = parse_timestamp(at).astimezone()
    except ValueError:
        return at
    return moment.isoformat(sep=" ", timespec="milliseconds")[:23]
