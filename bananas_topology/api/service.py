"""The operations behind the routes, other than enqueueing: inspection, changes, and health."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Self

import msgspec
from starlette.requests import Request

from bananas_topology.api.alerts import Alerts
from bananas_topology.api.history import HistoryAnswers
from bananas_topology.client import Client, Patience
from bananas_topology.contract.api import Replicas
from bananas_topology.errors import RedisUnavailable, RedisUnsuitable, WrongJobState
from bananas_topology.jobs.access import ServerUrl
from bananas_topology.jobs.activity import ActivityReader
from bananas_topology.jobs.connection import PRODUCER_TIMEOUT_S, connect
from bananas_topology.jobs.dead import DeadFilter, DeadJobs
from bananas_topology.jobs.events import (
    CountersJson,
    EventId,
    EventPage,
    EventReader,
    counters_json,
)
from bananas_topology.jobs.history import HistoryReader
from bananas_topology.jobs.inspect import Inspector
from bananas_topology.jobs.job import new_id
from bananas_topology.jobs.job_types import JobTypes
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.schedules import ScheduleReader
from bananas_topology.jobs.search import Search
from bananas_topology.jobs.views import job_json, queues_json
from bananas_topology.units import quantity

#: Lists of each kind that a health check and counters read: they cost the same however many job
#: types there are.
MAX_TYPES = 100

_UNKNOWN: Mapping[str, Replicas] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Health:
    """Whether jobs are being processed; `problems` lists the reasons if not.

    `ready` is a lower bound if jobs of very many types are ready.
    """

    problems: tuple[str, ...]
    workers: int
    ready: int

    @property
    def is_ok(self) -> bool:
        return not self.problems


@dataclass(frozen=True, slots=True)
class Service:
    """Everything behind the routes. Thread-safe; all methods may block on Redis.

    JSON is decoded and encoded here, too, since that is slow for a large job.

    Raises (all methods except `health` and `redis_problem`):
        RedisUnavailable, RedisUnsuitable: see connection.py.
    """

    client: Client
    inspector: Inspector
    search: Search
    dead: DeadJobs
    schedules: ScheduleReader
    events: EventReader
    history: HistoryAnswers
    job_types: JobTypes
    activity: ActivityReader
    alerts: Alerts
    pools: Mapping[str, Replicas]

    @classmethod
    def connect(
        cls, url: str | ServerUrl, key_prefix: str, pools: Mapping[str, Replicas] = _UNKNOWN
    ) -> Self:
        """Make a service on the deployment with this server and prefix; connects when used.

        `pools` are those of its topology, if known.
        """
        connection = connect(url, key_prefix=key_prefix, timeout_s=PRODUCER_TIMEOUT_S)
        keys = Keys(key_prefix)
        return cls(
            Client(url, key_prefix=key_prefix),
            Inspector(connection, keys),
            Search(connection, keys),
            DeadJobs(connection, keys),
            ScheduleReader(connection, keys),
            EventReader(connection, keys),
            HistoryAnswers(HistoryReader(connection, keys)),
            JobTypes(connection, keys),
            ActivityReader(connection, keys),
            Alerts(connection, keys, pools),
            pools,
        )

    def close(self) -> None:
        """Close the connections."""
        self.client.close()
        self.dead.close()
        self.events.close()

    def job(self, job_id: str) -> bytes:
        """Read a job, as JSON.

        Raises:
            JobNotFound: the job does not exist or has expired.
        """
        return msgspec.json.encode(job_json(self.client.get(job_id)))

    def retry(self, job_id: str) -> None:
        """Retry a dead job.

        Raises:
            JobNotFound: the job does not exist or has expired.
            WrongJobState: it is not dead, or cannot be read.
        """
        status = self.client.get(job_id).status
        retried = self.dead.retry(DeadFilter(job_ids=frozenset({job_id})))
        if retried.unreadable:
            raise WrongJobState(f'job "{job_id}" cannot be retried: its JSON cannot be read')
        for reason in retried.rejected.values():
            raise WrongJobState(f'job "{job_id}" cannot be retried: {reason}')
        if not retried.jobs:
            raise WrongJobState(f'job "{job_id}" is {status}: only dead jobs can be retried')

    def finished_job(self, job_id: str, patience: Patience) -> bytes:
        """Read a job, as JSON, once it has finished or the time to wait is over.

        Raises:
            JobNotFound: the job does not exist or has expired.
        """
        return msgspec.json.encode(job_json(self.client.await_end(job_id, patience)))

    def run_schedule(self, name: str) -> str:
        """Enqueue the job of a schedule, and return its id.

        Raises:
            ScheduleNotFound: no scheduler runs one of this name.
        """
        wanted = self.schedules.definition(name)
        job_id = f"{name}:run-{new_id()[-12:]}"  # no longer than the id of an occurrence
        return self.client.enqueue(wanted.job, wanted.payload, priority=wanted.priority, id=job_id)

    def events_after(self, event_id: EventId | None) -> tuple[EventPage, CountersJson]:
        """Read the events after an id, or only which is the newest; and the counters."""
        page = self.events.read(event_id)
        return page, counters_json(self.inspector.overview(max_types=MAX_TYPES), page.at)

    def queues(self) -> bytes:
        """Read queue depths and live workers, as JSON."""
        return msgspec.json.encode(queues_json(self.inspector.overview()))

    def redis_problem(self) -> str | None:
        """Return why Redis cannot be used, or None."""
        try:
            self.inspector.check()
        except (RedisUnavailable, RedisUnsuitable) as error:
            return str(error)
        return None

    def health(self) -> Health:
        """Check that Redis responds, and that workers are running if jobs are ready."""
        try:
            overview = self.inspector.overview(max_types=MAX_TYPES)
        except (RedisUnavailable, RedisUnsuitable) as error:
            return Health((str(error),), workers=0, ready=0)
        ready = overview.backlog.ready
        workers = sum(worker.concurrency > 0 for worker in overview.workers)
        if ready and not workers:
            return Health(
                (f"{quantity(ready, 'ready job')} but no workers running",), workers, ready
            )
        return Health((), workers, ready)


def service_of(request: Request) -> Service:
    """The service behind the routes of a request's application."""
    service: Service = request.app.state.api.service
    return service
