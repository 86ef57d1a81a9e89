"""The liveness check for containers: ``python -m bananas_topology.liveness``.

Exits with 0 if the worker is alive according to the file it writes, else with 1: its loop has
turned recently, or it is starting. With ``--started`` a worker that is starting does not count.
Imports only a few standard modules, because a health check runs every few seconds.
"""

from __future__ import annotations

import os
import sys
import time

#: Seconds within which a live loop turns, even while Redis stalls: it never waits longer for a
#: reply.
MAX_AGE_S = 30.0

#: The variable that names the file which the worker writes and this module reads.
VARIABLE = "LIVENESS_FILE"

#: What follows the time in the file while the worker is starting.
_STARTING = " starting"

#: Characters in the file.
_WIDTH = 40


def is_alive(age_s: float) -> bool:
    """Whether a loop is alive that last turned `age_s` seconds ago."""
    return age_s <= MAX_AGE_S


def touch(path: str, *, is_starting: bool = False) -> None:
    """Record in the file that the loop turns now, or that the worker is starting.

    Raises:
        OSError: the file cannot be written.
    """
    # The monotonic clock is the same for all processes and unaffected by changes of the wall clock.
    text = f"{time.monotonic():.3f}{_STARTING if is_starting else ''}"
    # Overwritten by a text of the same length: a file that is emptied first would be found empty by
    # checks, for as long as this process is paused then.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
    try:
        os.write(descriptor, f"{text:{_WIDTH}}\n".encode("ascii"))
    finally:
        os.close(descriptor)


def read(path: str) -> tuple[float, bool]:
    """Seconds since the file was touched, and whether the worker was starting.

    Raises:
        OSError: the file cannot be read.
        ValueError: it does not contain a time.
    """
    with open(path, encoding="ascii") as file:
        text = file.read().rstrip()
    return time.monotonic() - float(text.removesuffix(_STARTING)), text.endswith(_STARTING)


def main() -> int:
    """Check the file that the environment names; returns the exit code."""
    path = os.environ.get(VARIABLE, "")
    if not path:
        return _fail(f"{VARIABLE} is not set: set it to the file that the worker writes")
    try:
        age_s, is_starting = read(path)
    except FileNotFoundError:
        return _fail(f"{path} not found: the worker has not started, or writes another file")
    except (OSError, ValueError) as error:
        return _fail(f"cannot read a time from {path}: {error}")
    if not is_alive(age_s):
        return _fail(f"worker loop stalled for {age_s:.0f} s; expected {MAX_AGE_S:.0f} s at most")
    if is_starting and "--started" in sys.argv[1:]:
        return _fail("the worker is starting: it imports its handlers")
    return 0


def _fail(reason: str) -> int:
    print(f"error: {reason}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
