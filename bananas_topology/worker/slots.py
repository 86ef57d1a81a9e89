"""The slots: run jobs, enforce their timeouts, and hand outcomes back to the worker's loop.

Whichever side removes a run from `_running`, one atomic step, settles it: its thread when the
handler has returned, or the loop when the timeout has passed. The other side changes nothing.
"""

from __future__ import annotations

import ctypes
import logging
import math
import os
from collections import deque
from collections.abc import Callable, Mapping
from typing import TypeVar

from bananas_topology.errors import JobTimeout
from bananas_topology.system.clock import monotonic, sleep
from bananas_topology.worker.event_loop import EventLoop
from bananas_topology.worker.execution import (
    Outcome,
    Released,
    Unreadable,
    execute,
    failed,
    prepare,
    timed_out,
)
from bananas_topology.worker.run import BoundHandler, Run
from bananas_topology.worker.settlement import Settler
from bananas_topology.worker.threads import ThreadPool

T = TypeVar("T")

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
        self._stuck: set[Run] = set()
        self._finished: deque[Run] = deque()
        self._event_loop = EventLoop(self._end)
        #: Whether any handler is async: such runs start at once, so none may wait for a slot.
        self.has_async = any(bound.handler.is_async for bound in handlers.values())
        timeouts_s = (bound.timeout_s for bound in handlers.values())
        self._shortest_timeout_s = min(timeouts_s, default=math.inf)
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
        return len(self._running)

    def running_s(self, now: float) -> float:
        """Total seconds for which the running jobs have run until `now`. Thread-safe."""
        return sum([now - run.started_at for run in list(self._running)])

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
        """Slots held by handlers that still run although their job was settled."""
        return len(self._stuck)

    def stuck_runs(self) -> list[Run]:
        """Their runs, the one that started first at the front."""
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

    def next_deadline(self) -> float:
        """The latest time to call `time_out` again; infinite while nothing is held."""
        return self._scan_at if self._held else float("inf")

    def time_out(self) -> list[Run]:
        """Settle the runs past their deadline and raise JobTimeout in their threads.

        A handler that does not end by that keeps its slot until it does.
        """
        now = monotonic()
        if now < self._scan_at:
            return []
        running = list(self._running)
        late = [run for run in running if run.deadline <= now]
        # A run that starts from now on cannot be late before the shortest timeout has passed.
        deadlines = [run.deadline for run in running if run.deadline > now]
        self._scan_at = min(now + self._shortest_timeout_s, *deadlines, math.inf)
        return [run for run in late if self._settle_early(run, timed_out(run))]

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

    def release_running(self) -> list[Run]:
        """Release what runs: handlers see `context.cancelled` and get JobTimeout raised."""
        return [run for run in list(self._running) if self._settle_early(run, Released())]

    def _take_waiting(self) -> list[Run]:
        waiting: list[Run] = []
        while self._waiting:
            try:
                waiting.append(self._waiting.pop())
            except IndexError:  # a thread took it first
                break
        self._held.difference_update(waiting)
        return waiting

    def _settle_early(self, run: Run, outcome: Outcome) -> bool:
        """Settle a run whose handler has not returned; False if it just has."""
        # Added to _stuck before it leaves _running: its thread may end and check at any moment.
        self._stuck.add(run)
        try:
            self._running.remove(run)
        except KeyError:  # its thread was first
            self._stuck.discard(run)
            return False
        run.cancelled = True
        if run.thread_id:
            _raise_in_thread(run.thread_id, JobTimeout)
            run.interrupted = True
        else:
            self._event_loop.cancel(run)
        run.duration_s = monotonic() - run.started_at
        run.settlement = self._settler.settle(run, outcome)
        self._held.discard(run)
        return True

    def _serve(self, run: Run, thread_id: int) -> None:
        """Run one job in the calling thread."""
        try:
            self._run(run, thread_id)
        except JobTimeout:
            self._stuck.discard(run)  # raised after the handler had returned
        except BaseException as error:
            # Out of memory, no more threads, or a bug in Bananas: the job fails, the thread lives.
            log.exception("unexpected error in worker thread", extra={"job_id": run.claim.job_id})
            self._running.discard(run)
            self._stuck.discard(run)
            if not run.cancelled:
                self._finish(run, failed(error))

    def _run(self, run: Run, thread_id: int) -> None:
        bound = prepare(run, self._handlers)
        if isinstance(bound, Unreadable):
            self._finish(run, bound)
            return
        run.started_at = monotonic()
        run.deadline = run.started_at + bound.timeout_s
        if bound.handler.is_async:
            self._running.add(run)
            self._event_loop.start(run)
            return
        run.thread_id = thread_id
        self._running.add(run)
        self._end(run, execute(run))

    def _end(self, run: Run, outcome: Outcome) -> None:
        """Finish a run whose handler has returned, unless the loop has settled it already."""
        ended_at = monotonic()
        try:
            self._running.remove(run)
        except KeyError:
            if run.thread_id:
                _absorb_timeout(run)
            self._stuck.discard(run)
        else:
            run.duration_s = ended_at - run.started_at
            self._finish(run, outcome)

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


def _raise_in_thread(thread_id: int, error: type[BaseException]) -> None:
    """Raise `error` in a thread at its next bytecode; C code is not interrupted."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread_id), ctypes.py_object(error))


def _absorb_timeout(run: Run) -> None:
    """Let a pending JobTimeout be raised here rather than in the thread's next job.

    Raises:
        JobTimeout: it was pending.
    """
    while not run.interrupted:
        sleep(0)
    for _ in range(1_000):  # it is raised within a few bytecodes
        pass
