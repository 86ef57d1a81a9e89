"""Handlers for the tests of slots, which open gates in the same process."""

from __future__ import annotations

import threading
import time
from typing import Any

from bananas_topology.handlers import JobContext, job


@job("sleep", timeout="10s")
def sleep(payload: float) -> None:
    time.sleep(payload)


@job("spin", timeout="20ms", max_retries=0)
def spin(payload: float) -> None:
    until = time.monotonic() + payload
    while time.monotonic() < until:
        pass


@job("count")
def count(payload: Any) -> None:
    """The shortest possible job."""


@job("name")
def name(payload: Any, context: JobContext) -> str:
    return threading.current_thread().name


GATES: dict[str, threading.Event] = {}


@job("gate", timeout="30s")
def gate(payload: str) -> None:
    GATES[payload].wait(30)
