"""Keeps a set of children running: one thread, one loop, until told to stop.

Each turn of the loop:

1. sleeps until a signal, a child's output, or the next moment something is due,
2. passes output on, obeys signals, takes note of children that have ended,
3. starts again whom `restarts.py` says so, and kills who has overstayed its grace.

Knows nothing of Redis: what a drain is, and what else is to be kept alive, is passed in. No job's
safety rests on it: a child that dies with us hands back or loses its lease.
"""

from __future__ import annotations

import logging
import math
import select
import signal
from collections.abc import Callable, Collection
from dataclasses import dataclass

from bananas_topology.supervisor.child import Child
from bananas_topology.supervisor.output import Output, Stream
from bananas_topology.supervisor.plan import ChildPlan
from bananas_topology.supervisor.restarts import (
    Exit,
    GiveUp,
    History,
    RestartPolicy,
    decide,
    remember,
)
from bananas_topology.system.clock import monotonic
from bananas_topology.system.signals import SignalInbox

#: Seconds that a child has after SIGQUIT, which tells it to leave at once, until SIGKILL.
HURRY_S = 3.0

#: Seconds within which two signals to stop are one: what runs us (uv, make) may pass on to us
#: the same Ctrl-C that the terminal sends us as well.
SAME_PRESS_S = 0.2

#: Seconds between two calls of what is polled (`is_drained`, `on_poll`).
POLL_S = 0.2

#: Seconds that the last lines may take to be written once all children have ended.
LAST_LINES_S = 1.0

#: Seconds that the loop sleeps at the most.
LONGEST_SLEEP_S = 1.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunResult:
    """How it ended. `drained`: by itself, nothing being left to do."""

    drained: bool
    given_up: tuple[str, ...]
    killed: tuple[str, ...]


@dataclass(slots=True)
class _Post:
    """A child, and what is to happen to it when; moments are on the monotonic clock."""

    child: Child
    history: History = ()
    start_at: float | None = None
    kill_at: float | None = None
    is_given_up: bool = False
    is_killed: bool = False

    @property
    def is_active(self) -> bool:
        return self.child.is_running or self.start_at is not None


class Supervisor:
    """Runs children. `run` may be called once, in the main thread.

    `is_drained` is polled, and stops everything once it says so; `on_poll` is called as often, and
    when a process has ended, to look after what is not a child.
    """

    def __init__(
        self,
        plans: Collection[ChildPlan],
        output: Output,
        *,
        policy: RestartPolicy | None = None,
        is_drained: Callable[[], bool] | None = None,
        on_poll: Callable[[], None] | None = None,
    ) -> None:
        self._sink = output.sink
        self._policy = policy or RestartPolicy()
        self._is_drained = is_drained
        self._on_poll = on_poll
        self._poll_at = 0.0
        self._stopping_since: float | None = None
        self._hurrying = False
        self._drained = False
        self._posts = [_Post(Child(plan, _stream(output, plan))) for plan in plans]

    def run(self) -> RunResult:
        """Start the children and keep them, until stopped, drained, or every one is given up."""
        with SignalInbox(_signals()) as inbox:
            try:
                for post in self._posts:
                    self._start(post)
                while any(post.is_active for post in self._posts):
                    self._sleep(inbox)
                    for received in inbox.drain():
                        self._handle(received)
                    self._take_note()
                    self._act(monotonic())
                    self._sink.flush()
            finally:
                # Only a defect of ours leaves the loop while children run: none may stay behind.
                for post in self._posts:
                    post.child.kill()
                self._sink.finish(monotonic() + LAST_LINES_S)
        return RunResult(
            drained=self._drained,
            given_up=tuple(post.child.name for post in self._posts if post.is_given_up),
            killed=tuple(post.child.name for post in self._posts if post.is_killed),
        )

    def stop(self) -> None:
        """Ask every child to finish what it runs; each has its own grace, from now on."""
        self._stopping_since = monotonic()
        for post in self._posts:
            post.start_at = None
            if post.child.is_running:
                post.child.send(signal.SIGTERM)
                post.kill_at = monotonic() + post.child.plan.grace_ms / 1000

    def hurry(self) -> None:
        """Ask every child to leave at once."""
        self._hurrying = True
        for post in self._posts:
            if post.child.is_running:
                post.child.send(signal.SIGQUIT)
                post.kill_at = min(post.kill_at or math.inf, monotonic() + HURRY_S)

    @property
    def _is_stopping(self) -> bool:
        return self._stopping_since is not None

    def _handle(self, received: signal.Signals) -> None:
        if received == signal.SIGCHLD:
            # Something we look after may have ended: do not wait for the next turn of the poll.
            self._poll_at = 0.0
        elif self._stopping_since is None:
            grace_s = max(post.child.plan.grace_ms for post in self._posts) // 1000
            log.info("stopping: running jobs have %d s to finish; once more to stop now", grace_s)
            self.stop()
        elif monotonic() - self._stopping_since > SAME_PRESS_S and not self._hurrying:
            log.warning("stopping at once: running jobs are handed back")
            self.hurry()

    def _sleep(self, inbox: SignalInbox) -> None:
        poll = select.poll()
        poll.register(inbox.fileno(), select.POLLIN)
        if self._sink.has_pending:
            poll.register(self._sink.fd, select.POLLOUT)
        children: dict[int, Child] = {}
        if not self._sink.wants_pause:
            pipes = ((post.child.pipe, post.child) for post in self._posts)
            children = {pipe: child for pipe, child in pipes if pipe is not None}
        for pipe in children:
            poll.register(pipe, select.POLLIN)
        for fd, _ in poll.poll(max(0.0, self._next_moment() - monotonic()) * 1000):
            if fd in children:
                children[fd].pump()

    def _next_moment(self) -> float:
        moments = [monotonic() + LONGEST_SLEEP_S]
        for post in self._posts:
            moments += [moment for moment in (post.start_at, post.kill_at) if moment is not None]
        if self._is_drained or self._on_poll:
            moments.append(self._poll_at)
        return min(moments)

    def _act(self, now: float) -> None:
        """Do what is due."""
        for post in self._posts:
            if post.start_at is not None and post.start_at <= now:
                self._start(post)
            if post.kill_at is not None and post.kill_at <= now:
                self._kill(post)
        if self._poll_at <= now:
            self._poll(now)
        if dropped := self._sink.take_dropped():
            log.warning("lines lost: the output was not read in time", extra={"lines": dropped})
        if self._sink.is_closed and not self._is_stopping:
            self.stop()

    def _poll(self, now: float) -> None:
        self._poll_at = now + POLL_S
        if self._on_poll is not None:
            self._on_poll()
        if self._is_drained is not None and not self._is_stopping and self._is_drained():
            self._drained = True
            self.stop()

    def _start(self, post: _Post) -> None:
        post.start_at = None
        try:
            post.child.start()
        except OSError as error:
            log.error("child not started", extra={"child": post.child.name, "error": str(error)})
            self._ended(post, code=1)

    def _kill(self, post: _Post) -> None:
        post.kill_at = None
        post.is_killed = True
        log.error("child killed: it did not stop in time", extra={"child": post.child.name})
        post.child.kill()

    def _take_note(self) -> None:
        """Find the children that have ended."""
        for post in self._posts:
            code = post.child.poll()
            if code is not None:
                post.kill_at = None
                self._ended(post, code)

    def _ended(self, post: _Post, code: int) -> None:
        """Decide what becomes of a child whose process is gone."""
        if self._is_stopping:
            return
        end = Exit(monotonic(), post.child.lived_s, code)
        post.history = remember(post.history, end, self._policy)
        decision = decide(post.history, self._policy)
        fields = {"child": post.child.name, "reason": str(end)}
        if isinstance(decision, GiveUp):
            post.is_given_up = True
            fields["reason"] = decision.reason
            log.error("child given up", extra=fields)
        else:
            post.start_at = end.at_s + decision.delay_s
            delay = f"in {decision.delay_s:g}s" if decision.delay_s else "at once"
            log.warning("child exited, starts again %s", delay, extra=fields)


def _stream(output: Output, plan: ChildPlan) -> Stream:
    return output.stream(plan.name, plan.pool, is_json=plan.env.get("LOG_FORMAT") == "json")


def _signals() -> tuple[signal.Signals, ...]:
    """SIGHUP is left alone where it is ignored: that is how nohup asks to survive it."""
    asked = (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        return asked
    return (*asked, signal.SIGHUP)
