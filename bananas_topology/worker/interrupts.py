"""Interrupting a handler's thread: an exception raised in it from outside."""

from __future__ import annotations

import ctypes

from bananas_topology.errors import JobTimeout
from bananas_topology.system.clock import sleep
from bananas_topology.worker.run import Run


def interrupt_thread(run: Run) -> None:
    """Raise JobTimeout in a run's thread at its next bytecode; C code is not interrupted.

    The thread must call `absorb_interrupt` before it does anything but end the run.
    """
    thread_id, error = ctypes.c_ulong(run.thread_id), ctypes.py_object(JobTimeout)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(thread_id, error)
    run.interrupted = True


def absorb_interrupt(run: Run) -> None:
    """Let a pending JobTimeout be raised here rather than in the thread's next job."""
    try:
        while not run.interrupted:
            sleep(0)
        for _ in range(1_000):  # it is raised within a few bytecodes
            pass
    except JobTimeout:
        return
