"""Processes on this host: whether one is still alive, and children that die with their parent.

Used for processes that must not outlive the one that started them: the supervisor's children and
the bundled server. Independent of both.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PR_SET_PDEATHSIG = 1

#: The units of /proc/PID/stat.
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def dying_with_parent(number: signal.Signals) -> Callable[[], None] | None:
    """Return a `preexec_fn` for a child that receives this signal when its parent dies.

    The kernel sends it when the parent's *thread* ends: start such children from the main thread.
    None on systems other than Linux, which have no equivalent.
    """
    if sys.platform != "linux":
        return None
    # Loaded before the fork: afterwards, a lock held by another thread would never be released.
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def prepare() -> None:
        prctl(_PR_SET_PDEATHSIG, int(number))
        # If the parent died before that call, no signal will be sent.
        if os.getppid() != parent:
            os._exit(1)

    return prepare


def has_terminal() -> bool:
    """Whether this process has a controlling terminal: SIGHUP then means that it was closed."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def allow_open_files(count: int) -> int:
    """Raise this process's limit to at least so many open files, as far as it may.

    Returns the limit, which children inherit; `count` if there is none.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return count
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft < wanted:
        with suppress(OSError, ValueError):  # macOS has a further limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def start_time_token(pid: int) -> str | None:
    """Distinguishes a running process from a later one with the same id; None if none is running.

    The start time of the process if the system has /proc, a constant otherwise.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return "unknown" if not Path("/proc/self/stat").exists() and _exists(pid) else None
    # The name, in parentheses, may contain spaces and parentheses: split after the last one.
    state, *fields = stat.rpartition(b")")[2].split()
    return None if state in (b"Z", b"X") else fields[18].decode()


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process uses: resident memory in bytes, and processor time since its start."""

    memory_bytes: int
    cpu_s: float


def usage_of(pid: int) -> Usage | None:
    """Read what a process uses; None where that cannot be read (there is no /proc)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = stat.rpartition(b")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    return Usage(int(fields[21]) * _PAGE_BYTES, ticks / _TICKS_PER_S)
