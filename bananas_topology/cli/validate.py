"""`bananas validate`: every fault of topology files. Needs no Redis."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bananas_topology.cli import console
from bananas_topology.cli.exit_codes import FAILED, OK
from bananas_topology.cli.options import DEFAULT_FILE, AsFormat, Format

if TYPE_CHECKING:
    from bananas_topology.spec.diagnostics import Diagnostic
    from bananas_topology.spec.load import Report
    from bananas_topology.spec.model import Topology

_Files = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[FILE]...",
        help="Topology files.  [default: topology.yaml]",
        show_default=False,
    ),
]
_Strict = Annotated[bool, typer.Option("--strict", help="Fail on warnings too.")]


def validate(files: _Files = None, format: AsFormat = Format.TEXT, strict: _Strict = False) -> None:
    """Find every fault of topology files.

    For each it is said where it is and how to mend it: on a terminal with the place in the file,
    in a pipe in one line. Errors exit with 1; warnings pass unless --strict.

    Examples:

        bananas validate

        bananas validate topologies/*.yaml --strict

        bananas validate --format json | jq '.diagnostics[].code'
    """
    from bananas_topology.spec.diagnostics import Severity
    from bananas_topology.spec.load import check

    reports = {file: check(file, os.environ) for file in files or [DEFAULT_FILE]}
    found = [each for report in reports.values() for each in report.diagnostics]
    errors = sum(each.severity is Severity.ERROR for each in found)
    warnings = len(found) - errors
    passed = not errors and not (strict and warnings)
    if format is Format.JSON:
        _print_json(reports, errors, warnings)
    else:
        _print_text(reports)
        if errors or warnings:
            console.notice(f"{_count(errors, 'error')}, {_count(warnings, 'warning')}")
    raise typer.Exit(OK if passed else FAILED)


def _print_text(reports: dict[Path, Report]) -> None:
    for file, report in reports.items():
        console.print_diagnostics(report, sys.stdout)
        if report.topology is not None:
            console.notice(f"{file}: valid: {_summary(report.topology)}")


def _summary(topology: Topology) -> str:
    pools, processes, threads = _totals(topology)
    parts = [_count(pools, "pool"), _count(processes, "process"), _count(threads, "thread")]
    if topology.schedules:
        parts.append(_count(len(topology.schedules), "schedule"))
    return ", ".join(parts)


def _totals(topology: Topology) -> tuple[int, int, int]:
    """Pools, processes and threads that the file asks for."""
    processes = sum(pool.replicas for pool in topology.pools)
    return len(topology.pools), processes, topology.total_threads


def _print_json(reports: dict[Path, Report], errors: int, warnings: int) -> None:
    topologies = [
        {
            "file": str(file),
            "name": report.topology.name,
            **dict(zip(("pools", "processes", "threads"), _totals(report.topology), strict=True)),
        }
        for file, report in reports.items()
        if report.topology is not None
    ]
    found = [_as_fields(each) for report in reports.values() for each in report.diagnostics]
    console.print_json(
        {
            "valid": errors == 0,
            "errors": errors,
            "warnings": warnings,
            "diagnostics": found,
            "topologies": topologies,
        }
    )


def _as_fields(diagnostic: Diagnostic) -> dict[str, Any]:
    span = diagnostic.span
    return {
        "file": diagnostic.file,
        "line": span.line,
        "column": span.column,
        "end_line": span.end_line,
        "end_column": span.end_column,
        "severity": diagnostic.severity.value,
        "code": diagnostic.code,
        "message": diagnostic.message,
        "hint": diagnostic.hint,
    }


def _count(number: int, word: str) -> str:
    """
    >>> _count(1, "process"), _count(2, "process"), _count(0, "error")
    ('1 process', '2 processes', '0 errors')
    """
    suffix = "" if number == 1 else "es" if word.endswith("s") else "s"
    return f"{number:,} {word}{suffix}"
