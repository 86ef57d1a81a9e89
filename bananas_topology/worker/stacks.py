"""What every thread does just now, for the log."""

from __future__ import annotations

import logging
import sys
import threading
import traceback

log = logging.getLogger(__name__)


def log_stacks() -> None:
    """Log the stack of each thread, the innermost call last."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for thread_id, frame in sys._current_frames().items():
        stack = "".join(traceback.format_stack(frame))
        name = names.get(thread_id, str(thread_id))
        log.info("thread stack", extra={"thread_name": name, "traceback": stack})
