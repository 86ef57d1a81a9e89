"""What `bananas top` knows and how keys and readings change it. Pure: no terminal, no Redis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from bananas_topology.contract.api import Replicas
    from bananas_topology.jobs.activity import Activity
    from bananas_topology.jobs.dead import DeadJob
    from bananas_topology.jobs.depths import QueueDepth
    from bananas_topology.jobs.inspect import JobView, WorkerView

#: Number of readings whose throughput is remembered: the widest sparkline.
MAX_RATES = 300


class Pane(StrEnum):
    """The lists that the lower part of the screen can show."""

    RUNNING = "running"
    WORKERS = "workers"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One reading. `taken_s` is the monotonic time; `dead`: the newest, if they were wanted."""

    taken_s: float
    depths: tuple[QueueDepth, ...]
    workers: tuple[WorkerView, ...]
    activity: Activity
    dead: tuple[DeadJob, ...] = ()

    @property
    def at(self) -> datetime:
        """The server's time of the reading."""
        return self.activity.at


@dataclass(frozen=True, slots=True)
class ReadFailed:
    """Reading failed at this monotonic time."""

    at_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class JobDetails:
    """The job whose details are shown; `job` None: it no longer exists."""

    job_id: str
    job: JobView | None


@dataclass(frozen=True, slots=True)
class Message:
    """A message for the user, such as the outcome of a retry."""

    text: str


Event = Snapshot | ReadFailed | JobDetails | Message


class Rate(NamedTuple):
    """Jobs per second."""

    completed: float
    failed: float


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a reading has to include beside the figures that are always shown."""

    dead: bool = False
    job_id: str | None = None


@dataclass(frozen=True, slots=True)
class Sort:
    """A column of the pane. `reverse`: not in the direction that the column has by default."""

    column: int = 0
    reverse: bool = False


@dataclass(frozen=True, slots=True)
class Model:
    """Everything that the screen shows.

    `title` names the deployment and `wanted_replicas` has those of the topology, if there is one.
    The selection follows its row by id; `selected_index` is where it stays if the row goes away.
    `scroll` is the first line shown of a job's details.
    """

    title: str = ""
    wanted_replicas: Mapping[str, Replicas] = field(default_factory=dict)
    snapshot: Snapshot | None = None
    rates: tuple[Rate, ...] = ()
    lost_since_s: float | None = None
    lost_reason: str = ""
    pane: Pane = Pane.RUNNING
    sorts: Mapping[Pane, Sort] = field(default_factory=dict)
    filter: str = ""
    is_typing: bool = False
    is_paused: bool = False
    is_helping: bool = False
    selected_id: str | None = None
    selected_index: int = 0
    job_id: str | None = None
    job: JobDetails | None = None
    scroll: int = 0
    message: str = ""

    @property
    def sort(self) -> Sort:
        """How the current pane is sorted."""
        return self.sorts.get(self.pane, Sort())

    @property
    def wanted(self) -> Wanted:
        """What the next reading has to include."""
        return Wanted(self.pane is Pane.DEAD, self.job_id)


def receive(model: Model, event: Event) -> Model:
    """Take in what was read. While paused, what is shown stays; a lost connection is shown."""
    match event:
        case Snapshot():
            return _receive_snapshot(model, event)
        case ReadFailed(at_s, reason):
            since_s = at_s if model.lost_since_s is None else model.lost_since_s
            return replace(model, lost_since_s=since_s, lost_reason=reason)
        case JobDetails(job_id):
            is_wanted = job_id == model.job_id and not (model.is_paused and model.job)
            return replace(model, job=event) if is_wanted else model
        case Message(text):
            return replace(model, message=text)


def _receive_snapshot(model: Model, snapshot: Snapshot) -> Model:
    model = replace(model, lost_since_s=None, lost_reason="")
    if model.snapshot is None:
        return replace(model, snapshot=snapshot)
    if model.is_paused:
        return model
    rates = (*model.rates, _rate(model.snapshot, snapshot))[-MAX_RATES:]
    return replace(model, snapshot=snapshot, rates=rates)


def _rate(before: Snapshot, after: Snapshot) -> Rate:
    """Throughput between two readings; the counters start again if Redis is flushed."""
    seconds = max(after.taken_s - before.taken_s, 1e-3)
    completed = after.activity.completed - before.activity.completed
    failed = after.activity.failed - before.activity.failed
    return Rate(max(0, completed) / seconds, max(0, failed) / seconds)
