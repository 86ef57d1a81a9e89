"""The command `bananas`: its subcommands and error handling."""

from __future__ import annotations

import errno
import os
import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from bananas_topology import __version__
from bananas_topology.cli import console, dead
from bananas_topology.cli.apply import apply, diff
from bananas_topology.cli.control import down, ps, restart, scale
from bananas_topology.cli.doctor import doctor
from bananas_topology.cli.enqueue.command import enqueue
from bananas_topology.cli.env_file import ControlCommand, TopologyCommand
from bananas_topology.cli.exit_codes import FAILED, INTERRUPTED, USAGE
from bananas_topology.cli.import_topology import import_topology
from bananas_topology.cli.init import init
from bananas_topology.cli.job import job
from bananas_topology.cli.logs import logs
from bananas_topology.cli.queues import queues
from bananas_topology.cli.redis_url import redis_url
from bananas_topology.cli.render import render
from bananas_topology.cli.rescue import rescue
from bananas_topology.cli.schema import schema
from bananas_topology.cli.top.command import top
from bananas_topology.cli.up import up
from bananas_topology.cli.validate import validate
from bananas_topology.errors import BananasTopologyError, InvalidArgument, InvalidRedisUrl

#: Errors of writing to a full or broken disk.
_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EIO)

# Without rich markup, help does not import rich and errors stay on one line; an unexpected error
# prints a plain traceback that can be pasted into a bug report.
app = typer.Typer(
    name="bananas",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
#: In the order of the help: for a topology and what runs of it, then for jobs.
_TOPOLOGY = (init, validate, up, ps, logs, scale, restart, diff, apply, down, render)
_JOBS = (enqueue, queues, top, job, doctor, rescue, schema)
#: Those that are no `TopologyCommand`.
_CLASSES = dict.fromkeys((ps, logs, scale, restart, diff, apply, down), ControlCommand) | {
    init: None,
    schema: None,
}
for command in (*_TOPOLOGY, *_JOBS):
    app.command(cls=_CLASSES.get(command, TopologyCommand))(command)
app.command("import")(import_topology)
app.command("redis-url", cls=ControlCommand)(redis_url)
app.add_typer(dead.app, name="dead")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"bananas {__version__}")
        raise typer.Exit


_Version = Annotated[
    bool,
    typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version."),
]


@app.callback()
def bananas(version: _Version = False) -> None:
    """A distributed task queue on Redis, deployed from a single file.

    Get started with `bananas init`, then `bananas up`.
    """


def main() -> None:
    """Run the command line and exit; errors that a user can fix are printed on one line."""
    for name, flags, mode in (
        ("stdin", os.O_RDONLY, "r"),
        ("stdout", os.O_WRONLY, "w"),
        ("stderr", os.O_WRONLY, "w"),
    ):
        if getattr(sys, name) is None:
            # Closed by the caller (`>&-`): nothing to read, and output is discarded.
            setattr(sys, name, os.fdopen(os.open(os.devnull, flags), mode))
    for stream in (sys.stdout, sys.stderr):
        # Stored data may contain characters that the output encoding cannot represent.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(_run())


def _run() -> int | str | None:
    try:
        try:
            app()
        finally:
            # Flush here: at interpreter exit, a closed pipe can no longer be handled.
            sys.stdout.flush()
    except SystemExit as end:
        return end.code
    except BrokenPipeError:
        # The reader of our output has exited, as in `bananas queues | head -1`.
        _discard_output()
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except (InvalidArgument, InvalidRedisUrl) as error:
        console.notice(f"error: {error}")
        return USAGE
    except BananasTopologyError as error:
        console.notice(f"error: {error}")
    except OSError as error:
        if error.filename is not None:
            console.notice(f"error: {error.filename}: {error.strerror}")
        elif error.errno in _CANNOT_WRITE:
            _discard_output()
            console.notice(f"error: cannot write output: {error.strerror}")
        else:
            raise
    return FAILED


def _discard_output() -> None:
    """Redirect standard output to /dev/null, including what is still buffered."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
