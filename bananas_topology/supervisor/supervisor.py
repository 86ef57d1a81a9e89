"""Runs child processes and restarts them as needed: one thread, one loop, until stopped.

Every iteration of the loop:

1. sleeps until a signal, output or a report from a child, or the next scheduled action,
2. forwards output, takes in reports, handles signals and reaps children that have exited,
3. starts the children that are due to restart, replaces stalled ones, and kills those past their
   grace period.

Knows nothing about Redis: draining and the bundled server are passed in as callables. Job safety
does not depend on it: a child that dies with the supervisor requeues its jobs or loses its lease.
"""

from __future__ import annotations

import logging
import math
import select
import signal
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from bananas_topology.errors import ControlFailed
from bananas_topology.supervisor.child import Child
from bananas_topology.supervisor.monitor import Monitor
from bananas_topology.supervisor.operation import Operation
from bananas_topology.supervisor.output import Output, Stream
from bananas_topology.supervisor.plan import ChildPlan
from bananas_topology.supervisor.poll_source import PollSource
from bananas_topology.supervisor.restarts import Exit, GiveUp, RestartPolicy, decide, record_exit
from bananas_topology.supervisor.state import ChildState
from bananas_topology.system.clock import monotonic, wall_now
from bananas_topology.system.notify import EXTENSIONS, VARIABLE, NotifySocket
from bananas_topology.system.signals import DEBOUNCE_S, SignalInbox

#: Seconds between SIGQUIT, which asks a child to exit immediately, and SIGKILL.
QUIT_TIMEOUT_S = 3.0

#: Seconds between calls of `is_drained` and `on_poll`.
POLL_S = 0.2

#: Seconds between two steps of a change, unless something else happens.
STEP_S = 0.05

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


class Supervisor:
    """Runs children. Call `run` once, from the main thread.

    `notify_socket` receives the children's reports; without one no child becomes ready.
    `is_drained` is polled; the supervisor stops once it returns true. `on_poll` is called at the
    same interval, and whenever a process exits, to look after processes that are not children.
    With `stays` it keeps running even if every child was given up, so that they can be fixed and
    restarted.
    """

    def __init__(
        self,
        plans: Collection[ChildPlan],
        output: Output,
        *,
        policy: RestartPolicy | None = None,
        notify_socket: NotifySocket | None = None,
        is_drained: Callable[[], bool] | None = None,
        on_poll: Callable[[], None] | None = None,
        stays: bool = False,
    ) -> None:
        self._output = output
        self._sink = output.sink
        self._policy = policy or RestartPolicy()
        self._notify_socket = notify_socket
        self._is_drained = is_drained
        self._on_poll = on_poll
        self._on_hangup: Callable[[], None] | None = None
        self._stays = stays
        self._receivers: dict[str, Callable[[ChildState, str], None]] = {}
        self._poll_at = 0.0
        self._monitor = Monitor()
        self._sources: list[PollSource] = []
        self._operation: Operation | None = None
        self._stopping_since: float | None = None
        self._quit_at = math.inf
        self._is_quitting = False
        self._drained = False
        self._children = [self._state(plan) for plan in plans]

    @property
    def children(self) -> Sequence[ChildState]:
        """The children, including draining ones."""
        return self._children

    @property
    def exits(self) -> Mapping[tuple[str, str], int]:
        """Exits of children by pool and kind; a copy, for other threads."""
        return dict(self._monitor.exits)

    @property
    def is_stopping(self) -> bool:
        return self._stopping_since is not None

    @property
    def is_over(self) -> bool:
        """Whether nothing runs or will be restarted. All pools may have been scaled to 0."""
        if any(state.is_active for state in self._children):
            return False
        is_given_up = any(state.is_given_up for state in self._children)
        return self.is_stopping or (is_given_up and not self._stays)

    @property
    def operation(self) -> Operation | None:
        """The change under way, if any."""
        return self._operation

    def serve(self, source: PollSource) -> None:
        """Add something else for the loop to poll."""
        self._sources.append(source)

    def handle_hangup(self, action: Callable[[], None]) -> None:
        """Call this on SIGHUP, which is a request to stop otherwise. To be set before `run`."""
        self._on_hangup = action

    def receive(self, extension: str, receiver: Callable[[ChildState, str], None]) -> None:
        """Pass on what children report in messages with this field: see `EXTENSIONS`."""
        self._receivers[extension] = receiver

    def run(self) -> RunResult:
        """Run the children until stopped, drained, or no child is left to restart."""
        with SignalInbox(_signals(hangup_stops=self._on_hangup is None)) as inbox:
            try:
                for state in self._children:
                    self._start(state)
                while not self.is_over:
                    self._sleep(inbox)
                    for received in inbox.drain():
                        self._on_signal(received)
                    self._reap()
                    self._run_due_actions(monotonic())
                    for source in self._sources:
                        source.on_turn()
                    self._sink.flush()
            finally:
                # Children still run here only after an unexpected error: leave none behind.
                for state in self._children:
                    state.child.kill()
                self._sink.finish(monotonic() + FLUSH_TIMEOUT_S)
        return RunResult(
            drained=self._drained,
            given_up=tuple(state.name for state in self._children if state.is_given_up),
            killed=tuple(state.name for state in self._children if state.is_killed),
        )

    def begin(self, operation: Operation) -> None:
        """Carry out a change, from the next iteration on.

        Raises:
            ControlFailed: another change is under way, or everything is stopping.
        """
        if self.is_stopping:
            raise ControlFailed("stopping: no further changes are possible")
        if self._operation is not None:
            raise ControlFailed(f"another change is under way: {self._operation.name}")
        self._operation = operation
        log.info("%s started", operation.name)

    def add(self, plan: ChildPlan) -> ChildState:
        """Start one more child."""
        state = self._state(plan)
        self._children.append(state)
        self._start(state)
        return state

    def retire(self, state: ChildState) -> None:
        """Let a child finish its running jobs, for as long as these take; then forget it."""
        state.is_retiring = True
        state.start_at = None
        if state.child.is_running:
            state.child.send(state.child.plan.drain_signal)
        else:
            self._children.remove(state)

    def stop(self, timeout_s: float = math.inf) -> None:
        """Ask every child to finish its running jobs; every grace period starts now.

        After `timeout_s` seconds those that still run are asked to exit immediately. A repeated
        stop can only shorten that: a second SIGTERM would interrupt the running jobs.
        """
        self._quit_at = min(self._quit_at, monotonic() + timeout_s)
        if self.is_stopping:
            return
        self._stopping_since = monotonic()
        if self._operation is not None:
            self._operation.cancel("stopping")
        for state in self._children:
            state.start_at = None
            if state.child.is_running:
                state.is_stopping = True
                state.child.send(signal.SIGTERM)
                state.kill_at = monotonic() + state.child.plan.grace_ms / 1000

    def quit(self) -> None:
        """Ask every child to exit immediately."""
        if not self.is_stopping:
            self.stop()
        self._is_quitting = True
        for state in self._children:
            if state.child.is_running:
                state.child.send(signal.SIGQUIT)
                state.kill_at = min(state.kill_at or math.inf, monotonic() + QUIT_TIMEOUT_S)

    def _on_signal(self, received: signal.Signals) -> None:
        if received == signal.SIGCHLD:
            # It may be the bundled server that exited: poll now.
            self._poll_at = 0.0
        elif received == signal.SIGHUP and self._on_hangup is not None:
            self._on_hangup()
        elif self._stopping_since is None:
            grace_s = max((each.child.plan.grace_ms for each in self._children), default=0) // 1000
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
        if not self._sink.is_closed:
            poll.register(self._sink.fd, self._sink.events)
        on_ready: dict[int, Callable[[], None]] = {}
        if not self._sink.wants_pause:
            children = [state.child for state in self._children]
            on_ready = {child.pipe: child.pump for child in children if child.pipe is not None}
        if self._notify_socket is not None:
            on_ready[self._notify_socket.fileno()] = self._take_reports
        for fd in on_ready:
            poll.register(fd, select.POLLIN)
        sources: dict[int, PollSource] = {}
        for source in self._sources:
            for fd, events in source.interests().items():
                poll.register(fd, events)
                sources[fd] = source
        for fd, _ in poll.poll(max(0.0, self._next_wakeup() - monotonic()) * 1000):
            if fd in on_ready:
                on_ready[fd]()
            elif fd in sources:
                sources[fd].on_ready(fd)

    def _next_wakeup(self) -> float:
        times = [monotonic() + MAX_SLEEP_S]
        if not self._is_quitting:
            times.append(self._quit_at)
        for state in self._children:
            times += [at for at in (state.start_at, state.kill_at) if at is not None]
        if self._is_drained or self._on_poll:
            times.append(self._poll_at)
        if self._operation is not None:
            times.append(monotonic() + STEP_S)
        return min(times)

    def _take_reports(self) -> None:
        """Process the children's reports; those of a process that has exited are ignored."""
        if self._notify_socket is None:
            return
        by_pid = {state.child.pid: state for state in self._children}
        for received in self._notify_socket.receive():
            if (state := by_pid.get(received.pid)) is None:
                continue
            names = [name for name in EXTENSIONS if name in received.fields]
            if not names:
                state.on_notification(received)
            for name in names:
                if name in self._receivers:
                    self._receivers[name](state, received.fields[name])

    def _run_due_actions(self, now: float) -> None:
        """Do what is due: start, replace and kill children, advance a change, and poll."""
        for state in list(self._children):
            if state.start_at is not None and state.start_at <= now:
                self._start(state)
            if state.kill_at is not None and state.kill_at <= now:
                self._kill(state)
        self._monitor.check(self._children, now)
        if self._quit_at <= now and not self._is_quitting:
            log.warning("stopping immediately: running jobs are requeued")
            self.quit()
        if self._operation is not None:
            self._advance(self._operation)
        if self._poll_at <= now:
            self._poll(now)
        if dropped := self._sink.take_dropped():
            log.warning("log lines dropped: output not read in time", extra={"lines": dropped})
        if self._sink.is_closed and not self.is_stopping:
            self.stop()

    def _advance(self, operation: Operation) -> None:
        operation.advance()
        if operation.is_done:
            self._operation = None
            if operation.error:
                log.error("%s failed: %s", operation.name, operation.error)
            else:
                log.info("%s finished: %s", operation.name, operation.progress)

    def _poll(self, now: float) -> None:
        self._poll_at = now + POLL_S
        if self._on_poll is not None:
            self._on_poll()
        if self._is_drained is not None and not self.is_stopping and self._is_drained():
            self._drained = True
            self.stop()

    def _state(self, plan: ChildPlan) -> ChildState:
        return ChildState(Child(plan, _stream(self._output, plan)))

    def _start(self, state: ChildState) -> None:
        state.on_start()
        socket = self._notify_socket
        try:
            state.child.start({} if socket is None else {VARIABLE: str(socket.path)})
        except OSError as error:
            log.error("child failed to start", extra={"child": state.name, "error": str(error)})
            self._on_exit(state, code=1)

    def _kill(self, state: ChildState) -> None:
        state.kill_at = None
        if state.stalled_s is None:
            state.is_killed = True
            log.error("child killed: grace period expired", extra={"child": state.name})
        state.child.kill()

    def _reap(self) -> None:
        """Handle children that have exited, after what they have reported last."""
        if exited := [state for state in self._children if state.child.has_exited]:
            self._take_reports()
        for state in exited:
            if (code := state.child.poll()) is not None:
                self._on_exit(state, code)

    def _on_exit(self, state: ChildState, code: int) -> None:
        """Decide whether and when to restart a child that has exited."""
        reason = self._monitor.reason(state, code)
        state.on_exit(reason, wall_now())
        if self.is_stopping:
            return
        if state.is_retiring:
            self._children.remove(state)
            return
        ended = Exit(monotonic(), state.child.uptime_s, code, state.was_ready, reason)
        state.history = record_exit(state.history, ended, self._policy)
        decision = decide(state.history, self._policy, was_ever_ready=state.was_ever_ready)
        fields = {"child": state.name, "reason": reason}
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


def _signals(*, hangup_stops: bool) -> tuple[signal.Signals, ...]:
    """The signals to handle. An ignored SIGHUP that would stop stays ignored: for nohup."""
    handled = (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)
    if hangup_stops and signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        return handled
    return (*handled, signal.SIGHUP)
