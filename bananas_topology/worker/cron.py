"""When a cron expression fires, through the changes of its time zone's offset.

As in Debian's cron, whether the minute or the hour field starts with a star decides:

- With a star (``*/10 * * * *``, ``0 */2 * * *``) a schedule follows intervals: it fires whenever
  the local time matches. It keeps its spacing, fires again in an hour that is repeated, and not in
  one that is skipped.
- Without (``30 2 * * *``, ``0 0-23/2 * * *``) it follows times of day: each fires once, the first
  time if it is repeated. Those that are skipped fire together, once, when the clock has moved on.

The calendar itself is left to cronsim, which is given local times without a zone.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim

from bananas_topology.contract.jobs import Schedule

#: Longer than any offset change, and shorter than the time between two changes.
_SPAN = timedelta(hours=26)

_SECOND = timedelta(seconds=1)


def next_occurrence(schedule: Schedule, after: datetime) -> datetime:
    """The first time after `after`, in UTC, at which a schedule fires.

    Raises:
        CronSimError: the expression is not valid.
        KeyError, OSError, ValueError: the time zone is not known.
        StopIteration: there is none within the next decades.
    """
    zone = ZoneInfo(schedule.timezone)
    minute_and_hour = schedule.cron.split()[-5:-3]
    if any(field.startswith("*") for field in minute_and_hour):
        return _next_matching(schedule.cron, zone, after)
    for local in CronSim(schedule.cron, _local(after, zone)):
        occurrence = _first_instant(local, zone)
        if occurrence > after:
            return occurrence
    raise StopIteration


def _next_matching(cron: str, zone: ZoneInfo, after: datetime) -> datetime:
    """The first instant after `after` whose local time matches."""
    while True:
        offset = _offset(after, zone)
        found = _next_at(cron, after, offset)
        if found - after > _SPAN:
            after = found - _SPAN
        elif _offset(found, zone) == offset:
            return found
        else:
            # There is none before the offset changes. Then the local time jumps.
            change = _change(zone, after, found)
            found = _next_at(cron, change - _SECOND, _offset(change, zone))
            if found - change <= _SPAN:
                return found
            after = change


def _next_at(cron: str, after: datetime, offset: timedelta) -> datetime:
    """The first instant after `after` that matches if the offset stays the same."""
    local = next(CronSim(cron, after.replace(tzinfo=None) + offset))
    return (local - offset).replace(tzinfo=UTC)


def _first_instant(local: datetime, zone: ZoneInfo) -> datetime:
    """When it is this time locally, for the first time; the end of the gap if it is skipped."""
    instant = local.replace(tzinfo=zone).astimezone(UTC)
    if _local(instant, zone) == local:
        return instant
    # The two readings of a time that is skipped, by the offsets before and after, are around it.
    return _change(zone, local.replace(tzinfo=zone, fold=1).astimezone(UTC), instant)


def _change(zone: ZoneInfo, before: datetime, until: datetime) -> datetime:
    """When the offset changes, to the second, after `before` and not after `until`."""
    old = _offset(before, zone)
    while until - before > _SECOND:
        middle = before + (until - before) // 2
        if _offset(middle, zone) == old:
            before = middle
        else:
            until = middle
    return until.replace(microsecond=0)


def _local(instant: datetime, zone: ZoneInfo) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None)


def _offset(instant: datetime, zone: ZoneInfo) -> timedelta:
    return instant.astimezone(zone).utcoffset() or timedelta()
