"""Schedulers with different definitions of a schedule: rollouts, rollbacks, stops, outages.

Time is simulated: what is tested is minutes long.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis

from bananas_topology.contract.jobs import Schedule
from bananas_topology.jobs.broker import Broker
from bananas_topology.jobs.keys import Keys
from bananas_topology.worker.scheduler import CachedClock, Scheduler

START = datetime(2026, 1, 1, 12, tzinfo=UTC)

#: Each minute at 0 and 20 seconds, and at 10 seconds.
OLD = Schedule(cron="0,20 * * * * *", job="old")
NEW = Schedule(cron="10 * * * * *", job="new")


class SimulatedClock(CachedClock):
    """A clock that is set by the test, read each time."""

    def __init__(self) -> None:
        super().__init__(lambda: self.at)
        self.at = START

    def now(self) -> datetime:
        return self.at


@dataclass
class Fleet:
    """Schedulers that run once per second of simulated time."""

    client: redis.Redis
    keys: Keys
    clock: SimulatedClock = field(default_factory=SimulatedClock)
    schedulers: list[Scheduler] = field(default_factory=list)

    def start(self, definition: Schedule) -> Scheduler:
        broker = Broker(self.client, self.keys)
        scheduler = Scheduler(broker, {"s": definition}, self.clock)
        self.schedulers.append(scheduler)
        return scheduler

    def kill(self, *schedulers: Scheduler) -> None:
        self.schedulers = [each for each in self.schedulers if each not in schedulers]

    def run(self, seconds: int) -> None:
        for _ in range(seconds):
            for scheduler in self.schedulers:
                scheduler.run()
            self.clock.at += timedelta(seconds=1)

    def fired(self) -> list[str]:
        """Type of job and occurrence, in seconds since the start, in the order of the queue."""
        found = []
        ids: Any = self.client.lrange(self.keys.queue("normal"), 0, -1)
        for job_id in reversed(ids):
            body: Any = self.client.get(self.keys.job(job_id.decode()))
            job_type = "old" if b'"name":"old"' in body else "new"
            moment = datetime.strptime(job_id.decode(), "s:%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            found.append(f"{job_type} {(moment - START).total_seconds():.0f}")
        return found


@pytest.fixture
def fleet(client: redis.Redis, keys: Keys) -> Fleet:
    return Fleet(client, keys)


def test_a_newer_definition_counts_at_once_and_the_older_one_fires_nothing(fleet: Fleet) -> None:
    fleet.start(OLD)
    fleet.start(OLD)
    fleet.run(65)
    fleet.start(NEW)
    fleet.run(125)

    assert fleet.fired() == ["old 20", "old 60", "new 70", "new 130"]


def test_an_old_scheduler_that_starts_again_does_not_take_over(fleet: Fleet) -> None:
    old = fleet.start(OLD)
    fleet.run(5)
    fleet.start(NEW)
    fleet.kill(old)
    fleet.run(100)
    fleet.start(OLD)  # stopped for a while, or restarted with its old definition
    fleet.run(85)

    assert fleet.fired() == ["new 10", "new 70", "new 130"]


@pytest.mark.parametrize("gap_s", [0, 15])
def test_after_a_rollback_the_older_definition_takes_over_without_a_loss(
    fleet: Fleet, gap_s: int
) -> None:
    old = fleet.start(OLD)
    fleet.run(5)
    new = fleet.start(NEW)
    fleet.kill(old)
    fleet.run(73)
    fleet.kill(new)
    fleet.run(gap_s)
    fleet.start(OLD)
    fleet.run(122 - gap_s)

    # The new one was last there at 77 s.
    assert fleet.fired() == ["new 10", "new 70", "old 80", "old 120", "old 140", "old 180"]


def test_deploying_a_definition_again_after_a_rollback(fleet: Fleet) -> None:
    old = fleet.start(OLD)
    fleet.run(5)
    new = fleet.start(NEW)
    fleet.run(20)
    fleet.kill(new)
    fleet.run(120)  # 145 s
    fleet.start(NEW)
    fleet.kill(old)
    fleet.run(100)

    assert fleet.fired() == [
        *("new 10", "old 60", "old 80", "old 120", "old 140", "new 190"),
    ]


def test_an_outage_gives_an_older_definition_no_turn(fleet: Fleet) -> None:
    fleet.start(OLD)
    fleet.run(5)
    fleet.start(NEW)
    fleet.run(20)
    fleet.clock.at += timedelta(minutes=5)
    fleet.run(60)

    assert fleet.fired() == ["new 10", "new 310", "new 370"]


def test_only_the_job_changes_and_no_occurrence_is_lost_or_doubled(fleet: Fleet) -> None:
    old = fleet.start(OLD)
    fleet.run(20)
    fleet.start(replace(OLD, job="new"))
    fleet.run(1)
    fleet.kill(old)
    fleet.run(60)

    assert fleet.fired() == ["old 20", "new 60", "new 80"]


@pytest.mark.parametrize("definition", [OLD, NEW], ids=["same definition", "new definition"])
def test_a_stopping_scheduler_leaves_schedules_to_another(
    fleet: Fleet, definition: Schedule
) -> None:
    stopping = fleet.start(OLD)
    fleet.run(30)
    stopping.stop()
    fleet.run(5)
    fleet.start(definition)
    fleet.run(100)

    times = ["old 60", "old 80", "old 120"] if definition is OLD else ["new 70", "new 130"]
    assert fleet.fired() == ["old 20", *times]


def test_a_stopping_scheduler_alone_loses_no_occurrence(fleet: Fleet) -> None:
    stopping = fleet.start(OLD)
    fleet.run(58)
    stopping.stop()
    fleet.run(30)
    assert fleet.fired() == ["old 20"]

    fleet.run(60)
    assert fleet.fired() == ["old 20", "old 60", "old 80", "old 120", "old 140"]


def test_definitions_that_are_long_gone_are_forgotten(fleet: Fleet) -> None:
    for minute in range(3):
        fleet.kill(*fleet.schedulers)
        fleet.start(replace(OLD, payload=minute))
        fleet.run(1)
    fleet.clock.at += timedelta(days=8)
    fleet.run(1)

    fields: Any = fleet.client.hkeys(fleet.keys.schedule("s"))
    assert len([name for name in fields if name.startswith(b"seen:")]) == 1


def test_a_crash_between_looking_and_firing_loses_nothing_at_a_rollback(fleet: Fleet) -> None:
    old = fleet.start(OLD)
    fleet.run(5)
    new = DyingBroker(fleet.client, fleet.keys)
    fleet.schedulers.append(Scheduler(new, {"s": replace(OLD, cron="20,0 * * * * *")}, fleet.clock))
    fleet.run(10)
    fleet.kill(old)
    new.dies = True
    with pytest.raises(KeyboardInterrupt):
        fleet.run(10)
    fleet.schedulers = [old]
    fleet.run(50)

    assert fleet.fired() == ["old 20", "old 60"]


class DyingBroker(Broker):
    """Ends its process before it fires."""

    dies = False

    def fire(self, *arguments: Any) -> bool:
        if self.dies:
            raise KeyboardInterrupt
        return super().fire(*arguments)
