from __future__ import annotations

import json
import random
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import redis

from bananas_topology.contract.jobs import Schedule
from bananas_topology.errors import InvalidSettings
from bananas_topology.jobs.broker import Broker
from bananas_topology.jobs.job import EncodedJob
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.replies import ScheduleState
from bananas_topology.system.clock import format_timestamp
from bananas_topology.worker.scheduler import CachedClock, Scheduler

START = datetime(2026, 1, 1, tzinfo=UTC)

YEAR: Mapping[str, Schedule] = {
    "rome": Schedule(cron="30 2 * * *", job="echo", timezone="Europe/Rome"),
    "york": Schedule(cron="0 */12 * * *", job="echo", timezone="America/New_York"),
    "weekdays": Schedule(cron="30 1,2 * * 1-5", job="echo", timezone="America/New_York"),
    "lord-howe": Schedule(cron="45 1 * * 0", job="echo", timezone="Australia/Lord_Howe"),
    "tokyo": Schedule(cron="0 9 1 * *", job="echo", timezone="Asia/Tokyo"),
}


class Killed(Exception):
    """Stands for the end of the process."""


class DyingBroker(Broker):
    """Sometimes ends its process, before or after a schedule is advanced."""

    def __init__(self, client: redis.Redis, keys: Keys, chance: random.Random) -> None:
        super().__init__(client, keys)
        self._chance = chance

    def fire(
        self,
        name: str,
        scheduler: tuple[str, bool],
        now: datetime,
        before: ScheduleState,
        after: ScheduleState,
        job: EncodedJob | None,
    ) -> bool:
        if self._chance.random() < 0.1:
            raise Killed
        fired = super().fire(name, scheduler, now, before, after, job)
        if self._chance.random() < 0.1:
            raise Killed
        return fired


def _scheduler(broker: Broker, schedules: Mapping[str, Schedule], now: datetime) -> Scheduler:
    return Scheduler(broker, schedules, CachedClock(lambda: now))


def _fired(client: redis.Redis, keys: Keys) -> list[str]:
    ids: Any = client.lrange(keys.queue("normal"), 0, -1)
    return [job_id.decode() for job_id in reversed(ids)]


def _moment(job_id: str) -> datetime:
    return datetime.strptime(job_id.partition(":")[2], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


def _next_run(broker: Broker, name: str) -> str:
    next_run: Any = broker.client.hget(broker.keys.schedule(name), "next_run")
    return str(next_run.decode())


def _next_due(broker: Broker, schedules: Mapping[str, Schedule]) -> datetime:
    return min(datetime.fromisoformat(_next_run(broker, name)) for name in schedules)


def test_every_occurrence_of_a_year_fires_once_although_schedulers_die(
    client: redis.Redis, keys: Keys
) -> None:
    chance = random.Random(26)
    broker = Broker(client, keys)
    _scheduler(broker, YEAR, START).run()
    assert _fired(client, keys) == []
    now = START

    while (now := _next_due(broker, YEAR)) < START + timedelta(days=365):
        # Up to half a minute late, by three schedulers whose clocks differ.
        late = now + timedelta(seconds=chance.uniform(2, 30))
        runs = [_dying_run(client, keys, late, random.Random(chance.random())) for _ in range(3)]
        threads = [threading.Thread(target=run) for run in runs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    fired = _fired(client, keys)
    assert [job_id for job_id, times in Counter(fired).items() if times > 1] == []
    by_name: defaultdict[str, list[datetime]] = defaultdict(list)
    for job_id in fired:
        by_name[job_id.partition(":")[0]].append(_moment(job_id))
    for name, job in YEAR.items():
        _assert_complete(sorted(by_name[name]), job)


def _dying_run(
    client: redis.Redis, keys: Keys, now: datetime, chance: random.Random
) -> Callable[[], None]:
    skewed = now + timedelta(seconds=chance.uniform(-2, 2))

    def run() -> None:
        while True:  # a killed scheduler restarts without any state
            broker = DyingBroker(client, keys, chance)
            try:
                _scheduler(broker, YEAR, skewed).run()
            except Killed:
                continue
            finally:
                broker.close()
            return

    return run


def _assert_complete(fired: list[datetime], job: Schedule) -> None:
    """Compare with the local days of the year, computed without cronsim."""
    zone = ZoneInfo(job.timezone)
    expected: list[datetime | tuple[datetime, datetime]] = []
    day = START.astimezone(zone).date()
    while day <= (START + timedelta(days=366)).date():
        expected += [_expected(day, hour, minute, zone) for hour, minute in _times(job, day)]
        day += timedelta(days=1)
    end = START + timedelta(days=365)
    in_range = [moment for moment in expected if START < _earliest(moment) < end]
    assert len(fired) == len(in_range)
    for moment, allowed in zip(fired, in_range, strict=True):
        if isinstance(allowed, tuple):
            assert allowed[0] <= moment <= allowed[1], job
        else:
            assert moment == allowed, job


def _times(job: Schedule, day: date) -> list[tuple[int, int]]:
    match job.cron:
        case "30 2 * * *":
            return [(2, 30)]
        case "0 */12 * * *":
            return [(0, 0), (12, 0)]
        case "30 1,2 * * 1-5":
            return [(1, 30), (2, 30)] if day.weekday() < 5 else []
        case "45 1 * * 0":
            return [(1, 45)] if day.weekday() == 6 else []
        case _:
            return [(9, 0)] if day.day == 1 else []


def _expected(
    day: date, hour: int, minute: int, zone: ZoneInfo
) -> datetime | tuple[datetime, datetime]:
    """The moment of a local time; for one that is skipped, a range after the gap."""
    local = datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone)
    utc = local.astimezone(UTC)
    if utc.astimezone(zone).replace(tzinfo=None) == local.replace(tzinfo=None):
        return utc
    # With the offset from before the gap, it is as far after the gap as it was into it.
    return utc - timedelta(minutes=59), utc + timedelta(minutes=59)


def _earliest(moment: datetime | tuple[datetime, datetime]) -> datetime:
    return moment[0] if isinstance(moment, tuple) else moment


@pytest.mark.parametrize("catch_up", [True, False])
def test_missed_occurrences_fire_once_if_catching_up_else_never(
    client: redis.Redis, keys: Keys, catch_up: bool
) -> None:
    schedules = {"hourly": Schedule(cron="0 * * * *", job="echo", catch_up=catch_up)}
    broker = Broker(client, keys)
    _scheduler(broker, schedules, START).run()

    _scheduler(broker, schedules, START + timedelta(hours=5, minutes=30)).run()

    assert _fired(client, keys) == (["hourly:20260101T010000Z"] if catch_up else [])
    assert _next_run(broker, "hourly") == "2026-01-01T06:00:00.000000Z"


def test_an_occurrence_up_to_a_minute_late_is_not_missed(client: redis.Redis, keys: Keys) -> None:
    schedules = {"minutely": Schedule(cron="* * * * *", job="echo")}
    broker = Broker(client, keys)
    _scheduler(broker, schedules, START).run()

    _scheduler(broker, schedules, START + timedelta(seconds=115)).run()

    assert _fired(client, keys) == ["minutely:20260101T000100Z"]
    _scheduler(broker, schedules, START + timedelta(seconds=200)).run()
    assert _fired(client, keys)[1:] == ["minutely:20260101T000300Z"]


def test_a_changed_schedule_starts_from_now(client: redis.Redis, keys: Keys) -> None:
    broker = Broker(client, keys)
    before = {"s": Schedule(cron="0 * * * *", job="echo", catch_up=True)}
    after = {"s": Schedule(cron="30 * * * *", job="echo", catch_up=True)}
    _scheduler(broker, before, START).run()

    _scheduler(broker, after, START + timedelta(hours=3)).run()

    assert _fired(client, keys) == []
    assert _next_run(broker, "s") == format_timestamp(START + timedelta(hours=3, minutes=30))


def test_a_fired_job_is_stored_like_any_other(client: redis.Redis, keys: Keys) -> None:
    schedules = {"s": Schedule(cron="0 * * * *", job="echo", payload={"a": 1}, priority="low")}
    broker = Broker(client, keys)
    _scheduler(broker, schedules, START).run()

    _scheduler(broker, schedules, START + timedelta(hours=1)).run()

    assert client.lrange(keys.queue("low"), 0, -1) == [b"s:20260101T010000Z"]
    stored: Any = client.get(keys.job("s:20260101T010000Z"))
    assert json.loads(stored)["payload"] == {"a": 1}
    fields: Any = client.hgetall(keys.schedule("s"))
    assert fields[b"run_count"] == b"1"
    assert fields[b"last_run"] == b"2026-01-01T01:00:00.000000Z"


def test_invalid_schedules_are_reported_together(client: redis.Redis, keys: Keys) -> None:
    wrong = {
        "a": Schedule(cron="61 * * * *", job="echo"),
        "b": Schedule(cron="0 0 31 2,4 *", job="echo"),
        "c": Schedule(cron="* * * * *", job="echo", timezone="Mars/Olympus"),
        "d": Schedule(cron="* * * * *", job="with space"),
        "e": Schedule(cron="* * * * *", job="echo", timezone="../etc/passwd"),
        "valid": Schedule(cron="* * * * *", job="echo"),
    }

    with pytest.raises(InvalidSettings) as caught:
        _scheduler(Broker(client, keys), wrong, START)

    assert [problem.split(":")[1].strip() for problem in caught.value.problems] == list("abcde")


def test_a_cached_clock_is_read_rarely() -> None:
    readings = iter([START, START + timedelta(hours=1)])
    clock = CachedClock(lambda: next(readings))

    first, second = clock.now(), clock.now()

    assert START <= first <= second < START + timedelta(seconds=5)
    assert clock.exact() == START + timedelta(hours=1)
    assert clock.now() >= START + timedelta(hours=1)
