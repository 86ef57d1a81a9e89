"""Runs async handlers: one event loop per worker, in its own thread, started on first use.

A run of an async handler takes a slot but no thread. Its state and timeout belong to the slots;
here it is only awaited. No handler can end the loop: one that tries to, by SystemExit,
KeyboardInterrupt or `loop.stop()`, fails alone, and a loop that breaks is replaced.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from functools import partial
from typing import Any

from bananas_topology.system.clock import monotonic
from bananas_topology.worker import forks
from bananas_topology.worker.execution import Outcome, Released, call, completed, failed
from bananas_topology.worker.logs import CURRENT_RUN, LoggedRun
from bananas_topology.worker.run import Run
from bananas_topology.worker.threads import JobThread

log = logging.getLogger(__name__)


class EventLoop:
    """Awaits async handlers and reports their outcomes to `on_end`. Thread-safe."""

    def __init__(self, on_end: Callable[[Run, Outcome], None]) -> None:
        self._on_end = on_end
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        # The task is None until the loop has created it. Referenced here until it is done: the
        # loop itself only keeps weak references to tasks.
        self._tasks: dict[Run, asyncio.Task[Outcome] | None] = {}
        self._exits: dict[Run, BaseException] = {}
        self._thread_id = 0
        self._ping: _Ping | None = None

    def start(self, run: Run) -> None:
        """Start to await a run's handler."""
        context = run.variables or Context()
        with self._lock:
            loop = self._loop or self._start_loop()
            self._tasks[run] = None
            loop.call_soon_threadsafe(self._create_task, run, context, context=context)

    def cancel(self, run: Run) -> None:
        """Cancel a run's handler, which may delay or suppress the cancellation."""
        with self._lock:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._cancel, run)

    def check(self) -> float:
        """Log what blocks the loop, and return for how many seconds; 0 if nothing does.

        To be called twice per second: what blocks the loop for two calls is logged.
        """
        with self._lock:
            loop, ping = self._loop, self._ping
            if loop is None:
                return 0.0
            is_answered = ping is None or ping.is_answered
            if is_answered:
                self._ping = _Ping() if self._tasks else None
                if self._ping is not None:
                    loop.call_soon_threadsafe(self._ping.answer, context=Context())
        if ping is None:
            return 0.0
        if is_answered:
            if ping.missed > 1:
                blocked_s = round(monotonic() - ping.sent_at, 1)
                log.warning("event loop unblocked", extra={"blocked_s": blocked_s})
            return 0.0
        ping.missed += 1
        if ping.missed < 2:
            return 0.0  # this thread may have been delayed as well, so one miss proves nothing
        if ping.missed == 2:
            self._report_block(loop, ping)
        return monotonic() - ping.sent_at

    def _report_block(self, loop: asyncio.AbstractEventLoop, ping: _Ping) -> None:
        run = None if (task := asyncio.current_task(loop)) is None else _run_of(task)
        frame = sys._current_frames().get(self._thread_id)
        log.warning(
            "event loop blocked: use `await`, or a handler without `async`, for slow calls",
            extra={
                **({} if run is None else run.log_fields()),
                "blocked_s": round(monotonic() - ping.sent_at, 1),
                "traceback": "".join(traceback.format_stack(frame)),
            },
        )

    def in_forked_child(self) -> None:
        """Keep a child that was forked by the loop's own thread from running other handlers."""
        loop = self._loop
        if loop is None or threading.get_ident() != self._thread_id:
            return
        # What is ready to run belongs to the parent. There is no public way to drop it.
        with suppress(AttributeError):
            loop._ready.clear()  # type: ignore[attr-defined]
        loop.stop()

    def _start_loop(self) -> asyncio.AbstractEventLoop:
        loop = self._loop = asyncio.new_event_loop()
        JobThread(partial(self._run, loop), "event-loop").start()
        return loop

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run the loop until it breaks."""
        asyncio.set_event_loop(loop)
        self._thread_id = threading.get_ident()
        while True:
            try:
                loop.run_forever()
            except (SystemExit, KeyboardInterrupt) as error:
                # Raised in a task that a handler has created, or in a callback.
                if forks.is_child:
                    forks.leave(error)
                self._fail_origin(error)
            except BaseException as error:
                if forks.is_child:
                    forks.leave(RuntimeError("a forked child cannot use the event loop"))
                log.exception("event loop failed, starting another")
                self._fail(loop, error)
                return
            else:
                if forks.is_child:
                    forks.leave(RuntimeError("a forked child cannot use the event loop"))
                log.error("event loop stopped by a handler, continuing")

    def _fail_origin(self, error: BaseException) -> None:
        """Fail the run that tried to end the loop, if known."""
        run = _origin(error)
        fields = {} if run is None else run.log_fields()
        log.error("event loop interrupted, continuing", exc_info=error, extra=fields)
        if run is not None and (task := self._tasks.get(run)):
            self._exits[run] = error
            task.cancel()

    def _fail(self, loop: asyncio.AbstractEventLoop, error: BaseException) -> None:
        """Close a loop that broke, and end its runs.

        It is closed before another can start: a handler may have closed the loop's own file
        descriptor, and the next loop's would get the same number, so closing it would break that.
        """
        with self._lock:
            with suppress(Exception):
                loop.close()
            tasks, self._tasks, self._loop, self._ping = self._tasks, {}, None, None
        for run, task in tasks.items():
            if task is not None:
                # No warning when it is collected, which may be in the middle of anything: the run
                # has ended. There is no public way to say so.
                task._log_destroy_pending = False  # type: ignore[attr-defined]
            self._on_end(run, Released() if task is None else failed(error))

    def _create_task(self, run: Run, context: Context) -> None:
        loop = asyncio.get_running_loop()
        task = self._tasks[run] = loop.create_task(self._outcome(run), context=context)
        task.add_done_callback(lambda task: self._done(run, task), context=context)
        if run.cancelled:
            self._cancel(run)

    def _cancel(self, run: Run) -> None:
        if task := self._tasks.get(run):
            task.cancel()

    def _done(self, run: Run, task: asyncio.Task[Outcome]) -> None:
        if self._tasks.pop(run, None) is None:
            return  # ended with its loop
        self._exits.pop(run, None)
        # A task cancelled before its first step has no result.
        self._on_end(run, Released() if task.cancelled() else task.result())

    async def _outcome(self, run: Run) -> Outcome:
        # The clock starts here, not when the run was submitted: another handler may block the loop.
        run.begin()
        try:
            returned = await call(run)
        except BaseException as error:
            # As in execute(): an exception that escaped would end the event loop for every run.
            if forks.is_child:
                forks.leave(error)
            if run not in self._tasks:
                raise  # ended with its loop, and collected now
            return failed(self._exits.pop(run, error))
        if forks.is_child:
            forks.leave()
        return completed(returned)


class _Ping:
    """A callback that the loop runs as soon as it is not blocked. `missed` counts checks."""

    def __init__(self) -> None:
        self.sent_at = monotonic()
        self.missed = 0
        self.is_answered = False

    def answer(self) -> None:
        self.is_answered = True


def _run_of(task: asyncio.Task[Any]) -> LoggedRun | None:
    """The run in whose context a task runs, be it a handler's or one that a handler created."""
    # From Python 3.12 on there is task.get_context().
    contexts = (each for each in gc.get_referents(task) if isinstance(each, Context))
    return next((run for context in contexts if (run := context.get(CURRENT_RUN))), None)


def _origin(error: BaseException) -> Run | None:
    """The run in whose task or callback an exception was raised; None if unknown."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        handle = frame.f_locals.get("self")
        if isinstance(handle, asyncio.Handle):
            # There is no public way to read it.
            run = handle._context.get(CURRENT_RUN)  # type: ignore[attr-defined]
            return run if isinstance(run, Run) else None
    return None
