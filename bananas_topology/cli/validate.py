"""`bananas validate`: check topology files without connecting to Redis."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bananas_topology.cli import console
from bananas_topology.cli.env_file import environment_of
from bananas_topology.cli.exit_codes import FAILED, OK
from bananas_topology.cli.options import AsFormat, Format, Overlays, Overrides
from bananas_topology.cli.topology import check_topology, topology_files
from bananas_topology.units import quantity

if TYPE_CHECKING:
    from bananas_topology.spec.diagnostics import Diagnostic
    from bananas_topology.spec.load import CheckResult
    from bananas_topology.spec.model import Topology

_Files = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[FILE]...",
        help="Topology files; - is standard input.  [default: topology.yaml]",
        show_default=False,
    ),
]
_Strict = Annotated[bool, typer.Option("--strict", help="Treat warnings as errors.")]


def validate(
    context: typer.Context,
    files: _Files = None,
    overlays: Overlays = None,
    overrides: Overrides = None,
    format: AsFormat = Format.TEXT,
    strict: _Strict = False,
) -> None:
    """Validate topology files.

    Reports all errors and warnings with their position and how to fix them: on a terminal with
    the source line, in a pipe one per line. Exits with 1 if there are errors; with --strict, also
    if there are warnings.

    Examples:

        bananas validate

        bananas validate topologies/*.yaml --strict

        bananas validate base.yaml -f prod.yaml --set pools.worker.replicas=5

        bananas validate --format json | jq '.diagnostics[].code'
    """
    from bananas_topology.render.patch_errors import patch_errors
    from bananas_topology.spec.diagnostics import Severity

    paths: Sequence[Path | None] = files or (None,)
    topologies = [topology_files(overlays, overrides, path) for path in paths]
    reports = {
        str(each): check_topology(each, patch_errors, environment_of(context, each.path))
        for each in topologies
    }
    diagnostics = [each for report in reports.values() for each in report.diagnostics]
    errors = sum(each.severity is Severity.ERROR for each in diagnostics)
    warnings = len(diagnostics) - errors
    passed = not errors and not (strict and warnings)
    if format is Format.JSON:
        _print_json(reports, errors, warnings)
    else:
        _print_text(reports)
        if errors or warnings:
            console.notice(f"{quantity(errors, 'error')}, {quantity(warnings, 'warning')}")
    raise typer.Exit(OK if passed else FAILED)


def _print_text(reports: dict[str, CheckResult]) -> None:
    for file, report in reports.items():
        console.print_diagnostics(report, sys.stdout)
        if report.topology is not None:
            console.notice(f"{file}: valid: {_summary(report.topology)}")


def _summary(topology: Topology) -> str:
    pools, processes, threads = _totals(topology)
    parts = [
        quantity(pools, "pool"),
        quantity(processes, "process"),
        quantity(threads, "thread"),
    ]
    if topology.schedules:
        parts.append(quantity(len(topology.schedules), "schedule"))
    return ", ".join(parts)


def _totals(topology: Topology) -> tuple[int, int, int]:
    """Count the pools, processes and threads of a topology."""
    processes = sum(pool.replicas for pool in topology.pools)
    return len(topology.pools), processes, topology.total_threads


def _print_json(reports: dict[str, CheckResult], errors: int, warnings: int) -> None:
    topologies = [
        {
            "file": file,
            "name": report.topology.name,
            **dict(zip(("pools", "processes", "threads"), _totals(report.topology), strict=True)),
        }
        for file, report in reports.items()
        if report.topology is not None
    ]
    diagnostics = [_as_fields(each) for report in reports.values() for each in report.diagnostics]
    console.print_json(
        {
            "valid": errors == 0,
            "errors": errors,
            "warnings": warnings,
            "diagnostics": diagnostics,
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
