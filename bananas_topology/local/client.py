"""The other end of the control socket: what the commands use to reach a running `up`."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from bananas_topology.errors import ControlFailed, InvalidArgument
from bananas_topology.local.control import VERSION
from bananas_topology.local.logs import LOG_DIRECTORY, Filter, read
from bananas_topology.supervisor.record import STATE_DIRECTORY, RunRecord, is_running, running
from bananas_topology.system.clock import monotonic, sleep

#: Seconds that the first line of an answer may take.
ANSWER_TIMEOUT_S = 10.0

#: Seconds between two looks at whether the process still lives, while nothing comes from it.
_CHECK_S = 1.0

_PAUSE_S = 0.02

#: Receives what is waited for, in words.
Show = Callable[[str], None]


def find_run(
    directory: Path, file: Path | None, default_file: Path, name: str | None = None
) -> RunRecord:
    """Find the run that is meant: of `file`, or else the only one in the directory.

    Where several run in the directory, that of `default_file` is meant. `name` is the topology's,
    if it is known: overlays may give one file several names.

    Raises:
        ControlFailed: none runs, or several and none of them is meant.
    """
    if file is not None:
        records = [each for each in running(file.parent, name) if each.topology == _absolute(file)]
        if not records:
            raise ControlFailed(f"{file} is not running; start it with: bananas up -d {file}")
        if len(records) > 1:
            names = ", ".join(sorted(each.name for each in records))
            raise ControlFailed(f"{file} runs as {names}; choose one with its overlays")
        return records[0]
    records = running(directory, name)
    if not records:
        raise ControlFailed("nothing is running here; start with: bananas up -d")
    chosen = [each for each in records if each.topology == _absolute(directory / default_file)]
    if len(records) > 1 and not chosen:
        files = ", ".join(sorted(each.topology for each in records))
        raise ControlFailed(f"several topologies are running here; choose one with -f: {files}")
    return (chosen or records)[0]


def find_state(
    directory: Path, file: Path | None, default_file: Path, name: str | None = None
) -> tuple[Path, RunRecord | None]:
    """Find the state directory of a run, or of the latest one that has ended.

    Raises:
        ControlFailed: none has ever run here, or several run and none of them is meant.
    """
    root = file.parent if file is not None else directory
    if file is not None:
        record = next(
            (each for each in running(root, name) if each.topology == _absolute(file)), None
        )
    else:
        record = find_run(directory, None, default_file, name) if running(directory, name) else None
    if record is not None:
        return Path(record.topology).parent / STATE_DIRECTORY / record.name, record
    topology = file or directory / default_file
    states = [path.parent for path in (root / STATE_DIRECTORY).glob(f"*/{LOG_DIRECTORY}")]
    if len(states) > 1 and name is None and topology.exists():
        # Only the topology knows which of them is its own. Imported here: it takes long.
        from bananas_topology.spec.load import check

        report = check(topology, os.environ)
        name = report.topology.name if report.topology is not None else None
    states = [path for path in states if path.name == name] or states
    if not states:
        raise ControlFailed("nothing has run here; start with: bananas up -d")
    return max(states, key=lambda path: (path / LOG_DIRECTORY).stat().st_mtime), None


def _absolute(path: Path) -> str:
    return str(path.absolute())


def request(
    record: RunRecord, command: str, show: Show | None = None, **arguments: Any
) -> dict[str, Any]:
    """Send a command and wait until it has been carried out; returns its result.

    `show` is told how it gets on. A stop has no result: an empty one is returned once the
    connection is closed.

    Raises:
        ControlFailed: it cannot be reached, or the command has failed.
    """
    message = json.dumps({"version": VERSION, "command": command, **arguments})
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(ANSWER_TIMEOUT_S)
        try:
            connection.connect(record.control)
            connection.sendall(message.encode() + b"\n")
        except OSError as error:
            raise ControlFailed(
                f"cannot reach the running `up` (process {record.pid}): {error}"
            ) from error
        return _answer(connection, record, show)


def processes_not_ready(topology: Path, name: str) -> tuple[str, ...]:
    """Names of the processes of a run that are not ready; none if it cannot be asked."""
    for record in running(topology.parent, name):
        with suppress(ControlFailed):
            described = request(record, "ps")["processes"]
            return tuple(each["name"] for each in described if each["state"] != "ready")
    return ()


def last_lines(
    topology: Path, name: str, child: str, since: datetime, count: int = 10
) -> list[str]:
    """The latest lines of a process of a topology, whether it still runs or not."""
    directory = topology.parent / STATE_DIRECTORY / name / LOG_DIRECTORY
    wanted = Filter(children=[child], since=since)
    return [line.text for line in read(directory, wanted, count)]


def wait_until_gone(record: RunRecord, timeout_s: float) -> bool:
    """Wait until the run has ended; returns whether it has."""
    deadline = monotonic() + timeout_s
    while is_running(record):
        if monotonic() >= deadline:
            return False
        sleep(_PAUSE_S)
    return True


def _answer(connection: socket.socket, record: RunRecord, show: Show | None) -> dict[str, Any]:
    received = b""
    deadline = monotonic() + ANSWER_TIMEOUT_S
    has_answered = False
    connection.settimeout(_CHECK_S)
    while True:
        try:
            chunk = connection.recv(65_536)
        except TimeoutError:
            if not is_running(record):
                return {}
            if not has_answered and monotonic() >= deadline:
                raise ControlFailed(
                    f"no answer within {ANSWER_TIMEOUT_S:g} s; is process {record.pid} suspended?"
                ) from None
            continue
        except ConnectionError:
            chunk = b""
        if not chunk:
            return {}
        has_answered = True
        *lines, received = (received + chunk).split(b"\n")
        for line in lines:
            if (result := _read(json.loads(line), show)) is not None:
                return result


def _read(message: dict[str, Any], show: Show | None) -> dict[str, Any] | None:
    if "error" in message:
        kind = InvalidArgument if message.get("is_invalid_argument") else ControlFailed
        raise kind(message["error"])
    if "progress" in message and show is not None:
        show(message["progress"])
    result: dict[str, Any] | None = message.get("result")
    return result
