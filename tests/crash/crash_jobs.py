"""Handlers for the crash tests. Every run appends a line, the job's id and the process id, to
the file named by RUNS."""

from __future__ import annotations

import ctypes
import os
import time
from pathlib import Path
from typing import Any

from bananas_topology import JobContext, job


def _record(context: JobContext, what: str = "") -> None:
    line = f"{context.job_id} {os.getpid()} {what}\n".encode()
    descriptor = os.open(os.environ["RUNS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, line)
    os.close(descriptor)


@job("nap")
def nap(payload: float, context: JobContext) -> int:
    """Sleep for so many seconds."""
    _record(context)
    time.sleep(payload)
    return os.getpid()


@job("hold")
def hold(payload: str, context: JobContext) -> int:
    """Wait until a file exists."""
    _record(context)
    while not Path(payload).exists():
        time.sleep(0.01)
    return os.getpid()


@job("hold_interpreter", max_retries=0)
def hold_interpreter(payload: int, context: JobContext) -> int:
    """Hold the interpreter's lock for so many seconds, as a slow regular expression does."""
    _record(context)
    ctypes.PyDLL(None).sleep(payload)
    return os.getpid()


@job("segfault", max_retries=0)
def segfault(payload: Any, context: JobContext) -> None:
    """Crash the process."""
    _record(context)
    ctypes.string_at(0)
