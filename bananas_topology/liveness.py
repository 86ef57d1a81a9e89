"""Whether a worker lives: ``python -m bananas_topology.liveness`` judges the file it writes.

For container health checks: exit code 0 if the worker's loop has turned lately, else 1. Imports
nothing but a little of the standard library, since a health check runs again and again.
"""

from __future__ import annotations

import os
import sys
import time

#: Seconds within which a living loop turns, Redis stalled or not: it waits for no reply so long.
LONGEST_TURN_S = 30.0

#: The file that a worker writes and that is judged here.
VARIABLE = "LIVENESS_FILE"


def lives(age_s: float) -> bool:
    """The judgement itself: whether a loop lives that turned so many seconds ago."""
    return age_s <= LONGEST_TURN_S


def touch(path: str) -> None:
    """Note that the loop turns now.

    Raises:
        OSError: the file cannot be written.
    """
    # The monotonic clock is the machine's, so that a change of the time of day kills nobody.
    with open(path, "w", encoding="ascii") as file:
        file.write(f"{time.monotonic():.3f}\n")


def age_of(path: str) -> float:
    """Seconds since the loop turned.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds no time.
    """
    with open(path, encoding="ascii") as file:
        return time.monotonic() - float(file.read())


def main() -> int:
    """Judge the file that the environment names."""
    path = os.environ.get(VARIABLE, "")
    if not path:
        return _dead(f"{VARIABLE} is not set: expected the file that the worker writes")
    try:
        age_s = age_of(path)
    except FileNotFoundError:
        return _dead(f"{path} is not there: the worker has not started, or writes another file")
    except (OSError, ValueError) as error:
        return _dead(f"{path} cannot be judged: {error}")
    if not lives(age_s):
        return _dead(f"the worker's loop turned {age_s:.0f} s ago; expected {LONGEST_TURN_S:.0f}")
    return 0


def _dead(reason: str) -> int:
    print(f"error: {reason}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
