"""The slots: threads that run jobs, one each, and hand outcomes back to the worker's loop.

Who settles a run is decided by one atomic step, taking it out of `_running`: its thread when the
handler has returned, or the loop when its time is up. Whoever comes second changes nothing.

A thread that takes a run and sees more of them waiting wakes one further thread, and that one the
next. So short jobs are run by one thread in long stretches, without the lock of the interpreter
going from hand to hand, while a job that blocks lets the next thread in at once. A thread that was
let in although the one before sprints on stands by: two that run at once would only take turns.
"""

from __future__ import annotations

import ctypes
import logging
import math
import os
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import TypeVar

from bananas_topology.errors import JobTimeout
from bananas_topology.system.clock import monotonic, sleep
from bananas_topology.worker.event_loop import Coroutines
from bananas_topology.worker.execution import (
    Abandoned,
    Outcome,
    SetAside,
    execute,
    failed,
    prepare,
    timed_out,
)
from bananas_topology.worker.run import Run, Task
from bananas_topology.worker.settlement import Settler

Waited = TypeVar("Waited")

#: Seconds that the loop sleeps at the most while threads have enough to do.
_PATIENCE_S = 0.001

#: What makes a sprint: so many runs one after the other, within so many seconds.
_SPRINT_RUNS = 16
_SPRINT_S = 0.0005

#: Seconds for which a sprint is believed to go on.
_SPRINT_LASTS_S = 0.002

log = logging.getLogger(__name__)


class Slots:
    """Up to `concurrency` threads, started as they are needed. All methods are the loop's.

    `fileno` becomes readable when a run has finished that the sleeping loop should know of.
    """

    def __init__(self, concurrency: int, tasks: Mapping[str, Task], settler: Settler) -> None:
        self._concurrency = concurrency
        self._tasks = tasks
        self._settler = settler
        self._held: set[Run] = set()
        self._ready: deque[Run] = deque()
        self._running: set[Run] = set()
        self._stuck: set[Run] = set()
        self._finished: deque[Run] = deque()
        self._parked: list[threading.Lock] = []
        self._is_waking = False
        self._is_standing_by = False
        self._sprinter = 0
        self._sprinted_at = 0.0
        self._threads = 0
        self._growth = threading.Lock()
        self._coroutines = Coroutines(self._end)
        #: Whether some handlers are async: their runs begin at once, so none may wait for a slot.
        self.has_async = any(task.handler.is_async for task in tasks.values())
        self._shortest_s = min((task.timeout_s for task in tasks.values()), default=math.inf)
        self._scan_at = 0.0
        self._read_fd, self._write_fd = os.pipe()
        os.set_blocking(self._read_fd, False)
        os.set_blocking(self._write_fd, False)
        self._asleep = False
        self._enough = 0

    @property
    def held(self) -> set[Run]:
        """The runs that the loop has no outcome of yet."""
        return self._held

    @property
    def running(self) -> int:
        """Jobs whose handlers run, those that were given up not among them."""
        return len(self._running)

    def running_s(self, now: float) -> float:
        """Seconds that the jobs which run now have run up to `now`, together. For any thread."""
        return sum([now - run.started_at for run in list(self._running)])

    @property
    def waiting(self) -> int:
        """Jobs that wait for a thread."""
        return len(self._ready)

    @property
    def free(self) -> int:
        """Slots that nothing is held for; negative while jobs are held ahead."""
        return self._concurrency - len(self._held) - len(self._stuck)

    @property
    def stuck(self) -> int:
        """Threads that still run a job whose time was up, and hold their slot."""
        return len(self._stuck)

    def submit(self, runs: list[Run]) -> None:
        """Give runs to the next free threads, behind those that wait already."""
        self._held.update(runs)
        self._ready.extend(runs)
        if self._ready:
            self._wake_another()

    def reorder(self, runs: list[Run], rank: Callable[[Run], int]) -> None:
        """Give runs to the next free threads, the more urgent (lower rank) before those waiting."""
        waiting = self._take_waiting()[::-1]
        self.submit(sorted([*waiting, *runs], key=rank))

    def last_waiting(self) -> Run | None:
        """The run that will be taken last."""
        try:
            return self._ready[-1]
        except IndexError:
            return None

    def collect(self) -> list[Run]:
        """Take the runs that have finished since the last call."""
        finished: list[Run] = []
        while self._finished:
            finished.append(self._finished.popleft())
        self._held.difference_update(finished)
        return finished

    def sleep_in(self, wait: Callable[[float], Waited], timeout: float, enough: int) -> Waited:
        """Let the loop wait, for no time at all if a run has finished meanwhile.

        While more than `enough` runs wait for threads, finished ones do not wake it, but it
        waits for a moment only.
        """
        self._enough = enough
        self._asleep = True
        try:
            if len(self._ready) > enough:
                timeout = min(timeout, _PATIENCE_S)
            elif self._finished:
                timeout = 0.0
            return wait(timeout)
        finally:
            self._asleep = False

    def fileno(self) -> int:
        """The descriptor to select on; `acknowledge` when it is readable."""
        return self._read_fd

    def acknowledge(self) -> None:
        """Make the descriptor unreadable again."""
        try:
            while os.read(self._read_fd, 512):
                pass
        except BlockingIOError:
            return

    def next_deadline(self) -> float:
        """When `time_out` should be called next, at the latest; infinite while nothing is held."""
        return self._scan_at if self._held else float("inf")

    def time_out(self) -> list[Run]:
        """Settle what runs past its deadline and raise JobTimeout in its thread.

        A thread that does not end by it keeps its slot until it does.
        """
        now = monotonic()
        if now < self._scan_at:
            return []
        running = list(self._running)
        late = [run for run in running if run.deadline <= now]
        # What starts from now on cannot be late before the shortest timeout has passed.
        deadlines = [run.deadline for run in running if run.deadline > now]
        self._scan_at = min(now + self._shortest_s, *deadlines, math.inf)
        return [run for run in late if self._take_away(run, timed_out(run))]

    def waiting_since(self) -> float | None:
        """When the run that has waited longest for a thread was submitted."""
        try:
            return self._ready[0].submitted_at
        except IndexError:
            return None

    def withdraw(self) -> list[Run]:
        """Take back what waits for a thread, the last first."""
        waiting = self._take_waiting()
        for run in waiting:
            run.settlement = self._settler.settle(run, Abandoned())
        return waiting

    def abandon(self) -> list[Run]:
        """Give up what runs: its handlers see `context.cancelled`, and JobTimeout."""
        return [run for run in list(self._running) if self._take_away(run, Abandoned())]

    def _take_waiting(self) -> list[Run]:
        waiting: list[Run] = []
        while self._ready:
            try:
                waiting.append(self._ready.pop())
            except IndexError:  # a thread was quicker
                break
        self._held.difference_update(waiting)
        return waiting

    def _take_away(self, run: Run, outcome: Outcome) -> bool:
        # Stuck before it is no longer running: its thread may end, and look, at any moment.
        self._stuck.add(run)
        try:
            self._running.remove(run)
        except KeyError:  # its thread was quicker
            self._stuck.discard(run)
            return False
        run.cancelled = True
        if run.thread_id:
            _raise_in_thread(run.thread_id, JobTimeout)
            run.interrupted = True
        else:
            self._coroutines.cancel(run)
        run.duration_s = monotonic() - run.started_at
        run.settlement = self._settler.settle(run, outcome)
        self._held.discard(run)
        return True

    def _wake_another(self) -> None:
        """Have one more thread look for runs, if none is on its way already."""
        if self._is_waking or self._is_standing_by:
            return
        try:
            sleeper = self._parked.pop()
        except IndexError:
            if self._threads < self._concurrency:
                self._start_thread()
            return
        self._is_waking = True
        sleeper.release()

    def _start_thread(self) -> None:
        with self._growth:
            if self._threads == self._concurrency:
                return
            name = f"slot-{self._threads}"
            try:
                threading.Thread(target=self._work, name=name, daemon=True).start()
            except RuntimeError:
                if self._threads == 0:
                    raise
                log.warning("no more threads to be had", extra={"threads": self._threads})
                self._concurrency = self._threads
            else:
                self._threads += 1

    def _work(self) -> None:
        mine = threading.Lock()
        mine.acquire()
        thread_id = threading.get_ident()
        stretch, stretch_at = 0, 0.0
        while True:
            if self._sprinter != thread_id and self._is_sprint_on():
                if self._is_standing_by:
                    self._park(mine)
                    continue
                self._stand_by(mine)
            try:
                run = self._ready.popleft()
            except IndexError:
                if self._sprinter == thread_id:
                    self._sprinter = 0
                self._park(mine)
                continue
            if self._ready:
                self._wake_another()
            self._serve(run, thread_id)
            now = monotonic()
            stretch += 1
            if now - stretch_at > _SPRINT_S:
                stretch, stretch_at = 0, now
            elif stretch >= _SPRINT_RUNS:
                self._sprinter, self._sprinted_at = thread_id, now
                stretch, stretch_at = 0, now

    def _is_sprint_on(self) -> bool:
        return self._sprinter != 0 and monotonic() - self._sprinted_at < _SPRINT_LASTS_S

    def _stand_by(self, mine: threading.Lock) -> None:
        """Let another thread's sprint go on; return when it does not, or all is taken."""
        self._is_standing_by = True
        while self._ready and self._is_sprint_on():
            mine.acquire(timeout=_PATIENCE_S)
        self._is_standing_by = False

    def _park(self, mine: threading.Lock) -> None:
        """Wait to be woken, unless something came to be run just before."""
        self._parked.append(mine)
        if self._ready and not self._is_standing_by:
            try:
                self._parked.remove(mine)
            except ValueError:
                pass  # woken already
            else:
                return
        mine.acquire()
        self._is_waking = False

    def _serve(self, run: Run, thread_id: int) -> None:
        try:
            self._run(run, thread_id)
        except JobTimeout:
            self._stuck.discard(run)  # it came up when the handler had ended already
        except BaseException as error:
            # Out of memory, no more threads, or a defect of ours: the job fails, the thread lives.
            log.exception("job broke its slot", extra={"job_id": run.claim.job_id})
            self._running.discard(run)
            self._stuck.discard(run)
            if not run.cancelled:
                self._finish(run, failed(error))

    def _run(self, run: Run, thread_id: int) -> None:
        task = prepare(run, self._tasks)
        if isinstance(task, SetAside):
            self._finish(run, task)
            return
        run.started_at = monotonic()
        run.deadline = run.started_at + task.timeout_s
        if task.handler.is_async:
            self._running.add(run)
            self._coroutines.start(run)
            return
        run.thread_id = thread_id
        self._running.add(run)
        self._end(run, execute(run))

    def _end(self, run: Run, outcome: Outcome) -> None:
        """Take in how a handler ended, unless the loop has given it up meanwhile."""
        ended_at = monotonic()
        try:
            self._running.remove(run)
        except KeyError:
            if run.thread_id:
                _await_timeout(run)
            self._stuck.discard(run)
        else:
            run.duration_s = ended_at - run.started_at
            self._finish(run, outcome)

    def _finish(self, run: Run, outcome: Outcome) -> None:
        run.settlement = self._settler.settle(run, outcome)
        self._finished.append(run)
        if self._asleep and len(self._ready) <= self._enough:
            self._wake_loop()

    def _wake_loop(self) -> None:
        self._asleep = False  # one byte is enough
        try:
            os.write(self._write_fd, b"w")
        except BlockingIOError:
            return


def _raise_in_thread(thread_id: int, error: type[BaseException]) -> None:
    """Have `error` raised in a thread at its next bytecode; C code is not interrupted."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread_id), ctypes.py_object(error))


def _await_timeout(run: Run) -> None:
    """Let a JobTimeout come up here that the handler did not meet: not in the thread's next job.

    Raises:
        JobTimeout: it came up.
    """
    while not run.interrupted:
        sleep(0)
    for _ in range(1_000):  # it is raised within a few bytecodes
        pass
