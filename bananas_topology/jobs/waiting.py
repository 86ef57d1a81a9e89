"""Waits for the server in slices, so that the caller can do other things meanwhile.

A worker's loop enforces timeouts and obeys signals, also while the server does not answer. It
passes a function that is called every `SLICE_S` seconds of a wait, and may end it by an exception.
Waits that are shorter cost nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: Seconds between two calls of the function.
SLICE_S = 0.1

OnWait = Callable[[], None]


def do_nothing() -> None:
    """For callers that only wait."""


def call_in_slices(function: Callable[[], T], on_wait: OnWait) -> T:
    """Return or raise what `function` does, which runs in a thread of its own.

    For what cannot be interrupted: resolving names, connecting. If `on_wait` raises, the thread
    finishes in the background.
    """
    if on_wait is do_nothing:
        return function()
    done = threading.Event()
    returned: list[T] = []
    raised: list[BaseException] = []

    def work() -> None:
        try:
            returned.append(function())
        except BaseException as error:
            raised.append(error)
        done.set()

    threading.Thread(target=work, name="connect", daemon=True).start()
    while not done.wait(SLICE_S):
        on_wait()
    if raised:
        raise raised[0]
    return returned[0]
