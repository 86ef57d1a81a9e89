"""The command `bananas`: its commands, and what becomes of errors."""

from __future__ import annotations

import errno
import os
import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from bananas_topology import __version__
from bananas_topology.cli import console, dead
from bananas_topology.cli.enqueue.command import enqueue
from bananas_topology.cli.exit_codes import FAILED, INTERRUPTED
from bananas_topology.cli.import_topology import import_topology
from bananas_topology.cli.init import init
from bananas_topology.cli.job import job
from bananas_topology.cli.queues import queues
from bananas_topology.cli.render import render
from bananas_topology.cli.schema import schema
from bananas_topology.cli.up import up
from bananas_topology.cli.validate import validate
from bananas_topology.errors import BananasTopologyError

#: What writing fails with where a disk is full or broken.
_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EIO)

# Without rich's markup the help needs no rich, and errors stay one line; a defect of ours gets a
# plain traceback that can be pasted into a report.
app = typer.Typer(
    name="bananas", no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False
)
for command in (init, validate, up, render, enqueue, queues, job, schema):
    app.command()(command)
app.command("import")(import_topology)
app.add_typer(dead.app, name="dead")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"bananas {__version__}")
        raise typer.Exit


_Version = Annotated[
    bool,
    typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
]


@app.callback()
def bananas(version: _Version = False) -> None:
    """A distributed task queue on Redis whose deployment is one file.

    Begin with `bananas init`, then `bananas up`.
    """


def main() -> None:
    """Run the command line and exit; whatever a user can mend is one clear line."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            # Closed by whoever started us (`>&-`): what is written there is not wanted.
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
    for stream in (sys.stdout, sys.stderr):
        # What others have stored may hold what a terminal or pipe has no character for.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(_run())


def _run() -> int | str | None:
    try:
        try:
            app()
        finally:
            # Here and not when the interpreter ends, where a closed pipe could not be dealt with.
            sys.stdout.flush()
    except SystemExit as end:
        return end.code
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        _write_nowhere()
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BananasTopologyError as error:
        console.notice(f"error: {error}")
    except OSError as error:
        if error.filename is not None:
            console.notice(f"error: {error.filename}: {error.strerror}")
        elif error.errno in _CANNOT_WRITE:
            _write_nowhere()
            console.notice(f"error: the output cannot be written: {error.strerror}")
        else:
            raise
    return FAILED


def _write_nowhere() -> None:
    """Give up standard output, what is still held back for it included."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
