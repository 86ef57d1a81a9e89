"""Processes of this host: whether one still lives, and children that die with their parent.

Used wherever we start a process that must not outlive us: the supervisor's children and the
embedded server. Knows nothing of either.
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
    """Make a `preexec_fn` for a child that is to get this signal when its parent is gone.

    The kernel means the parent's *thread*: start such children from the main one. None where the
    system has nothing of the kind (it is Linux's own).
    """
    if sys.platform != "linux":
        return None
    # Looked up before the fork: after it, nothing may be waited for that another thread holds.
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def prepare() -> None:
        prctl(_PR_SET_PDEATHSIG, int(number))
        # Had the parent died before that call, no signal would ever come.
        if os.getppid() != parent:
            os._exit(1)

    return prepare


def start_time_token(pid: int) -> str | None:
    """What tells a living process from a later one with the same id; None if none lives.

    It is the time of its start where there is a /proc, and always the same text elsewhere.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return "unknown" if not Path("/proc/self/stat").exists() and _exists(pid) else None
    # The name, in parentheses, may itself hold spaces and parentheses: count from the last one.
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
