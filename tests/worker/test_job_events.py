from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
import redis

from bananas_topology.jobs.broker import Broker
from bananas_topology.jobs.events import Event, EventReader
from bananas_topology.jobs.job import Claim, Failure
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.settlements import AckJob, BuryJob, ReleaseJob, RetryJob, Settlement
from bananas_topology.system.clock import monotonic
from bananas_topology.worker.job_events import INTERVAL_S, JOBS_PER_S, MAX_TEXT, JobEvents
from bananas_topology.worker.periodic import run_due
from bananas_topology.worker.run import Run

FAILURE = msgspec.json.encode(Failure("ValueError", "no\u202e\x1b[31m" + "x" * 10_000))


@pytest.fixture
def events(broker: Broker) -> JobEvents:
    return JobEvents(broker, "w-0", "mail")


@pytest.fixture
def published(client: redis.Redis, keys: Keys) -> Callable[[], list[Event]]:
    """What has been published since the test began."""
    reader = EventReader(client, keys)
    begin = reader.read(None).newest
    return lambda: list(reader.read(begin).events)


def _run(settle: Callable[[Claim], Settlement], job_id: str = "a") -> Run:
    claim = Claim(job_id, b"{}", b"1.1|normal|1")
    return Run(claim, 0.0, duration_s=0.0123, settlement=settle(claim))


def _acked(claim: Claim) -> AckJob:
    return AckJob(claim, b"{}", b"null", "", 12)


def _buried(claim: Claim) -> BuryJob:
    return BuryJob(claim, b"{}", FAILURE, "no", "", 12)


def _retried(claim: Claim) -> RetryJob:
    return RetryJob(claim, b"{}", FAILURE, 1)


def test_a_job_is_published_at_once_with_how_it_ended(
    events: JobEvents, published: Callable[[], list[Event]]
) -> None:
    events.share(1)

    events.add([_run(_acked, "übung"), _run(_buried, "\udcff"), _run(_retried), _run(ReleaseJob)])
    run_due([events.task])

    dead, retried, completed = [event.data for event in published()]
    assert completed == {
        "at": completed["at"], "id": "übung", "name": None, "outcome": "completed",
        "duration_ms": 12, "attempt": 1, "worker_id": "w-0", "pool": "mail", "error": None,
    }  # fmt: skip
    assert (dead["id"], dead["outcome"], retried["outcome"]) == ("\ufffd", "dead", "retried")
    assert dead["error"].startswith("ValueError: no\u202e\x1b[31mxx")
    assert len(dead["error"]) == MAX_TEXT


def test_of_many_jobs_some_are_published_failures_first(
    events: JobEvents, published: Callable[[], list[Event]]
) -> None:
    events.share(1)

    events.add([_run(_acked)] * 10_000 + [_run(_buried)] * 20)
    events.add([_run(_acked)] * 10_000)
    run_due([events.task])

    outcomes = [event.data["outcome"] for event in published()]
    assert outcomes == ["dead"] * 20 + ["completed"] * (JOBS_PER_S - 20)


def test_workers_share_the_rate(events: JobEvents, published: Callable[[], list[Event]]) -> None:
    began = monotonic()
    events.share(JOBS_PER_S * 4)
    events.add([_run(_acked)] * 100)
    run_due([events.task])
    assert len(published()) == 1

    events.share(JOBS_PER_S * 4)
    events.add([_run(_acked)] * 100)
    run_due([events.task])

    assert len(published()) == 1
    assert events.task.due - began >= 4 * INTERVAL_S


def test_a_worker_stops_publishing_without_a_subscriber(
    events: JobEvents, client: redis.Redis, keys: Keys
) -> None:
    events.share(1)
    events.add([_run(_acked)])

    run_due([events.task])

    assert not events.is_wanted
    assert not client.exists(keys.events)


def test_collected_jobs_are_dropped_without_a_subscriber(events: JobEvents) -> None:
    events.share(1)
    events.add([_run(_acked)])

    events.share(0)

    assert events.task.due == float("inf")
