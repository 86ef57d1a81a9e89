"""Reading a topology from the file that a command was given, or from standard input."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from bananas_topology.cli import console
from bananas_topology.cli.exit_codes import FAILED

if TYPE_CHECKING:
    from bananas_topology.spec.load import CheckResult, PatchCheck
    from bananas_topology.spec.model import Topology

#: Means standard input where a file is expected.
STDIN = Path("-")


def display_name(file: Path) -> str:
    """Return the name of a file in messages."""
    return "<stdin>" if file == STDIN else str(file)


def check_topology(
    file: Path, patch_check: PatchCheck | None = None, environ: Mapping[str, str] = os.environ
) -> CheckResult:
    """Check a topology; ``-`` is standard input, whose relative paths start here.

    `patch_check` as in `spec.load.check`; `environ` has the variables for its text.
    """
    from bananas_topology.spec.load import check, check_bytes
    from bananas_topology.spec.reader import MAX_BYTES

    if file != STDIN:
        return check(file, environ, patch_check)
    # One byte more than is allowed shows that it is too long.
    data = sys.stdin.buffer.read(MAX_BYTES + 1)
    return check_bytes(data, Path(display_name(file)), environ, patch_check)


def read_topology(file: Path, action: str) -> Topology:
    """Read a topology and print its diagnostics; exit if any is an error.

    `action` is what the command did not do then, such as "started".
    """
    report = check_topology(file)
    console.print_diagnostics(report)
    if report.topology is None:
        console.notice(f"error: {display_name(file)} has errors; nothing was {action}")
        raise typer.Exit(FAILED)
    return report.topology
