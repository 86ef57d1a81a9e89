"""Reading a topology from the files that a command was given, or from standard input."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from bananas_topology.cli import console
from bananas_topology.cli.exit_codes import FAILED
from bananas_topology.cli.options import DEFAULT_FILE

if TYPE_CHECKING:
    from bananas_topology.local.runs import Wanted
    from bananas_topology.spec.document import Document
    from bananas_topology.spec.load import CheckResult, PatchCheck
    from bananas_topology.spec.model import Topology

#: Means standard input where a file is expected.
STDIN = Path("-")


@dataclass(frozen=True, slots=True)
class TopologyFiles:
    """The topology that a command is about: a file, overlays, and `PATH=VALUE` overrides.

    `is_given`: the command line names the file; else it is the default one, which may not exist.
    """

    path: Path = DEFAULT_FILE
    overlays: tuple[Path, ...] = ()
    overrides: tuple[str, ...] = ()
    is_given: bool = False

    @property
    def is_merged(self) -> bool:
        """Whether something is merged into the file."""
        return bool(self.overlays or self.overrides)

    @property
    def is_there(self) -> bool:
        """Whether there is a topology to read."""
        return self.is_given or self.is_merged or self.path.exists()

    @property
    def reads_stdin(self) -> bool:
        """Whether one of the files is standard input, which can be read only once."""
        return STDIN in (self.path, *self.overlays)

    @property
    def arguments(self) -> str:
        """The arguments with which `bananas validate` reads the same."""
        words = [str(self.path)]
        words += [word for path in self.overlays for word in ("-f", str(path))]
        words += [word for text in self.overrides for word in ("--set", text)]
        return shlex.join(words)

    def __str__(self) -> str:
        return display_name(self.path)


def topology_files(
    files: Sequence[Path] | None, overrides: Sequence[str] | None, argument: Path | None = None
) -> TopologyFiles:
    """Combine what the command line has: `argument`, or else the first file, is the topology."""
    paths = [*([argument] if argument is not None else []), *(files or ())]
    if paths.count(STDIN) > 1:
        message = "standard input can be read only once, got - several times"
        raise typer.BadParameter(message, param_hint="--file")
    path, *overlays = paths or [DEFAULT_FILE]
    return TopologyFiles(path, tuple(overlays), tuple(overrides or ()), is_given=bool(paths))


def display_name(file: Path) -> str:
    """Return the name of a file in messages."""
    return "<stdin>" if file == STDIN else str(file)


def check_topology(
    files: TopologyFiles,
    patch_check: PatchCheck | None = None,
    environ: Mapping[str, str] = os.environ,
) -> CheckResult:
    """Check a topology; ``-`` is standard input, whose relative paths start here.

    `patch_check` as in `spec.load.check`; `environ` has the variables for its text.
    """
    from bananas_topology.spec.load import check_documents, override_documents

    documents = [_read(path, environ) for path in (files.path, *files.overlays)]
    try:
        documents += override_documents(files.overrides, environ)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--set") from error
    path = Path(display_name(files.path))
    return check_documents(documents, path, patch_check)


def read_topology(files: TopologyFiles, action: str) -> Topology:
    """Read a topology and print its diagnostics; exit if any is an error.

    `action` is what the command did not do then, such as "started".
    """
    report = check_topology(files)
    console.print_diagnostics(report)
    if report.topology is None:
        console.notice(f"error: {files} has errors; nothing was {action}")
        raise typer.Exit(FAILED)
    return report.topology


def wanted_run(files: TopologyFiles) -> Wanted:
    """Say which run a command is about."""
    from bananas_topology.local.runs import Wanted

    def name() -> str | None:
        topology = check_topology(files).topology
        return topology.name if topology is not None else None

    file = Path(display_name(files.path)) if files.is_given else None
    # Topologies from standard input are told apart by their names only.
    is_named = files.is_merged or files.reads_stdin
    return Wanted(Path.cwd(), file, DEFAULT_FILE, name, is_named)


def _read(file: Path, environ: Mapping[str, str]) -> Document:
    from bananas_topology.spec.load import read_file
    from bananas_topology.spec.reader import read_document

    if file != STDIN:
        return read_file(file, environ)
    return read_document(display_name(file), _standard_input(), environ)


@cache
def _standard_input() -> bytes:
    """All of standard input, which can be read once; an overlay may be for several files."""
    from bananas_topology.spec.reader import MAX_BYTES

    # One byte more than is allowed shows that it is too long.
    return sys.stdin.buffer.read(MAX_BYTES + 1)
