"""Where async handlers run: one event loop a worker, in a thread of its own, started when needed.

A run of an async handler takes a slot, but no thread. What it is and when it ends is the slots'
business; here it is only awaited.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from bananas_topology.worker.execution import Abandoned, Outcome, call, completed, failed
from bananas_topology.worker.run import Run

#: What the slots want to know of a run: that it has ended so.
Ended = Callable[[Run, Outcome], None]


class Coroutines:
    """Awaits async handlers. Thread-safe."""

    def __init__(self, ended: Ended) -> None:
        self._ended = ended
        self._starting = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: dict[Run, asyncio.Task[Outcome]] = {}

    def start(self, run: Run) -> None:
        """Have a run's handler awaited."""
        with self._starting:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                thread = threading.Thread(target=self._run_loop, name="coroutines", daemon=True)
                thread.start()
        self._loop.call_soon_threadsafe(self._begin, run)

    def cancel(self, run: Run) -> None:
        """Cancel a run's handler, which may see to it that it ends."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._cancel, run)

    def _run_loop(self) -> None:
        if self._loop is not None:
            asyncio.set_event_loop(self._loop)
            self._loop.run_forever()

    def _begin(self, run: Run) -> None:
        # Kept until it is done: the event loop itself holds tasks by weak references.
        self._tasks[run] = asyncio.get_running_loop().create_task(_outcome(run))
        self._tasks[run].add_done_callback(lambda task: self._done(run, task))
        if run.cancelled:
            self._cancel(run)

    def _cancel(self, run: Run) -> None:
        if task := self._tasks.get(run):
            task.cancel()

    def _done(self, run: Run, task: asyncio.Task[Outcome]) -> None:
        del self._tasks[run]
        # Cancelled before its first step, it never came to have an outcome.
        self._ended(run, Abandoned() if task.cancelled() else task.result())


async def _outcome(run: Run) -> Outcome:
    try:
        return completed(await call(run))
    except BaseException as error:
        # As in execute(); what is raised on would end the event loop for all.
        return failed(error)
