"""The worker's own signs of life, for probes: when its loop turned, and whether it takes work."""

from __future__ import annotations

import logging
import sys
import threading
import traceback

from bananas_topology.liveness import lives, touch
from bananas_topology.system.clock import monotonic

#: Seconds between two writes of the liveness file.
_TOUCH_S = 1.0

log = logging.getLogger(__name__)


class Vitals:
    """Written by the loop, read by any thread."""

    def __init__(self, liveness_file: str) -> None:
        self._path = liveness_file
        self._touched_at = -_TOUCH_S
        self._turned_at = monotonic()
        self._is_failing = False
        self.is_ready = False

    @property
    def lives(self) -> bool:
        """Whether the loop turns."""
        return lives(monotonic() - self._turned_at)

    def turned(self, *, is_ready: bool) -> None:
        """Note a turn of the loop, in the file as well."""
        self._turned_at = now = monotonic()
        self.is_ready = is_ready
        if self._path and now - self._touched_at >= _TOUCH_S:
            self._touched_at = now
            self._touch()

    def _touch(self) -> None:
        try:
            touch(self._path)
        except OSError as error:
            if not self._is_failing:
                # The health check will say so as well; the jobs matter more.
                log.error("liveness file cannot be written: %s", error)
            self._is_failing = True
        else:
            self._is_failing = False


def log_stacks() -> None:
    """Log the stack of each thread, the innermost call last."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for thread_id, frame in sys._current_frames().items():
        stack = "".join(traceback.format_stack(frame))
        name = names.get(thread_id, str(thread_id))
        log.info("thread stack", extra={"thread_name": name, "traceback": stack})
