"""Why a child exited, in words: exit codes, signals and the kernel's out-of-memory kills."""

from __future__ import annotations

import signal
from contextlib import suppress

from bananas_topology.contract.exit_codes import (
    EXIT_CONFIG,
    EXIT_FAILED,
    EXIT_RECYCLE,
    EXIT_RESTART,
)

_CODES = {
    EXIT_FAILED: "unexpected error, or Redis or a port cannot be used",
    EXIT_CONFIG: "invalid settings or handlers",
    EXIT_RESTART: "restart requested: too few free slots",
    EXIT_RECYCLE: "restart requested: limit of jobs, memory or age reached",
}

#: Signals by which a program ends because of a defect in native code.
_CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT)


def describe(code: int, *, is_out_of_memory: bool = False, stalled_s: float | None = None) -> str:
    """Describe an exit; a negative code is a signal's number.

    `stalled_s`: seconds without progress after which the supervisor ended the process.

    >>> describe(2)
    'exit code 2: invalid settings or handlers'
    >>> describe(-11)
    'crashed: SIGSEGV (segmentation fault)'
    >>> describe(-9, is_out_of_memory=True)
    'killed by SIGKILL (out of memory)'
    """
    if stalled_s is not None:
        return f"replaced: no progress for {stalled_s:.0f} s"
    if code < 0:
        return _signalled(-code, is_out_of_memory)
    if code in _CODES:
        return f"exit code {code}: {_CODES[code]}"
    if code > 128:
        with suppress(ValueError):
            return f"exit code {code}: stopped by {signal.Signals(code - 128).name}"
    return f"exit code {code}"


def kind_of(code: int, *, is_out_of_memory: bool = False, is_stalled: bool = False) -> str:
    """A short label for an exit, for counting.

    >>> kind_of(2), kind_of(-11), kind_of(-9, is_out_of_memory=True), kind_of(-6, is_stalled=True)
    ('exit_2', 'sigsegv', 'out_of_memory', 'stalled')
    """
    if is_stalled:
        return "stalled"
    if code >= 0:
        return f"exit_{code}"
    if -code == signal.SIGKILL and is_out_of_memory:
        return "out_of_memory"
    with suppress(ValueError):
        return signal.Signals(-code).name.lower()
    return f"signal_{-code}"


def _signalled(number: int, is_out_of_memory: bool) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:  # a real-time signal between the first and the last
        return f"killed by signal {number}"
    if number in _CRASHES:
        return f"crashed: {name} ({(signal.strsignal(number) or '').lower()})"
    if number == signal.SIGKILL and is_out_of_memory:
        return f"killed by {name} (out of memory)"
    return f"killed by {name}"


class OutOfMemoryKills:
    """Detects whether the kernel has recently killed a process for lack of memory.

    The kernel counts such kills, not their victims, so a SIGKILL that coincides with one is
    attributed to it. Never true if the counter cannot be read.
    """

    def __init__(self, path: str = "/proc/vmstat") -> None:
        self._path = path
        self._count = self._read()

    def update(self) -> None:
        """Discard the kills up to now. Called regularly, so that only recent ones count."""
        self._count = self._read()

    def has_happened(self) -> bool:
        """Whether there was one since the last update."""
        return self._read() > self._count

    def _read(self) -> int:
        with suppress(OSError, ValueError), open(self._path, "rb") as file:
            for line in file:
                if line.startswith(b"oom_kill "):
                    return int(line.split()[1])
        return 0
