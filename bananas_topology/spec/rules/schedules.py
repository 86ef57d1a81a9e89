"""Rules on schedules: when they fire, and what they enqueue."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from bananas_topology.contract.json_values import paths_of_no_json
from bananas_topology.spec.rules.context import RuleContext, Violation, rule

#: Longer than any expression that a person would write, in characters.
_MAX_CRON = 200
#: Characters of a value that a message shows.
_MAX_SHOWN = 64

#: Schedules are checked from here on: a fixed time, so that a file always has the same diagnostics.
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


def _parse(cron: str) -> CronSim | str:
    """The expression, or why it is invalid."""
    if len(cron) > _MAX_CRON:
        return f"longer than {_MAX_CRON} characters"
    try:
        return CronSim(cron, _FROM)
    except CronSimError as error:
        text = str(error)
        return text[:1].lower() + text[1:]


def _is_impossible(cron: str, reason: str) -> bool:
    """Whether every field is valid, but no month has such a day."""
    if reason != "bad day-of-month":
        return False
    fields = cron.split()
    fields[-2] = "*"
    return isinstance(_parse(" ".join(fields)), CronSim)


@rule("BT240", "Invalid cron expression", example='cron: "61 * * * *"')
def cron_expressions_are_valid(context: RuleContext) -> Iterator[Violation]:
    """Five fields (or six, starting with seconds) that the scheduler understands."""
    for name, schedule in context.topology.schedules.items():
        parsed = _parse(schedule.cron)
        if isinstance(parsed, CronSim) or _is_impossible(schedule.cron, parsed):
            continue
        nickname = _NICKNAMES.get(schedule.cron.strip().lower())
        yield Violation(
            ("schedules", name, "cron"),
            f'"cron" of schedule "{name}" is "{schedule.cron[:_MAX_CRON]}": {parsed}',
            f'write "{nickname}"' if nickname else _EXPECTED,
        )


@rule("BT242", "Schedule that never fires", example='cron: "0 0 30 2 *"')
def schedules_fire_some_day(context: RuleContext) -> Iterator[Violation]:
    """A day that no month has never comes."""
    for name, schedule in context.topology.schedules.items():
        parsed = _parse(schedule.cron)
        if isinstance(parsed, str):
            never = _is_impossible(schedule.cron, parsed)
        else:
            never = next(parsed, None) is None
        if never:
            yield Violation(
                ("schedules", name, "cron"),
                f'schedule "{name}" never fires: no date matches "{schedule.cron}"',
                "check day and month",
            )


@rule("BT241", "Unknown time zone", example="timezone: Europe/Roma")
def time_zones_are_known(context: RuleContext) -> Iterator[Violation]:
    """Time zones are those of the tz database."""
    for name, schedule in context.topology.schedules.items():
        try:
            ZoneInfo(schedule.timezone)
        except (KeyError, ValueError, OSError):
            shown = schedule.timezone[:_MAX_SHOWN]
            near = difflib.get_close_matches(shown, available_timezones(), n=1)
            yield Violation(
                ("schedules", name, "timezone"),
                f'"timezone" of schedule "{name}" is "{shown}"; expected a time zone of the tz '
                "database",
                f'did you mean "{near[0]}"?' if near else "write it as Europe/Rome",
            )


@rule("BT243", "Payload that JSON cannot represent", example="payload: {x: .inf}")
def payloads_are_json(context: RuleContext) -> Iterator[Violation]:
    """Clients and workers read payloads as JSON."""
    for name, schedule in context.topology.schedules.items():
        for steps in paths_of_no_json(schedule.payload):
            yield Violation(
                ("schedules", name, "payload", *steps),
                f'the payload of schedule "{name}" has a number that JSON cannot represent',
                "quote it",
            )
