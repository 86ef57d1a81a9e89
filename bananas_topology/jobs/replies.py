"""The replies of the broker's transitions, as values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bananas_topology.errors import BananasTopologyError


@dataclass(frozen=True, slots=True)
class HeartbeatReply:
    """The reply to a heartbeat. `is_superseded`: another process has taken over the worker id.

    `expired`: workers to `reap`. `next_expiry_ms`: until the next lease of any worker expires.
    `lost_claims`: number of jobs that were returned to their queues although this process lives.
    `sharing`: number of workers that share the rate of events; 0 without a subscriber.
    `flush_error`: why the history was not changed, if that failed.
    """

    is_superseded: bool
    expired: tuple[str, ...]
    next_expiry_ms: int
    lost_claims: int
    sharing: int
    lacks_schemas: bool
    flush_error: BananasTopologyError | None = None


@dataclass(frozen=True, slots=True)
class Recovery:
    """Number of claims returned, and how many of them a crashed worker held."""

    returned: int
    crashed: int


@dataclass(frozen=True, slots=True)
class Election:
    """Whether this worker is elected, and how long the current election lasts."""

    is_elected: bool
    left_ms: int


@dataclass(frozen=True, slots=True)
class Announcement:
    """Whether a notification was added, and the number of jobs in the queue."""

    is_notified: bool
    queued: int


@dataclass(frozen=True, slots=True)
class ScheduleState:
    """When a schedule fires next, as stored, and the cron expression this was computed from.

    Both are empty for a new schedule.
    """

    next_run: str
    cron: str


@dataclass(frozen=True, slots=True)
class SeenSchedule:
    """A schedule as stored.

    `is_current`: the caller's definition is the effective one. `since` is
    when a new or changed definition took effect. `is_defined`: the stored
    definition is the caller's.
    """

    state: ScheduleState
    is_current: bool
    since: datetime
    is_defined: bool
