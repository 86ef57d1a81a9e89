"""How tests wait: for a condition, never for a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_for(condition: Callable[[], object], within_s: float = 20.0, what: str = "") -> None:
    """Wait for a condition; fail if it is not true in time."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"timed out after {within_s:g} s {what}"
        time.sleep(0.01)
