"""The client side of the control socket: how commands reach a running `up`."""

from __future__ import annotations

import json
import socket
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bananas_topology.errors import ControlFailed, InvalidArgument
from bananas_topology.local.control import VERSION
from bananas_topology.local.logs import LOG_DIRECTORY, Filter, read
from bananas_topology.supervisor.directories import find_directory
from bananas_topology.supervisor.record import RunRecord, is_running, running
from bananas_topology.system.clock import monotonic, sleep

if TYPE_CHECKING:
    from bananas_topology.jobs.waiting_jobs import Counts

#: Maximum seconds until the first line of an answer.
ANSWER_TIMEOUT_S = 10.0

#: Seconds between checks that the process is alive, while it sends nothing.
_CHECK_S = 1.0

_PAUSE_S = 0.02

#: Receives descriptions of what is waited for.
Show = Callable[[str], None]


def stranded_jobs(url: str, key_prefix: str, described: dict[str, Any]) -> Counts:
    """Count the waiting jobs that lose their workers by a change, as ``diff`` described it.

    A job without a handler in any live worker has none to lose.

    Raises:
        RedisUnavailable, RedisUnsuitable: they cannot be counted.
    """
    # Imported here: it takes longer than everything else that commands need of a run.
    from bananas_topology.jobs.connection import connect
    from bananas_topology.jobs.inspect import Inspector
    from bananas_topology.jobs.keys import Keys
    from bananas_topology.jobs.waiting_jobs import WaitingJobs
    from bananas_topology.local.takers import Takers, count_stranded

    before, after = (Takers.from_json(described["takers"][each]) for each in ("before", "after"))
    if after.covers(before):
        return Counter()
    with connect(url, key_prefix=key_prefix) as client:
        workers = Inspector(client, Keys(key_prefix)).workers()
        if handled := {job_type for each in workers for job_type in each.job_types}:
            before = before.with_handlers(handled)
        counting = count_stranded(WaitingJobs(client, Keys(key_prefix)), before, after)
        while True:
            try:
                next(counting)
            except StopIteration as end:
                found: Counts = end.value
                return found


def request(
    record: RunRecord, command: str, show: Show | None = None, **arguments: Any
) -> dict[str, Any]:
    """Send a command and wait until it has been carried out; returns its result.

    `show` receives its progress. A stop has no result: an empty one is returned once the connection
    is closed.

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


def processes_not_ready(topology: Path, name: str) -> dict[str, str]:
    """Say why processes of a run are not ready, by name: an exit, or what they do now.

    None if the run cannot be reached.
    """
    for record in running(topology.parent, name):
        with suppress(ControlFailed):
            described = request(record, "ps")["processes"]
            waiting = [each for each in described if each["state"] != "ready"]
            return {each["name"]: each["last_exit"] or each["state"] for each in waiting}
    return {}


def last_lines(
    topology: Path, name: str, child: str, since: datetime, count: int = 10
) -> list[str]:
    """The latest lines of a process of a topology, running or not."""
    directory = find_directory(topology.parent, name, "")
    if directory is None:
        return []
    wanted = Filter(children=[child], since=since)
    return [line.text for line in read(directory / LOG_DIRECTORY, wanted, count)]


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
