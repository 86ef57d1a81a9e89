"""The topology of a command that can do nothing without one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from bananas_topology.cli import console
from bananas_topology.cli.exit_codes import FAILED

if TYPE_CHECKING:
    from bananas_topology.spec.model import Topology


def read_topology(file: Path, left_undone: str) -> Topology:
    """The topology of a file, its findings printed.

    Where one of them is an error it ends the command: "nothing was" `left_undone`.
    """
    from bananas_topology.spec.load import check

    report = check(file, os.environ)
    console.print_diagnostics(report)
    if report.topology is None:
        console.notice(f"error: {file} has errors: nothing was {left_undone}")
        raise typer.Exit(FAILED)
    return report.topology
