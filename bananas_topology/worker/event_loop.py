"""Runs async handlers: one event loop per worker, in its own thread, started on first use.

A run of an async handler takes a slot but no thread. The slots own its state and its timeout; here
it is only awaited.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from bananas_topology.worker.execution import Outcome, Released, call, completed, failed
from bananas_topology.worker.run import Run


class EventLoop:
    """Awaits async handlers and reports their outcomes to `on_end`. Thread-safe."""

    def __init__(self, on_end: Callable[[Run, Outcome], None]) -> None:
        self._on_end = on_end
        self._starting = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: dict[Run, asyncio.Task[Outcome]] = {}

    def start(self, run: Run) -> None:
        """Start to await a run's handler."""
        with self._starting:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                thread = threading.Thread(target=self._run_loop, name="event-loop", daemon=True)
                thread.start()
        self._loop.call_soon_threadsafe(self._create_task, run)

    def cancel(self, run: Run) -> None:
        """Cancel a run's handler, which may delay or suppress the cancellation."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._cancel, run)

    def _run_loop(self) -> None:
        if self._loop is not None:
            asyncio.set_event_loop(self._loop)
            self._loop.run_forever()

    def _create_task(self, run: Run) -> None:
        # Referenced until it is done: the event loop itself only keeps weak references to tasks.
        self._tasks[run] = asyncio.get_running_loop().create_task(_outcome(run))
        self._tasks[run].add_done_callback(lambda task: self._done(run, task))
        if run.cancelled:
            self._cancel(run)

    def _cancel(self, run: Run) -> None:
        if task := self._tasks.get(run):
            task.cancel()

    def _done(self, run: Run, task: asyncio.Task[Outcome]) -> None:
        del self._tasks[run]
        # A task cancelled before its first step has no result.
        self._on_end(run, Released() if task.cancelled() else task.result())


async def _outcome(run: Run) -> Outcome:
    try:
        return completed(await call(run))
    except BaseException as error:
        # As in execute(): an exception that escaped would end the event loop for every run.
        return failed(error)
