"""Reading the topology for commands that require a valid one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from bananas_topology.cli import console
from bananas_topology.cli.exit_codes import FAILED

if TYPE_CHECKING:
    from bananas_topology.spec.model import Topology


def read_topology(file: Path, action: str) -> Topology:
    """Read a topology and print its diagnostics; exit if any is an error.

    `action` is what the command did not do then, such as "started".
    """
    from bananas_topology.spec.load import check

    report = check(file, os.environ)
    console.print_diagnostics(report)
    if report.topology is None:
        console.notice(f"error: {file} has errors; nothing was {action}")
        raise typer.Exit(FAILED)
    return report.topology
