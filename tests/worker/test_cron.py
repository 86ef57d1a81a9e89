"""When schedules fire, compared with a search through each minute and with known days."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from bananas_topology.contract.jobs import Schedule
from bananas_topology.worker.cron import next_occurrence

#: Changes of offsets: of an hour, of half an hour, of a day; at night and at midnight; by Ramadan.
CHANGES = {
    "Europe/Rome spring": ("Europe/Rome", "2026-03-29T01:00Z"),
    "Europe/Rome autumn": ("Europe/Rome", "2026-10-25T01:00Z"),
    "America/New_York spring": ("America/New_York", "2026-03-08T07:00Z"),
    "America/New_York autumn": ("America/New_York", "2026-11-01T06:00Z"),
    "Australia/Lord_Howe autumn": ("Australia/Lord_Howe", "2026-04-04T15:00Z"),
    "Australia/Lord_Howe spring": ("Australia/Lord_Howe", "2026-10-03T15:30Z"),
    "Asia/Tehran spring": ("Asia/Tehran", "2022-03-21T20:30Z"),
    "Asia/Tehran autumn": ("Asia/Tehran", "2022-09-21T19:30Z"),
    "Africa/Casablanca back": ("Africa/Casablanca", "2026-02-15T02:00Z"),
    "Africa/Casablanca forward": ("Africa/Casablanca", "2026-03-22T02:00Z"),
    "America/Sao_Paulo spring": ("America/Sao_Paulo", "2018-11-04T03:00Z"),
    "America/Caracas": ("America/Caracas", "2016-05-01T07:00Z"),
    "Pacific/Apia": ("Pacific/Apia", "2011-12-30T10:00Z"),
}

INTERVALS = (
    "* * * * *",
    "*/10 * * * *",
    "0 */2 * * *",
    "*/10 2 * * *",
    "*/20 */3 * * *",
    "7 * * * *",
)
TIMES = ("30 2 * * *", "0 0 * * *", "30 0,1,2,3,23 * * *", "0,15,45 1-3 * * *", "0 0-23/2 * * *")


def _fired(cron: str, zone: str, start: datetime, end: datetime) -> list[datetime]:
    schedule = Schedule(cron=cron, job="echo", timezone=zone)
    moments = []
    while (start := next_occurrence(schedule, start)) < end:
        moments.append(start)
    return moments


def _matches(cron: str, local: datetime) -> bool:
    minute, hour = cron.split()[:2]
    return local.minute in _values(minute, 60) and local.hour in _values(hour, 24)


def _values(field: str, size: int) -> set[int]:
    values: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.replace("*", f"0-{size - 1}").partition("-")
        values |= set(range(int(first), int(last or first) + 1, int(step or 1)))
    return values


def _minutes(start: datetime, end: datetime) -> Iterator[datetime]:
    while start < end:
        yield start
        start += timedelta(minutes=1)


@pytest.mark.parametrize(("zone", "change"), CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("cron", INTERVALS)
def test_an_interval_fires_whenever_the_local_time_matches(
    cron: str, zone: str, change: str
) -> None:
    start = datetime.fromisoformat(change) - timedelta(hours=30)
    end = start + timedelta(hours=60)

    expected = [
        instant
        for instant in _minutes(start + timedelta(minutes=1), end)
        if _matches(cron, instant.astimezone(ZoneInfo(zone)))
    ]
    assert _fired(cron, zone, start, end) == expected


@pytest.mark.parametrize(("zone", "change"), CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("cron", [*TIMES, *(f"0 {cron}" for cron in TIMES)])
def test_a_time_of_day_fires_once(cron: str, zone: str, change: str) -> None:
    start = datetime.fromisoformat(change) - timedelta(hours=30)
    end = start + timedelta(hours=60)
    five_fields = cron.removeprefix("0 ") if len(cron.split()) == 6 else cron

    # A local time fires when the clock first shows it, or first shows a later one.
    expected: set[datetime] = set()
    latest = start.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    for instant in _minutes(start, end):
        local = instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        passed = _minutes(latest + timedelta(minutes=1), local + timedelta(minutes=1))
        if any(_matches(five_fields, each) for each in passed):
            expected.add(instant)
        latest = max(latest, local)
    assert _fired(cron, zone, start, end) == sorted(expected)


TWICE = "02:00+02:00 02:40+02:00 02:00+01:00 02:40+01:00"


@pytest.mark.parametrize(
    ("cron", "zone", "day", "expected"),
    [
        # 02:30 does not exist on 29 March, and occurs twice on 25 October.
        ("30 2 * * *", "Europe/Rome", "2026-03-29", "03:00+02:00"),
        ("30 2 * * *", "Europe/Rome", "2026-10-25", "02:30+02:00"),
        ("*/30 2 * * *", "Europe/Rome", "2026-03-29", ""),
        (
            "*/30 2 * * *",
            "Europe/Rome",
            "2026-10-25",
            "02:00+02:00 02:30+02:00 02:00+01:00 02:30+01:00",
        ),
        (
            "0 */6 * * *",
            "Europe/Rome",
            "2026-10-25",
            "00:00+02:00 06:00+01:00 12:00+01:00 18:00+01:00",
        ),
        ("0 1 * * *", "America/New_York", "2026-11-01", "01:00-04:00"),
        ("0 */1 1 11 *", "America/New_York", "2026-11-01", "25 times"),
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-04", "02:30+11:00"),
        ("45 1 * * *", "Australia/Lord_Howe", "2026-04-05", "01:45+11:00"),
        ("0 0 * * *", "Asia/Tehran", "2022-03-22", "01:00+04:30"),
        ("0 0 * * *", "Asia/Tehran", "2026-03-22", "00:00+03:30"),
        ("30 2 * * *", "Africa/Casablanca", "2026-02-15", "02:30+01:00"),
        ("30 2 * * *", "Africa/Casablanca", "2026-03-22", "03:00+01:00"),
        ("0 12 * * *", "Pacific/Apia", "2011-12-31", "00:00+14:00 12:00+14:00"),
    ],
)
def test_a_day_on_which_clocks_change(cron: str, zone: str, day: str, expected: str) -> None:
    start = datetime.fromisoformat(f"{day}T00:00").replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    end = datetime.fromisoformat(f"{day}T23:59").replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)

    fired = _fired(cron, zone, start - timedelta(seconds=1), end)

    shown = [f"{each.astimezone(ZoneInfo(zone)):%H:%M%z}" for each in fired]
    shown = [f"{each[:-2]}:{each[-2:]}" for each in shown]
    assert expected in (" ".join(shown), f"{len(shown)} times")


@pytest.mark.parametrize(
    ("cron", "zone", "after", "expected"),
    [
        ("* * 29 2 *", "Europe/Rome", "2026-01-01T00:00Z", "2028-02-28T23:00Z"),
        ("0 0 1 1 *", "Europe/Rome", "2026-01-01T00:00Z", "2026-12-31T23:00Z"),
        ("*/7 * * * * *", "UTC", "2026-01-01T00:00:00.5Z", "2026-01-01T00:00:07Z"),
        ("* * * * *", "Europe/Rome", "2026-01-01T00:00:59.999Z", "2026-01-01T00:01Z"),
        ("30 * * * *", "Asia/Kathmandu", "2026-01-01T00:00Z", "2026-01-01T00:45Z"),
        # In the second 02:10: the first 02:30 has fired.
        ("30 2 * * *", "Europe/Rome", "2026-10-25T01:10Z", "2026-10-26T01:30Z"),
    ],
)
def test_the_next_occurrence(cron: str, zone: str, after: str, expected: str) -> None:
    schedule = Schedule(cron=cron, job="echo", timezone=zone)

    found = next_occurrence(schedule, datetime.fromisoformat(after))

    assert found == datetime.fromisoformat(expected)
