"""Rules on schedules: when they fire, and what they enqueue."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from bananas_topology.spec.rules.context import Finding, RuleContext

#: Longer than any expression that a person would write, in characters.
_MAX_CRON = 200

#: From when on a schedule is asked for its next time: any moment will do, so that the same file
#: always has the same findings.
_FROM = datetime(2024, 1, 1, tzinfo=UTC)

_NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_EXPECTED = 'expected minute, hour, day of month, month, day of week, as in "0 2 * * *"'


def _parsed(cron: str) -> CronSim | str:
    """The expression, or what is wrong with it."""
    if len(cron) > _MAX_CRON:
        return f"it has more than {_MAX_CRON} characters"
    try:
        return CronSim(cron, _FROM)
    except CronSimError as error:
        text = str(error)
        return text[:1].lower() + text[1:]


def _is_impossible(cron: str, reason: str) -> bool:
    """Whether each field is right, but no month has such a day."""
    if reason != "bad day-of-month":
        return False
    fields = cron.split()
    fields[-2] = "*"
    return isinstance(_parsed(" ".join(fields)), CronSim)


def cron_is_cron(context: RuleContext) -> Iterator[Finding]:
    """Five fields (or six, with seconds in front) that the scheduler understands."""
    for name, schedule in context.topology.schedules.items():
        parsed = _parsed(schedule.cron)
        if isinstance(parsed, CronSim) or _is_impossible(schedule.cron, parsed):
            continue
        nickname = _NICKNAMES.get(schedule.cron.strip().lower())
        yield Finding(
            ("schedules", name, "cron"),
            f'"cron" of schedule "{name}" is "{schedule.cron[:_MAX_CRON]}": {parsed}',
            f'write "{nickname}"' if nickname else _EXPECTED,
        )


def cron_fires_some_day(context: RuleContext) -> Iterator[Finding]:
    """A day that no month has never comes."""
    for name, schedule in context.topology.schedules.items():
        parsed = _parsed(schedule.cron)
        if isinstance(parsed, str):
            never = _is_impossible(schedule.cron, parsed)
        else:
            never = next(parsed, None) is None
        if never:
            yield Finding(
                ("schedules", name, "cron"),
                f'schedule "{name}" never fires: no date matches "{schedule.cron}"',
                "mind the days that its months have",
            )


def the_time_zone_is_known(context: RuleContext) -> Iterator[Finding]:
    """By the names of the tz database."""
    for name, schedule in context.topology.schedules.items():
        try:
            ZoneInfo(schedule.timezone)
        except (KeyError, ValueError, OSError):
            near = difflib.get_close_matches(schedule.timezone[:64], available_timezones(), n=1)
            hint = f'did you mean "{near[0]}"?' if near else "expected one such as Europe/Rome"
            message = (
                f'"timezone" of schedule "{name}" is "{schedule.timezone[:64]}", which is not known'
            )
            yield Finding(("schedules", name, "timezone"), message, hint)


def a_payload_is_json(context: RuleContext) -> Iterator[Finding]:
    """JSON knows no infinity and no NaN; its readers no whole number of more than 64 bits."""
    for name, schedule in context.topology.schedules.items():
        for steps in _not_json(schedule.payload, ()):
            yield Finding(
                ("schedules", name, "payload", *steps),
                f'the payload of schedule "{name}" holds a number that JSON cannot',
                "quote it",
            )


def _not_json(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    is_infinite = isinstance(value, float) and not math.isfinite(value)
    if is_infinite or (isinstance(value, int) and not -(2**63) <= value < 2**64):
        yield path
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _not_json(inner, (*path, name))
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from _not_json(inner, (*path, at))
