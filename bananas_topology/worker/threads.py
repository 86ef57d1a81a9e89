"""The slots: threads that run jobs, one each, and hand outcomes back to the worker's loop.

Who settles a run is decided by one atomic step, taking it out of `_running`: its thread when the
handler has returned, or the loop when its time is up. Whoever comes second changes nothing.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import TypeVar

from bananas_topology.clock import monotonic, sleep
from bananas_topology.errors import JobTimeout
from bananas_topology.handlers import JobContext
from bananas_topology.jobs.job import Claim, Job
from bananas_topology.worker.execution import Abandoned, Outcome, Task, execute, timed_out

Waited = TypeVar("Waited")


@dataclass(slots=True, eq=False)
class Run:
    """One claimed job on its way through a slot. Times on the monotonic clock, in seconds."""

    claim: Claim
    job: Job
    task: Task
    started_at: float = 0.0
    deadline: float = 0.0
    thread_id: int = 0
    cancelled: bool = False
    interrupted: bool = False

    def context(self, worker_id: str) -> JobContext:
        """What the handler may ask about this run."""
        own = self.job.max_retries
        return JobContext(
            job_id=self.claim.job_id,
            job_type=self.job.name,
            attempt=self.job.attempts + 1,
            max_retries=self.task.max_retries if own is None else own,
            worker_id=worker_id,
            deadline=self.deadline,
            _is_cancelled=lambda: self.cancelled,
        )


@dataclass(frozen=True, slots=True)
class Finished:
    """A run with its outcome, for settlement. `duration_ms` is what its handler took."""

    run: Run
    outcome: Outcome
    duration_ms: int


class Slots:
    """Up to `concurrency` threads, started as they are needed. All methods are the loop's.

    `fileno` becomes readable when a run has finished while the loop sleeps.
    """

    def __init__(self, concurrency: int, worker_id: str) -> None:
        self._concurrency = concurrency
        self._worker_id = worker_id
        self._inbox: SimpleQueue[Run] = SimpleQueue()
        self._finished: deque[Finished] = deque()
        self._waiting: dict[int, Run] = {}
        self._running: dict[int, Run] = {}
        self._stuck: dict[int, Run] = {}
        self._threads = 0
        self._read_fd, self._write_fd = os.pipe()
        os.set_blocking(self._read_fd, False)
        os.set_blocking(self._write_fd, False)
        self._asleep = False

    @property
    def free(self) -> int:
        """How many jobs more can be taken."""
        return self._concurrency - self.busy - self.stuck

    @property
    def busy(self) -> int:
        """Jobs that run or wait for a thread."""
        return len(self._waiting) + len(self._running)

    @property
    def stuck(self) -> int:
        """Threads that still run a job whose time was up, and hold their slot."""
        return len(self._stuck)

    def submit(self, run: Run) -> None:
        """Give a run to the next free thread."""
        self._waiting[id(run)] = run
        if self._threads < min(self._concurrency, self.busy + self.stuck):
            self._threads += 1
            name = f"slot-{self._threads - 1}"
            threading.Thread(target=self._work, name=name, daemon=True).start()
        self._inbox.put(run)

    def collect(self) -> list[Finished]:
        """Take the runs that have finished since the last call."""
        finished: list[Finished] = []
        while self._finished:
            finished.append(self._finished.popleft())
        return finished

    def sleep_in(self, wait: Callable[[float], Waited], timeout: float) -> Waited:
        """Let the loop wait, for no time at all if a run has finished meanwhile."""
        self._asleep = True
        try:
            return wait(0.0 if self._finished else timeout)
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

    def next_deadline(self) -> float | None:
        """When the first of the running jobs times out, None while nothing runs."""
        return min((run.deadline for run in list(self._running.values())), default=None)

    def time_out(self) -> list[Finished]:
        """Settle what runs past its deadline and raise JobTimeout in its thread.

        A thread that does not end by it keeps its slot until it does.
        """
        now = monotonic()
        late = [run for run in list(self._running.values()) if run.deadline <= now]
        outcomes = ((run, timed_out(run.task.timeout_ms)) for run in late)
        return [done for run, outcome in outcomes if (done := self._take_away(run, outcome))]

    def withdraw(self) -> list[Finished]:
        """Take back what waits for a thread."""
        waiting = [self._waiting.pop(key, None) for key in list(self._waiting)]
        return [Finished(run, Abandoned(), 0) for run in waiting if run is not None]

    def abandon(self) -> list[Finished]:
        """Give up what runs: its handlers see `context.cancelled`, and JobTimeout."""
        running = list(self._running.values())
        return [done for run in running if (done := self._take_away(run, Abandoned()))]

    def held(self) -> list[Run]:
        """The runs that have no outcome yet."""
        return [*self._waiting.values(), *self._running.values()]

    def _take_away(self, run: Run, outcome: Outcome) -> Finished | None:
        if self._running.pop(id(run), None) is None:
            return None  # its thread was quicker
        self._stuck[id(run)] = run
        run.cancelled = True
        _raise_in_thread(run.thread_id, JobTimeout)
        run.interrupted = True
        return Finished(run, outcome, _elapsed_ms(run))

    def _work(self) -> None:
        while True:
            run = self._inbox.get()
            run.thread_id = threading.get_ident()
            run.started_at = monotonic()
            run.deadline = run.started_at + run.task.timeout_ms / 1000
            # First into the one, then out of the other: a run is at no time in neither.
            self._running[id(run)] = run
            if self._waiting.pop(id(run), None) is not None:
                self._finish(run, execute(run.job, run.task, partial(run.context, self._worker_id)))
            else:
                self._finish(run, Abandoned())  # withdrawn; released twice is released once
            if self._asleep:
                self._wake()

    def _finish(self, run: Run, outcome: Outcome) -> None:
        if self._running.pop(id(run), None) is not None:
            self._finished.append(Finished(run, outcome, _elapsed_ms(run)))
        else:
            _absorb_timeout(run)
            del self._stuck[id(run)]

    def _wake(self) -> None:
        self._asleep = False  # one byte is enough
        try:
            os.write(self._write_fd, b"w")
        except BlockingIOError:
            return


def _elapsed_ms(run: Run) -> int:
    return round((monotonic() - run.started_at) * 1000)


def _raise_in_thread(thread_id: int, error: type[BaseException]) -> None:
    """Have `error` raised in a thread at its next bytecode; C code is not interrupted."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread_id), ctypes.py_object(error))


def _absorb_timeout(run: Run) -> None:
    """Let a JobTimeout come up here that the handler did not meet: not in the thread's next job."""
    try:
        while not run.interrupted:
            sleep(0)
        for _ in range(1_000):  # it is raised within a few bytecodes
            pass
    except JobTimeout:
        return
