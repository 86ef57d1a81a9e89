"""The worker's health: whether its loop makes progress, whether it claims jobs, its stacks.

Reported to probes, to a liveness file, and to the worker's parent (see system/notify.py).
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import traceback
from collections.abc import Callable, Mapping

from bananas_topology.liveness import is_alive, touch
from bananas_topology.system.clock import monotonic
from bananas_topology.system.notify import Notifier

#: Seconds between two writes of the liveness file.
_TOUCH_INTERVAL_S = 1.0

#: Seconds between two reports; a change of readiness is reported at once.
_REPORT_INTERVAL_S = 1.0

log = logging.getLogger(__name__)


class Health:
    """Updated by the worker's loop, read by any thread.

    `liveness_file` may be empty: then nothing is written. `counts` are what is reported to the
    notifier: slots, busy slots, jobs completed and so on.
    """

    def __init__(
        self, liveness_file: str, notifier: Notifier, counts: Callable[[], Mapping[str, int]]
    ) -> None:
        self._path = liveness_file
        self._notifier = notifier
        self._counts = counts
        self._reported_at = -_REPORT_INTERVAL_S
        self._touched_at = -_TOUCH_INTERVAL_S
        self._updated_at = monotonic()
        self._is_write_failing = False
        #: Whether the worker takes jobs.
        self.is_ready = False

    @property
    def is_alive(self) -> bool:
        """Whether the loop turns."""
        return is_alive(monotonic() - self._updated_at)

    def update(self, *, is_ready: bool) -> None:
        """Record a turn of the loop, also in the liveness file and to the notifier."""
        self._updated_at = now = monotonic()
        is_due = is_ready != self.is_ready or now - self._reported_at >= _REPORT_INTERVAL_S
        self.is_ready = is_ready
        if is_due and self._notifier.is_wanted:
            self._reported_at = now
            self.report()
        if self._path and now - self._touched_at >= _TOUCH_INTERVAL_S:
            self._touched_at = now
            self._touch()

    def in_forked_child(self) -> None:
        """Close the notifier's socket, in a forked child."""
        self._notifier.close()

    def report(self) -> None:
        """Report to the notifier now."""
        ready = {"READY": 1} if self.is_ready else {}
        self._notifier.send(WATCHDOG=1, STATUS=json.dumps(self._counts()), **ready)

    def _touch(self) -> None:
        try:
            touch(self._path)
        except OSError as error:
            if not self._is_write_failing:
                # Not fatal: the health check reports it too, and the jobs matter more.
                log.error("cannot write liveness file: %s", error)
            self._is_write_failing = True
        else:
            self._is_write_failing = False


def log_stacks() -> None:
    """Log the stack of every thread, the innermost call last."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for thread_id, frame in sys._current_frames().items():
        stack = "".join(traceback.format_stack(frame))
        name = names.get(thread_id, str(thread_id))
        log.info("thread stack", extra={"thread_name": name, "traceback": stack})
