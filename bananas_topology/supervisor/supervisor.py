"""Runs child processes and restarts them as needed: one thread, one loop, until stopped.

Every iteration of the loop:

1. sleeps until a signal, output from a child, or the next scheduled action,
2. forwards output, handles signals and reaps children that have exited,
3. starts the children that are due to restart, and kills those past their grace period.

Knows nothing about Redis: draining and the bundled server are passed in as callables. Job safety
does not depend on it: a child that dies with the supervisor requeues its jobs or loses its lease.
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
    record_exit,
)
from bananas_topology.system.clock import monotonic
from bananas_topology.system.signals import DEBOUNCE_S, SignalInbox

#: Seconds between SIGQUIT, which asks a child to exit immediately, and SIGKILL.
QUIT_TIMEOUT_S = 3.0

#: Seconds between calls of `is_drained` and `on_poll`.
POLL_S = 0.2

#: Seconds allowed for writing the remaining output after all children have exited.
FLUSH_TIMEOUT_S = 1.0

#: Maximum seconds that the loop sleeps.
MAX_SLEEP_S = 1.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended. `given_up` and `killed` are names of children; `drained`: no jobs left."""

    drained: bool
    given_up: tuple[str, ...]
    killed: tuple[str, ...]


@dataclass(slots=True)
class ChildState:
    """A child and its scheduled actions; times are on the monotonic clock, in seconds."""

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
    """Runs children. Call `run` once, from the main thread.

    `is_drained` is polled; the supervisor stops once it returns true. `on_poll` is called at the
    same interval, and whenever a process exits, to look after processes that are not children.
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
        self._is_quitting = False
        self._drained = False
        self._children = [ChildState(Child(plan, _stream(output, plan))) for plan in plans]

    def run(self) -> RunResult:
        """Run the children until stopped, drained, or no child is left to restart."""
        with SignalInbox(_signals()) as inbox:
            try:
                for state in self._children:
                    self._start(state)
                while any(state.is_active for state in self._children):
                    self._sleep(inbox)
                    for received in inbox.drain():
                        self._on_signal(received)
                    self._reap()
                    self._run_due_actions(monotonic())
                    self._sink.flush()
            finally:
                # Children still run here only after an unexpected error: leave none behind.
                for state in self._children:
                    state.child.kill()
                self._sink.finish(monotonic() + FLUSH_TIMEOUT_S)
        return RunResult(
            drained=self._drained,
            given_up=tuple(state.child.name for state in self._children if state.is_given_up),
            killed=tuple(state.child.name for state in self._children if state.is_killed),
        )

    def stop(self) -> None:
        """Ask every child to finish its running jobs; every grace period starts now."""
        self._stopping_since = monotonic()
        for state in self._children:
            state.start_at = None
            if state.child.is_running:
                state.child.send(signal.SIGTERM)
                state.kill_at = monotonic() + state.child.plan.grace_ms / 1000

    def quit(self) -> None:
        """Ask every child to exit immediately."""
        self._is_quitting = True
        for state in self._children:
            if state.child.is_running:
                state.child.send(signal.SIGQUIT)
                state.kill_at = min(state.kill_at or math.inf, monotonic() + QUIT_TIMEOUT_S)

    @property
    def _is_stopping(self) -> bool:
        return self._stopping_since is not None

    def _on_signal(self, received: signal.Signals) -> None:
        if received == signal.SIGCHLD:
            # It may be the bundled server that exited: poll now.
            self._poll_at = 0.0
        elif self._stopping_since is None:
            grace_s = max(state.child.plan.grace_ms for state in self._children) // 1000
            log.info(
                "stopping: running jobs have %d s to finish; press Ctrl-C again to force", grace_s
            )
            self.stop()
        elif monotonic() - self._stopping_since > DEBOUNCE_S and not self._is_quitting:
            log.warning("stopping immediately: running jobs are requeued")
            self.quit()

    def _sleep(self, inbox: SignalInbox) -> None:
        poll = select.poll()
        poll.register(inbox.fileno(), select.POLLIN)
        if self._sink.has_pending:
            poll.register(self._sink.fd, select.POLLOUT)
        children: dict[int, Child] = {}
        if not self._sink.wants_pause:
            pipes = ((state.child.pipe, state.child) for state in self._children)
            children = {pipe: child for pipe, child in pipes if pipe is not None}
        for pipe in children:
            poll.register(pipe, select.POLLIN)
        for fd, _ in poll.poll(max(0.0, self._next_wakeup() - monotonic()) * 1000):
            if fd in children:
                children[fd].pump()

    def _next_wakeup(self) -> float:
        times = [monotonic() + MAX_SLEEP_S]
        for state in self._children:
            times += [at for at in (state.start_at, state.kill_at) if at is not None]
        if self._is_drained or self._on_poll:
            times.append(self._poll_at)
        return min(times)

    def _run_due_actions(self, now: float) -> None:
        """Start and kill the children that are due, and poll."""
        for state in self._children:
            if state.start_at is not None and state.start_at <= now:
                self._start(state)
            if state.kill_at is not None and state.kill_at <= now:
                self._kill(state)
        if self._poll_at <= now:
            self._poll(now)
        if dropped := self._sink.take_dropped():
            log.warning("log lines dropped: output not read in time", extra={"lines": dropped})
        if self._sink.is_closed and not self._is_stopping:
            self.stop()

    def _poll(self, now: float) -> None:
        self._poll_at = now + POLL_S
        if self._on_poll is not None:
            self._on_poll()
        if self._is_drained is not None and not self._is_stopping and self._is_drained():
            self._drained = True
            self.stop()

    def _start(self, state: ChildState) -> None:
        state.start_at = None
        try:
            state.child.start()
        except OSError as error:
            log.error(
                "child failed to start", extra={"child": state.child.name, "error": str(error)}
            )
            self._on_exit(state, code=1)

    def _kill(self, state: ChildState) -> None:
        state.kill_at = None
        state.is_killed = True
        log.error("child killed: grace period expired", extra={"child": state.child.name})
        state.child.kill()

    def _reap(self) -> None:
        """Handle children that have exited."""
        for state in self._children:
            code = state.child.poll()
            if code is not None:
                state.kill_at = None
                self._on_exit(state, code)

    def _on_exit(self, state: ChildState, code: int) -> None:
        """Decide whether and when to restart a child that has exited."""
        if self._is_stopping:
            return
        ended = Exit(monotonic(), state.child.uptime_s, code)
        state.history = record_exit(state.history, ended, self._policy)
        decision = decide(state.history, self._policy)
        fields = {"child": state.child.name, "reason": str(ended)}
        if isinstance(decision, GiveUp):
            state.is_given_up = True
            fields["reason"] = decision.reason
            log.error("gave up restarting child", extra=fields)
        else:
            state.start_at = ended.at_s + decision.delay_s
            delay = f"in {decision.delay_s:g}s" if decision.delay_s else "now"
            log.warning("child exited, restarting %s", delay, extra=fields)


def _stream(output: Output, plan: ChildPlan) -> Stream:
    return output.stream(plan.name, plan.pool, is_json=plan.env.get("LOG_FORMAT") == "json")


def _signals() -> tuple[signal.Signals, ...]:
    """The signals to handle. An ignored SIGHUP stays ignored: nohup relies on it."""
    handled = (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        return handled
    return (*handled, signal.SIGHUP)
