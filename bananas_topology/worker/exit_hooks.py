"""What Python does at the end of a process, with a time limit.

A worker exits by `os._exit`: handlers that still run in threads must neither keep it alive nor run
while the interpreter shuts down. Exit hooks that handlers have registered still run.
"""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
import threading
from contextlib import suppress
from typing import NoReturn

from bananas_topology.system.clock import monotonic
from bananas_topology.system.signals import DEBOUNCE_S, SignalInbox
from bananas_topology.worker.threads import JobThread

#: Signals that end the wait.
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)

_POLL_S = 0.05

#: Seconds for which standard output may keep the process from exiting, if nobody reads it.
_FLUSH_S = 1.0

log = logging.getLogger(__name__)


def run_exit_hooks(code: int, limit_s: float, inbox: SignalInbox | None = None) -> None:
    """Wait for the threads that are not daemons, then run what is registered with `atexit`.

    After `limit_s`, or on a signal in `inbox`, the process exits immediately; with `code`, or with
    128 + n. To be called in the main thread.
    """
    if limit_s <= 0:
        return
    done = threading.Event()
    threading.Thread(target=_watch, args=(code, limit_s, inbox, done), daemon=True).start()
    # As the interpreter does it. Neither is documented; multiprocessing uses them likewise.
    for step in (threading._shutdown, atexit._run_exitfuncs):  # type: ignore[attr-defined]
        try:
            step()
        except BaseException:
            log.exception("exit hook failed")
    done.set()


def exit_process(code: int) -> NoReturn:
    """Exit now, without waiting for anything but, for a moment, output."""
    flushing = threading.Thread(target=_flush, daemon=True)
    flushing.start()
    flushing.join(_FLUSH_S)
    os._exit(code)


def _flush() -> None:
    logging.shutdown()
    # A handler module may have closed it, or replaced it by anything.
    with suppress(Exception):
        sys.stdout.flush()


def _watch(code: int, limit_s: float, inbox: SignalInbox | None, done: threading.Event) -> None:
    started_at = monotonic()
    while monotonic() < started_at + limit_s:
        if done.wait(_POLL_S):
            return
        for received in inbox.drain() if inbox is not None else ():
            if received in STOP_SIGNALS and monotonic() - started_at > DEBOUNCE_S:
                exit_process(128 + received)
    threads = [each.name for each in threading.enumerate() if _is_awaited(each)]
    log.warning(
        "exit hooks not finished",
        extra={
            "limit_s": round(limit_s, 1),
            "threads": ",".join(threads),
            "processes": ",".join(_awaited_processes()),
        },
    )
    exit_process(code)


def _awaited_processes() -> list[str]:
    """The children for which the exit hook of multiprocessing waits."""
    multiprocessing = sys.modules.get("multiprocessing")
    if multiprocessing is None:
        return []
    return [each.name for each in multiprocessing.active_children() if not each.daemon]


def _is_awaited(thread: threading.Thread) -> bool:
    ours = isinstance(thread, JobThread) or thread is threading.main_thread()
    return not thread.daemon and not ours
