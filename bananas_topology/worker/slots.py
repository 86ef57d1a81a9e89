"""The slots: run jobs, enforce their timeouts, and hand outcomes back to the worker's loop.

A run is in one of three sets, and moves by atomic steps, of which only one side succeeds:

- `_running` until its handler ends (then its thread takes it out) or is to be interrupted, by its
  timeout or the end of the grace period (then the loop moves it to `_interrupted`),
- `_interrupted` until its handler ends, or the time for its cleanup does (then the loop settles it
  and moves it to `_stuck`),
- `_stuck` until its handler ends: the job is settled, but its slot is not free.
"""

from __future__ import annotations

import inspect
import logging
import math
import os
import sys
from collections import deque
from collections.abc import Callable, Mapping
from typing import TypeVar

from bananas_topology.errors import JobTimeout
from bananas_topology.system.clock import monotonic
from bananas_topology.worker.event_loop import EventLoop
from bananas_topology.worker.execution import (
    Outcome,
    Released,
    Unreadable,
    execute,
    failed,
    prepare,
    timed_out,
    traced,
    unfinished,
)
from bananas_topology.worker.interrupts import absorb_interrupt, interrupt_thread
from bananas_topology.worker.run import BoundHandler, Run
from bananas_topology.worker.settlement import Settler
from bananas_topology.worker.threads import ThreadPool

T = TypeVar("T")

#: Seconds that an interrupted handler has for its cleanup (`finally`) before its job is settled
#: without it: until then no other attempt runs beside it.
CLEANUP_S = 1.0

#: Maximum seconds that the loop sleeps while the threads have enough to do.
BUSY_SLEEP_S = 0.001

log = logging.getLogger(__name__)


class Slots:
    """Runs up to `concurrency` jobs at a time. All methods are for the worker's loop.

    `fileno` becomes readable when a run has finished that should wake the sleeping loop.
    """

    def __init__(
        self, concurrency: int, handlers: Mapping[str, BoundHandler], settler: Settler
    ) -> None:
        self._handlers = handlers
        self._settler = settler
        self._threads = ThreadPool(concurrency, self._serve)
        self._waiting = self._threads.waiting
        self._held: set[Run] = set()
        self._running: set[Run] = set()
        # With the outcome, and the latest time to settle it.
        self._interrupted: dict[Run, tuple[Outcome, float]] = {}
        self._stuck: set[Run] = set()
        self._finished: deque[Run] = deque()
        self._event_loop = EventLoop(self._end)
        #: Whether any handler is async: such runs start at once, so none may wait for a slot.
        self.has_async = any(bound.handler.may_be_async for bound in handlers.values())
        bounds = handlers.values()
        self._shortest_timeout_s = min((bound.timeout_s for bound in bounds), default=math.inf)
        self._longest_async_s = max(
            (bound.timeout_s for bound in bounds if bound.handler.may_be_async), default=math.inf
        )
        self._hung_async = 0
        self._scan_at = 0.0
        self._read_fd, self._write_fd = os.pipe()
        os.set_blocking(self._read_fd, False)
        os.set_blocking(self._write_fd, False)
        self._is_loop_asleep = False
        self._enough = 0

    @property
    def held(self) -> set[Run]:
        """Submitted runs whose outcome the loop does not have yet."""
        return self._held

    @property
    def running(self) -> int:
        """Jobs whose handlers run, without those already settled."""
        return len(self._running) + len(self._interrupted)

    def running_s(self, now: float) -> float:
        """Total seconds for which the running jobs have run until `now`. Thread-safe."""
        return sum([now - run.started_at for run in [*self._running, *self._interrupted]])

    @property
    def waiting(self) -> int:
        """Jobs that wait for a thread."""
        return len(self._waiting)

    @property
    def free(self) -> int:
        """Slots without a job; negative while jobs are prefetched."""
        return self._threads.limit - len(self._held) - len(self._stuck)

    @property
    def stuck(self) -> int:
        """Slots held by handlers that do not end, or that wait for an event loop that hangs."""
        return len(self._stuck) + self._hung_async

    def stuck_runs(self) -> list[Run]:
        """Their runs, in the order in which they started."""
        return sorted(list(self._stuck), key=lambda run: run.started_at)

    def submit(self, runs: list[Run]) -> None:
        """Queue runs for the next free threads, behind those already waiting."""
        self._held.update(runs)
        self._waiting.extend(runs)
        if self._waiting:
            self._threads.wake_another()

    def reorder(self, runs: list[Run], rank: Callable[[Run], int]) -> None:
        """Queue runs by `rank`, lowest first, among those already waiting."""
        waiting = self._take_waiting()[::-1]
        self.submit(sorted([*waiting, *runs], key=rank))

    def last_waiting(self) -> Run | None:
        """The waiting run that will be taken last."""
        try:
            return self._waiting[-1]
        except IndexError:
            return None

    def collect(self) -> list[Run]:
        """Take the runs that have finished since the last call."""
        finished: list[Run] = []
        while self._finished:
            finished.append(self._finished.popleft())
        self._held.difference_update(finished)
        return finished

    def sleep(self, wait: Callable[[float], T], timeout_s: float, enough: int) -> T:
        """Let the loop sleep in `wait`, or only poll if a run has finished meanwhile.

        While more than `enough` runs wait for threads, finished ones do not wake the loop, but it
        sleeps for `BUSY_SLEEP_S` at most.
        """
        self._enough = enough
        self._is_loop_asleep = True
        try:
            if len(self._waiting) > enough:
                timeout_s = min(timeout_s, BUSY_SLEEP_S)
            elif self._finished:
                timeout_s = 0.0
            return wait(timeout_s)
        finally:
            self._is_loop_asleep = False

    def fileno(self) -> int:
        """The descriptor to select on; call `clear_wakeup` when it is readable."""
        return self._read_fd

    def clear_wakeup(self) -> None:
        """Make the descriptor unreadable again."""
        try:
            while os.read(self._read_fd, 512):
                pass
        except BlockingIOError:
            return

    def in_forked_child(self) -> None:
        """Let go, in a forked child, of what belongs to the worker."""
        os.close(self._read_fd)
        os.close(self._write_fd)
        self._event_loop.in_forked_child()

    def next_deadline(self) -> float:
        """The latest time to call `interrupt_late` and `settle_interrupted`; may be infinite."""
        return self._scan_at if self._held else float("inf")

    def interrupt_late(self) -> None:
        """Interrupt the handlers past their deadline."""
        now = monotonic()
        if now < self._scan_at:
            return
        running = list(self._running)
        for run in running:
            if run.deadline <= now:
                self._interrupt(run, timed_out(run))
        # A run that starts from now on cannot be late before the shortest timeout has passed.
        moments = [run.deadline for run in running if run.deadline > now]
        moments += [settle_by for _, settle_by in list(self._interrupted.values())]
        self._scan_at = min(now + self._shortest_timeout_s, *moments, math.inf)

    def interrupt_running(self) -> None:
        """Interrupt every handler that runs; its job is to be released."""
        for run in list(self._running):
            self._interrupt(run, Released())

    def settle_interrupted(self, *, at_once: bool = False) -> list[Run]:
        """Settle the runs whose handlers were interrupted and did not end in time.

        Such a handler keeps its slot until it ends.
        """
        if not self._interrupted:
            return []
        now = monotonic()
        late = [
            run
            for run, (_, settle_by) in list(self._interrupted.items())
            if at_once or settle_by <= now
        ]
        return [run for run in late if self._settle_unfinished(run)]

    def check_event_loop(self) -> None:
        """Log what blocks the event loop, and count what waits for one that hangs.

        To be called twice per second if there are async handlers.
        """
        blocked_s = self._event_loop.check()
        is_hung = blocked_s > self._longest_async_s or (
            blocked_s > 0 and any(not run.thread_id for run in self._stuck)
        )
        waiting = [run for run in [*self._running, *self._interrupted] if not run.thread_id]
        self._hung_async = len(waiting) if is_hung else 0

    def waiting_since(self) -> float | None:
        """When the run that has waited longest for a thread was submitted."""
        try:
            return self._waiting[0].submitted_at
        except IndexError:
            return None

    def release_waiting(self) -> list[Run]:
        """Release the runs that wait for a thread, the last one first."""
        waiting = self._take_waiting()
        for run in waiting:
            run.settlement = self._settler.settle(run, Released())
        return waiting

    def _take_waiting(self) -> list[Run]:
        waiting: list[Run] = []
        while self._waiting:
            try:
                waiting.append(self._waiting.pop())
            except IndexError:  # a thread took it first
                break
        self._held.difference_update(waiting)
        return waiting

    def _interrupt(self, run: Run, verdict: Outcome) -> None:
        """Raise JobTimeout in a handler's thread, or cancel its task, unless it has just ended.

        Whatever the handler returns or raises from now on, the outcome is `verdict`.
        """
        settle_by = monotonic() + CLEANUP_S
        # Added before it leaves _running: its thread may end and check at any moment.
        self._interrupted[run] = (verdict, settle_by)
        try:
            self._running.remove(run)
        except KeyError:  # its thread was first
            self._interrupted.pop(run, None)
            return
        self._scan_at = min(self._scan_at, settle_by)
        run.cancelled = True
        if run.thread_id:
            interrupt_thread(run)
        else:
            self._event_loop.cancel(run)

    def _settle_unfinished(self, run: Run) -> bool:
        """Settle a run whose interrupted handler has not ended; False if it just has."""
        self._stuck.add(run)
        try:
            verdict, _ = self._interrupted.pop(run)
        except KeyError:  # its thread was first
            self._stuck.discard(run)
            return False
        run.duration_s = monotonic() - run.started_at
        frame = sys._current_frames().get(run.thread_id)
        run.settlement = self._settler.settle(run, unfinished(verdict, frame))
        self._held.discard(run)
        if run.deadline < math.inf:
            log.warning(
                "handler not ended: another attempt may run beside it",
                extra={**run.log_fields(), "attempt": run.attempt, "running_ms": run.duration_ms},
            )
        return True

    def _serve(self, run: Run, thread_id: int) -> None:
        """Run one job in the calling thread."""
        try:
            self._run(run, thread_id)
        except JobTimeout:
            self._end_interrupted(run)  # raised after the handler had returned
        except BaseException as error:
            # Out of memory, no more threads, or a bug in Bananas: the job fails, the thread
            # survives.
            log.exception("unexpected error in worker thread", extra={"job_id": run.claim.job_id})
            if run.cancelled:
                self._end_interrupted(run)
            else:
                self._running.discard(run)
                self._finish(run, failed(error))

    def _run(self, run: Run, thread_id: int) -> None:
        bound = prepare(run, self._handlers)
        if isinstance(bound, Unreadable):
            self._finish(run, bound)
            return
        run.started_at = monotonic()
        if bound.handler.is_async:
            run.deadline = math.inf  # until its first step
            self._running.add(run)
            self._event_loop.start(run)
            return
        run.deadline = run.started_at + bound.timeout_s
        run.thread_id = thread_id
        self._running.add(run)
        outcome = execute(run)
        if outcome is None:
            self._hand_over(run)
        else:
            self._end(run, outcome)

    def _hand_over(self, run: Run) -> None:
        """Have the event loop await what a handler returned, unless it was interrupted."""
        try:
            self._running.remove(run)
        except KeyError:
            if inspect.iscoroutine(run.awaitable):
                run.awaitable.close()
            self._end(run, Released())
            return
        self.has_async = True
        run.thread_id = 0
        self._running.add(run)
        self._event_loop.start(run)

    def _end(self, run: Run, outcome: Outcome) -> None:
        """Finish a run whose handler has ended, unless the loop has interrupted or settled it."""
        ended_at = monotonic()
        try:
            self._running.remove(run)
        except KeyError:
            self._end_interrupted(run, outcome)
        else:
            run.duration_s = ended_at - run.started_at
            self._finish(run, outcome)

    def _end_interrupted(self, run: Run, outcome: Outcome | None = None) -> None:
        """End a run that was interrupted: finish it as decided then, or just free its slot."""
        if run.thread_id:
            absorb_interrupt(run)
        try:
            verdict, _ = self._interrupted.pop(run)
        except KeyError:  # settled already
            self._stuck.discard(run)
            log.info("interrupted handler ended", extra=run.log_fields())
        else:
            run.duration_s = monotonic() - run.started_at
            self._finish(run, traced(verdict, outcome))

    def _finish(self, run: Run, outcome: Outcome) -> None:
        run.settlement = self._settler.settle(run, outcome)
        self._finished.append(run)
        if self._is_loop_asleep and len(self._waiting) <= self._enough:
            self._wake_loop()

    def _wake_loop(self) -> None:
        self._is_loop_asleep = False  # one byte is enough
        try:
            os.write(self._write_fd, b"w")
        except BlockingIOError:
            return
