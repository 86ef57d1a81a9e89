"""How tests wait: for a condition, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_for(condition: Callable[[], object], within_s: float = 20.0, what: str = "") -> None:
    """Wait for a condition; fail when it does not come true in time."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {within_s:g} s in vain {what}"
        time.sleep(0.01)
