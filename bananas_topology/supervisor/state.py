"""A child as the supervisor sees it: its phase, what it reported, and when to act on it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from bananas_topology.supervisor.child import Child
from bananas_topology.supervisor.restarts import History
from bananas_topology.system.clock import monotonic
from bananas_topology.system.notify import Notification
from bananas_topology.system.processes import Usage

#: Seconds without a report after which a child counts as stalled. The same as for health checks: a
#: handler may hold the interpreter in native code for many seconds without its worker being killed.
STALL_S = 30.0

#: Seconds between asking a stalled child to write its stacks and killing it.
STACKS_TIMEOUT_S = 3.0

#: Maximum replacements of a stalled child within this many seconds: if that does not help, more
#: would only keep interrupting jobs.
MAX_REPLACEMENTS = 3
REPLACEMENT_WINDOW_S = 3600.0


class Phase(StrEnum):
    """The state of a child, as `bananas ps` shows it."""

    STARTING = "starting"
    READY = "ready"
    UNREADY = "not ready"
    STALLED = "stalled"
    DRAINING = "draining"
    STOPPING = "stopping"
    RESTARTING = "restarting"
    GIVEN_UP = "given up"
    EXITED = "exited"


@dataclass(frozen=True, slots=True)
class Report:
    """What a child last reported: jobs completed and failed since its process started."""

    is_ready: bool = False
    slots: int = 0
    busy: int = 0
    stuck: int = 0
    completed: int = 0
    failed: int = 0


@dataclass(slots=True)
class ChildState:
    """A child and its scheduled actions; times are on the monotonic clock, in seconds.

    `is_retiring`: it was asked to drain and is not restarted. `was_ready` is of the current
    process, `was_ever_ready` of any. `stalled_s` is set once a stalled process is being replaced.
    """

    child: Child
    history: History = ()
    start_at: float | None = None
    kill_at: float | None = None
    is_given_up: bool = False
    is_killed: bool = False
    is_retiring: bool = False
    is_stopping: bool = False
    was_ready: bool = False
    was_ever_ready: bool = False
    report: Report = field(default_factory=Report)
    reported_at: float | None = None
    stalled_s: float | None = None
    replaced_at: tuple[float, ...] = ()
    has_warned: bool = False
    starts: int = 0
    exits: int = 0
    completed_before: int = 0
    failed_before: int = 0
    last_exit: str = ""
    last_exit_at: datetime | None = None
    usage: Usage | None = None
    cpu_percent: float | None = None

    @property
    def name(self) -> str:
        return self.child.name

    @property
    def pool(self) -> str:
        return self.child.plan.pool

    @property
    def index(self) -> int:
        """Which replica of its pool it is, from 0."""
        return self.child.plan.index

    @property
    def is_active(self) -> bool:
        return self.child.is_running or self.start_at is not None

    @property
    def is_ready(self) -> bool:
        """Whether it takes jobs."""
        return self.phase is Phase.READY

    @property
    def phase(self) -> Phase:
        if not self.child.is_running:
            if self.is_given_up:
                return Phase.GIVEN_UP
            return Phase.EXITED if self.start_at is None else Phase.RESTARTING
        if self.is_stopping:
            return Phase.STOPPING
        if self.is_stalled(monotonic()):
            return Phase.STALLED
        if self.is_retiring:
            return Phase.DRAINING
        if self.report.is_ready:
            return Phase.READY
        return Phase.UNREADY if self.was_ready else Phase.STARTING

    @property
    def completed(self) -> int:
        """Jobs completed since the supervisor started, over restarts."""
        return self.completed_before + self.report.completed

    @property
    def failed(self) -> int:
        """Runs that failed since the supervisor started, over restarts."""
        return self.failed_before + self.report.failed

    def is_stalled(self, now: float) -> bool:
        """Whether it has reported before, but not recently. A start may take any time."""
        return self.reported_at is not None and now - self.reported_at > STALL_S

    def may_be_replaced(self, now: float) -> bool:
        """Whether replacing the stalled process is within the limit."""
        recent = [at for at in self.replaced_at if now - at < REPLACEMENT_WINDOW_S]
        return len(recent) < MAX_REPLACEMENTS

    def on_start(self) -> None:
        """Reset what belongs to one process."""
        self.start_at = self.kill_at = self.reported_at = self.stalled_s = None
        self.was_ready = self.has_warned = False
        self.report = Report()
        self.usage = self.cpu_percent = None
        self.starts += 1

    def on_exit(self, reason: str, at: datetime) -> None:
        """Add what the process has done to the totals."""
        self.last_exit, self.last_exit_at = reason, at
        self.completed_before, self.failed_before = self.completed, self.failed
        self.kill_at = self.reported_at = self.usage = self.cpu_percent = None
        self.report = Report()
        self.exits += 1

    def on_notification(self, received: Notification) -> None:
        """Take in a report of the current process."""
        self.reported_at = monotonic()
        self.has_warned = False
        is_ready = received.fields.get("READY") == "1"
        self.report = parse_report(received.fields.get("STATUS", ""), is_ready=is_ready)
        self.was_ready = self.was_ready or is_ready
        self.was_ever_ready = self.was_ever_ready or is_ready
        if is_ready:
            self.child.on_ready()


def parse_report(status: str, *, is_ready: bool) -> Report:
    """Read the counts of a STATUS field, a JSON object; what is missing or unreadable is 0.

    >>> parse_report('{"slots": 5, "busy": 1}', is_ready=True)
    Report(is_ready=True, slots=5, busy=1, stuck=0, completed=0, failed=0)
    """
    try:
        found = json.loads(status)
    except ValueError:
        found = {}
    counts = found if isinstance(found, dict) else {}
    names = ("slots", "busy", "stuck", "completed", "failed")
    known = {name: counts[name] for name in names if isinstance(counts.get(name), int)}
    return Report(is_ready=is_ready, **known)
