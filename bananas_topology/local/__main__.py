"""``python -m bananas_topology.local``: what `bananas up -d` leaves running.

Reads `Settings` as JSON from standard input. Messages go to the supervisor's log file and, while it
is read, to standard error.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from bananas_topology.errors import BananasTopologyError
from bananas_topology.local.logs import LOG_DIRECTORY
from bananas_topology.local.run import FAILED, Screen, run
from bananas_topology.local.settings import Settings
from bananas_topology.spec.load import check
from bananas_topology.spec.model import Topology
from bananas_topology.supervisor.directories import state_directory
from bananas_topology.supervisor.log_files import LogFile, LogFiles
from bananas_topology.supervisor.output import SUPERVISOR


def main() -> int:
    """Run until stopped; returns the exit code."""
    settings = Settings(**json.loads(sys.stdin.read()))
    shell = dict(os.environ)
    os.environ.update(settings.variables)
    overlays = [Path(file) for file in settings.overlays]
    checked = check(
        Path(settings.file), os.environ, overlays=overlays, overrides=settings.overrides
    )
    topology = checked.topology
    if topology is None:
        _say(f"error: {settings.file} has errors; see `bananas validate {settings.file}`")
        return FAILED
    try:
        folder = topology.path.absolute().parent
        directory = state_directory(folder, topology.name, settings.source, settings.adopt)
    except BananasTopologyError as error:
        _say(f"error: {error}")
        return FAILED
    settings = replace(settings, adopt=None)
    file = LogFiles(directory / LOG_DIRECTORY).file(SUPERVISOR)
    _keep_tracebacks(file)
    try:
        return _run(topology, settings, shell, file)
    except BananasTopologyError as error:
        _say(f"error: {error}", file)
        return FAILED


def _run(topology: Topology, settings: Settings, shell: Mapping[str, str], file: LogFile) -> int:
    screen = Screen(
        fd=os.open(os.devnull, os.O_WRONLY),
        notice=lambda text: _say(text, file),
        paint=lambda pool, text: text,
        how_to_stop="stop with `bananas down`",
        where_logs_are="`bananas logs`",
    )
    return run(topology, settings, shell, screen)


def _say(text: str, file: LogFile | None = None) -> None:
    if file is not None:
        file.write(line.encode(errors="backslashreplace") for line in text.splitlines())
    with suppress(OSError):  # the process that started this one has exited
        print(text, file=sys.stderr, flush=True)


def _keep_tracebacks(file: LogFile) -> None:
    """Write the traceback of a defect to the file: nobody reads standard error any more."""

    def keep(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        _say("".join(traceback.format_exception(kind, error, trace)), file)

    sys.excepthook = keep


if __name__ == "__main__":
    sys.exit(main())
