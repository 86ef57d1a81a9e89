"""Workers as process sessions: a kill ends a worker with all processes it has started."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from bananas_topology.system.processes import dying_with_parent


def start(
    command: Sequence[str], environment: Mapping[str, str], log: Path
) -> subprocess.Popen[bytes]:
    """Start a worker in a session of its own; its output goes to `log`."""
    with open(log, "ab") as output:
        return subprocess.Popen(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=dying_with_parent(signal.SIGKILL),
        )


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill -9 the session: the process and all processes it has started."""
    while members := list(_members(process.pid)):
        for pid in members:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        # A zombie is a member until it is waited for.
        process.wait()
    process.wait()


def cpu_seconds(process: subprocess.Popen[bytes]) -> float:
    """Processor time of the session's processes, including exited children."""
    ticks = sum(sum(map(int, fields[11:15])) for _, fields in _session(process.pid))
    return ticks / os.sysconf("SC_CLK_TCK")


def _members(session: int) -> Iterator[int]:
    """Running processes of the session."""
    return (pid for pid, fields in _session(session) if fields[0] not in "ZX")


def _session(session: int) -> Iterator[tuple[int, list[str]]]:
    """Pids of the session with their fields in /proc/PID/stat, from the state on."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError):
            # The name, in parentheses, may contain spaces; then: state, parent, group, session.
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session:
                yield int(entry.name), fields
