"""Reads Redis for `bananas top` in a thread of its own: a server that is gone delays no key."""

from __future__ import annotations

import os
import queue
import threading
from itertools import islice

from bananas_topology.cli.server import Server
from bananas_topology.cli.top.model import Event, JobDetails, Message, ReadFailed, Snapshot, Wanted
from bananas_topology.errors import BananasTopologyError, JobNotFound
from bananas_topology.jobs.activity import ActivityReader
from bananas_topology.jobs.connection import connect
from bananas_topology.jobs.dead import DeadFilter, DeadJob, DeadJobs
from bananas_topology.jobs.inspect import Inspector
from bananas_topology.jobs.keys import Keys
from bananas_topology.system.clock import monotonic

#: Number of dead jobs that are read: the newest.
DEAD_LIMIT = 100


class Source:
    """Reads every `interval_s` seconds, and at once when asked to.

    `fileno` is readable when `events` has something to return.
    """

    def __init__(self, server: Server, interval_s: float) -> None:
        client, keys = connect(server.url, key_prefix=server.key_prefix), Keys(server.key_prefix)
        self._inspector = Inspector(client, keys)
        self._activity = ActivityReader(client, keys)
        self._dead_jobs = DeadJobs(client, keys)
        self._interval_s = interval_s
        self._requests: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._read_fd, self._write_fd = os.pipe()
        os.set_blocking(self._write_fd, False)
        self._error: BaseException | None = None
        self._wanted = Wanted()
        # The newest dead jobs, and by what to see whether they are others by now.
        self._dead: tuple[DeadJob, ...] = ()
        self._dead_state: tuple[int, str | None, int] | None = None

    def start(self) -> None:
        """Start the thread; it ends with the process, which does not wait for an answer."""
        threading.Thread(target=self._run, name="source", daemon=True).start()

    def fileno(self) -> int:
        """The descriptor to `select` on."""
        return self._read_fd

    def events(self) -> list[Event]:
        """Return what was read since the last call; to be called when `fileno` is readable.

        An unexpected error of the thread is raised here.
        """
        os.read(self._read_fd, 4096)
        if self._error is not None:
            raise self._error
        events: list[Event] = []
        while not self._events.empty():
            events.append(self._events.get())
        return events

    def want(self, wanted: Wanted) -> None:
        """Set what readings include; read at once if that has changed."""
        if wanted != self._wanted:
            self._wanted = wanted
            self._requests.put(None)

    def retry(self, job_id: str) -> None:
        """Requeue a dead job; the outcome is an event."""
        self._requests.put(job_id)

    def _run(self) -> None:
        try:
            self._serve()
        except BaseException as error:
            # A bug: shown as one, once the main thread has left the screen.
            self._error = error
            self._wake()

    def _serve(self) -> None:
        job_id: str | None = None
        while True:
            try:
                if job_id is not None:
                    self._emit(Message(self._retry(job_id)))
                    job_id = None
                self._read(self._wanted)
            except BananasTopologyError as error:
                if job_id is not None:
                    self._emit(Message(f"retry of {job_id} failed, try again: {error}"))
                self._emit(ReadFailed(monotonic(), str(error)))
            try:
                job_id = self._requests.get(timeout=self._interval_s)
            except queue.Empty:
                job_id = None

    def _read(self, wanted: Wanted) -> None:
        activity = self._activity.read()
        taken_s = monotonic()
        # A job that was retried and has died again changes the last of these only.
        state = (activity.dead, activity.newest_dead, activity.failed)
        if wanted.dead and state != self._dead_state:
            self._dead = tuple(islice(self._dead_jobs.list(), DEAD_LIMIT))
            self._dead_state = state
        self._emit(
            Snapshot(
                taken_s=taken_s,
                depths=tuple(self._inspector.depths()),
                workers=tuple(self._inspector.workers()),
                activity=activity,
                dead=self._dead,
            )
        )
        if wanted.job_id is not None:
            try:
                job = self._inspector.job(wanted.job_id)
            except JobNotFound:
                job = None
            self._emit(JobDetails(wanted.job_id, job))

    def _retry(self, job_id: str) -> str:
        retried = self._dead_jobs.retry(DeadFilter(job_ids=frozenset((job_id,))))
        if retried.jobs:
            return f"{job_id} requeued"
        return f"{job_id} not requeued: not dead, or unreadable"

    def _emit(self, event: Event) -> None:
        self._events.put(event)
        self._wake()

    def _wake(self) -> None:
        try:
            os.write(self._write_fd, b"\n")
        except BlockingIOError:
            return  # the pipe is full, hence readable
