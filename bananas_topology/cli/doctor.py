"""`bananas doctor`: the production checklist and the troubleshooting list, executed."""

from __future__ import annotations

import os
import sys
import textwrap
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bananas_topology.cli import console
from bananas_topology.cli.durations import seconds
from bananas_topology.cli.exit_codes import FAILED, OK
from bananas_topology.cli.options import AsFormat, Format, Overlays, Overrides, RedisUrl
from bananas_topology.cli.topology import TopologyFiles, check_topology, topology_files
from bananas_topology.errors import ControlFailed
from bananas_topology.system.terminal import visible

if TYPE_CHECKING:
    from bananas_topology.doctor.check import Check, Result
    from bananas_topology.doctor.examination import Examination
    from bananas_topology.spec.load import CheckResult

#: Seconds from the end of one examination to the start of the next, with --watch.
WATCH_S = 5.0

_STYLES = {"ok": "32", "warning": "33", "failure": "1;31", "skipped": "2"}

_File = Annotated[
    Path | None,
    typer.Argument(
        metavar="[FILE]",
        help="Topology file; - is standard input.  [default: topology.yaml, if it exists]",
        show_default=False,
    ),
]
_Only = Annotated[
    list[str] | None,
    typer.Option(
        metavar="GROUP|CODE",
        help="Only this group (topology, redis, host, running, troubleshooting) or check. "
        "Repeatable.",
        show_default=False,
    ),
]
_Observe = Annotated[
    str, typer.Option(metavar="DURATION", help="How long to observe the running system.")
]
_Watch = Annotated[bool, typer.Option("--watch", help="Repeat until Ctrl-C.")]


def doctor(
    file: _File = None,
    overlays: Overlays = None,
    overrides: Overrides = None,
    only: _Only = None,
    observe: _Observe = "3s",
    watch: _Watch = False,
    format: AsFormat = Format.TEXT,
    redis_url: RedisUrl = None,
) -> None:
    """Check a topology, its Redis server and the running system.

    Runs the production checklist and the troubleshooting list: what was measured, what is
    expected, and how to fix it. Checks whose facts are missing are skipped. Changes nothing.
    Exits with 1 if a check fails; warnings pass.

    Examples:

        bananas doctor

        bananas doctor topologies/specialized.yaml --only topology

        bananas doctor --only running --only DR508 --watch

        bananas doctor --format json | jq '.checks[] | select(.status == "failure")'
    """
    from bananas_topology.doctor.check import run, select
    from bananas_topology.system.clock import sleep

    try:
        checks = select(only or ())
    except ValueError as problem:
        raise typer.BadParameter(str(problem), param_hint="--only") from problem
    observe_s = seconds(observe, "--observe")
    is_live = any(each.group.is_live for each in checks)
    files = topology_files(overlays, overrides, file)
    while True:
        examination = _examine(files, redis_url, observe_s if is_live else None)
        results = run(checks, examination)
        _print(results, format, clear=watch)
        if not watch:
            break
        sleep(WATCH_S)
    is_failed = any(result.verdict.status == "failure" for result in results)
    raise typer.Exit(FAILED if is_failed else OK)


def _examine(files: TopologyFiles, redis_url: str | None, observe_s: float | None) -> Examination:
    """Find the topology and the server as other commands do; here, either may be missing.

    `observe_s` None: no check needs the server.
    """
    from bananas_topology.cli.server import key_prefix, warn_of_other_name
    from bananas_topology.doctor.gather import Target, examine
    from bananas_topology.jobs.access import explicit_url
    from bananas_topology.supervisor.record import find

    path = files.path
    report: CheckResult | None = check_topology(files) if files.is_there else None
    topology = report.topology if report else None
    record = find(path.parent, topology.name if topology else None, path)
    url = explicit_url(redis_url, os.environ) or (topology.redis.url if topology else None)
    url = url or (record.redis_url if record else None)
    if report is None:
        warn_of_other_name()
    if report is None and url is None:
        raise ControlFailed(
            f"nothing to check: no {path} here and no Redis server configured; give a file, or "
            "set --redis-url or REDIS_URL"
        )
    prefix = key_prefix(topology, record)
    target = Target(None, prefix, 0) if observe_s is None else Target(url, prefix, observe_s)
    return examine(path, report, target, os.environ, is_up=record is not None)


def _print(results: Sequence[Result], format: Format, *, clear: bool) -> None:
    if clear and console.is_terminal(sys.stdout) and format is Format.TEXT:
        print("\x1b[H\x1b[2J", end="")
    if format is Format.JSON:
        console.print_json(_as_json(results))
    elif console.is_terminal(sys.stdout):
        _print_report(results)
    else:
        columns = ("status", "code", "group", "check", "measured", "expected", "fix")
        console.print_table(columns, [_row(result) for result in results])
    if format is Format.TEXT:
        console.notice(_summary(results))
    sys.stdout.flush()


def _print_report(results: Sequence[Result]) -> None:
    """Print one block per group; checks skipped for the same reason share a line."""
    for number, (group, of_group) in enumerate(groupby(results, lambda each: each.check.group)):
        print(("\n" if number else "") + console.styled(group.heading, "1", sys.stdout))
        for reason, alike in groupby(of_group, _reason_to_skip):
            if reason is None:
                for result in alike:
                    _print_result(result)
            else:
                codes = [result.check.code for result in alike]
                through = f" to {codes[-1]}" if len(codes) > 1 else ""
                _print_lines("skipped", _wrapped(f"{codes[0]}{through}: {reason}"))


def _reason_to_skip(result: Result) -> str | None:
    return result.verdict.measured if result.verdict.status == "skipped" else None


def _print_result(result: Result) -> None:
    """Print a verdict, and what to do about it."""
    check: Check = result.check
    lines = _wrapped(f"{check.code}  {check.title}: {result.verdict.measured}")
    if result.remedy:
        lines += _wrapped(f"expected: {check.threshold}", indent=7)
        lines += _wrapped(f"fix: {result.remedy}", indent=7)
    _print_lines(result.verdict.status.value, lines)


def _print_lines(status: str, lines: Sequence[str]) -> None:
    print(f"  {console.styled(f'{status:<8}', _STYLES[status], sys.stdout)} {lines[0]}")
    for line in lines[1:]:
        print(f"{'':<11}{line}")


def _wrapped(text: str, indent: int = 0) -> list[str]:
    width = max(20, console.terminal_width() - 11)
    return textwrap.wrap(
        visible(text),
        width,
        initial_indent=" " * indent,
        subsequent_indent=" " * 7,
        break_on_hyphens=False,
    )


def _row(result: Result) -> tuple[str, ...]:
    check: Check = result.check
    return (
        result.verdict.status.value,
        check.code,
        check.group.value,
        check.title,
        result.verdict.measured,
        check.threshold,
        result.remedy or "",
    )


def _summary(results: Sequence[Result]) -> str:
    from bananas_topology.units import quantity

    counts = Counter(result.verdict.status.value for result in results)
    parts = [quantity(counts["failure"], "failure"), quantity(counts["warning"], "warning")]
    return ", ".join([*parts, f"{counts['ok']} ok", f"{counts['skipped']} skipped"])


def _as_json(results: Sequence[Result]) -> dict[str, Any]:
    counts = Counter(result.verdict.status.value for result in results)
    return {
        "passed": not counts["failure"],
        **{name: counts[name] for name in ("failure", "warning", "ok", "skipped")},
        "checks": [
            {
                "code": result.check.code,
                "group": result.check.group.value,
                "title": result.check.title,
                "status": result.verdict.status.value,
                "measured": result.verdict.measured,
                "threshold": result.check.threshold,
                "fix": result.remedy,
            }
            for result in results
        ],
    }
