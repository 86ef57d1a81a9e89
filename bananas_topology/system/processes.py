"""Processes on this host: whether one is still alive, and children that die with their parent.

Used for processes that must not outlive the one that started them: the supervisor's children and
the bundled server. Independent of both.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

_PR_SET_PDEATHSIG = 1


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
