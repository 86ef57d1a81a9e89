"""Forked children of a worker, made by handlers with `os.fork` or `multiprocessing`.

A child inherits everything from the worker but its threads. It must not react to signals for the
worker, keep the worker's connections open, or run the worker's jobs.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import FrameType
from typing import NoReturn

#: Whether this process is a forked child of the worker. Read once per job, so a plain global.
is_child = False


def watch(signals: Iterable[signal.Signals], on_fork: Callable[[], None]) -> None:
    """Call `on_fork` first in every child forked from now on, but not in children of these.

    The signals are blocked around the fork: the child receives them after `on_fork`, so that one
    sent at once does not reach the worker's handlers, which would write to the worker's pipe.
    Cannot be undone. `subprocess` is not affected: its children do not run Python before exec.
    """
    blocked = tuple(signals)
    masks: dict[int, set[int]] = {}

    def before() -> None:
        masks[threading.get_ident()] = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)

    def restore() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, masks.pop(threading.get_ident()))

    def in_child() -> None:
        global is_child
        try:
            if not is_child:
                is_child = True
                on_fork()
            _exit_where_executor_function_ends()
        finally:
            restore()

    os.register_at_fork(before=before, after_in_parent=restore, after_in_child=in_child)


def leave(error: BaseException | None = None) -> NoReturn:
    """Exit a child as Python would after `error`, or normally, but without cleanup.

    `atexit` hooks and threads are the worker's.
    """
    code = _report(error)
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(code)


def _exit_where_executor_function_ends() -> None:
    """Have a child that was forked by a function in a ThreadPoolExecutor exit where that ends.

    `asyncio.to_thread` has one as well. It would keep the function's exception, SystemExit too, and
    run in the child what else is queued, such as calls of other jobs.
    """
    module = sys.modules.get("concurrent.futures.thread")
    frame: FrameType | None = sys._getframe()
    while module is not None and frame is not None:
        item = frame.f_locals.get("self")
        if isinstance(item, module._WorkItem):  # there is no public way to get it
            item.future = _LastFuture()
            return
        frame = frame.f_back


class _LastFuture:
    """Takes the outcome of a function in place of its future: the process exits."""

    def set_result(self, result: object) -> None:
        leave()

    def set_exception(self, error: BaseException) -> None:
        leave(error)


def _report(error: BaseException | None) -> int:
    """Print what Python prints about an exception that ends a process; returns the exit code."""
    if error is None:
        return 0
    if isinstance(error, SystemExit):
        if error.code is None:
            return 0
        if isinstance(error.code, int):
            return error.code & 0xFF
        print(error.code, file=sys.stderr)
        return 1
    traceback.print_exception(error)
    return 1
