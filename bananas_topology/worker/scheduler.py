"""Fires cron schedules. (Delayed jobs are promoted with claims; see claiming.py.)

Any number of schedulers may run: each step of a schedule is a compare-and-set that only one of them
wins (see fire_schedule.lua). What is due is decided by Redis's clock, since those of the machines
differ.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from cronsim import CronSimError

from bananas_topology.contract.jobs import Schedule
from bananas_topology.errors import InvalidJob, InvalidSettings, RedisFull, RequestRejected
from bananas_topology.jobs.broker import Broker, ScheduleState
from bananas_topology.jobs.job import EncodedJob, encode_new
from bananas_topology.system.clock import format_timestamp, monotonic, parse_timestamp, wall_now
from bananas_topology.worker.cron import next_occurrence

#: An occurrence later than this counts as missed: it fires only if the schedule has `catch_up`.
MISSED_AFTER = timedelta(seconds=60)

#: How long a schedule's state is cached: another deployment may change it.
STATE_TTL = timedelta(seconds=30)

#: How long after the server has rejected a job, being out of memory for example, it is tried again.
REJECTED_RETRY = timedelta(seconds=10)

#: Maximum occurrences of one schedule that fire in one turn; the rest follow in the next.
_MAX_FIRES = 100

#: Seconds for which a reading of Redis's clock is accurate enough to tell that nothing is due.
_READING_TTL_S = 10.0

log = logging.getLogger(__name__)


class CachedClock:
    """A clock that is expensive to read: read occasionally, extrapolated by the monotonic clock."""

    def __init__(self, read: Callable[[], datetime]) -> None:
        self._read = read
        self._read_at = float("-inf")
        self._reading = datetime.min.replace(tzinfo=UTC)

    def now(self) -> datetime:
        """The time, extrapolated from a recent reading."""
        elapsed_s = monotonic() - self._read_at
        if elapsed_s > _READING_TTL_S:
            return self.exact()
        return self._reading + timedelta(seconds=elapsed_s)

    def exact(self) -> datetime:
        """The time, read now."""
        self._reading, self._read_at = self._read(), monotonic()
        return self._reading


class Scheduler:
    """Fires schedules. For use by one thread; `read_clock` reads Redis's clock.

    Raises:
        InvalidSettings: a schedule has an invalid expression or time zone, or never fires.
    """

    def __init__(
        self,
        broker: Broker,
        schedules: Mapping[str, Schedule],
        read_clock: Callable[[], datetime],
        on_fired: Callable[[], None] = lambda: None,
    ) -> None:
        if problems := [
            f"WORKER_SCHEDULES: {name}: {problem}"
            for name, schedule in schedules.items()
            if (problem := _problem(name, schedule))
        ]:
            raise InvalidSettings(problems)
        self._broker = broker
        self._schedules = schedules
        self._clock = CachedClock(read_clock)
        self._on_fired = on_fired
        self._check_at: dict[str, datetime] = {}

    def run(self) -> None:
        """Fire what is due now.

        Raises:
            RedisUnavailable: the server did not answer; nothing is lost, call again.
        """
        now = self._clock.now()
        for name, schedule in self._schedules.items():
            if self._check_at.get(name, now) > now:
                continue
            try:
                self._fire_due(name, schedule)
            except (RedisFull, RequestRejected) as error:
                # The occurrence stays due; nothing else is affected.
                self._check_at[name] = now + REJECTED_RETRY
                log.error("schedule rejected: %s", error, extra={"schedule": name})

    def _fire_due(self, name: str, schedule: Schedule) -> None:
        for _ in range(_MAX_FIRES):
            now = self._clock.exact()
            state = self._broker.schedule(name)
            due = _due(state, schedule)
            if due is not None and due > now:
                self._check_at[name] = min(due, now + STATE_TTL)
                return
            self._advance(name, schedule, state, due, now)

    def _advance(
        self,
        name: str,
        schedule: Schedule,
        state: ScheduleState,
        due: datetime | None,
        now: datetime,
    ) -> None:
        """Fire the occurrence that is due, or skip it, and store the next one."""
        # A new or changed schedule starts from now, so nothing fires when it is first deployed.
        # Several missed occurrences count as one.
        after = now if due is None else max(due, now - MISSED_AFTER)
        then = ScheduleState(
            format_timestamp(next_occurrence(schedule, after)), _expression(schedule)
        )
        fires = due is not None and (schedule.catch_up or now - due <= MISSED_AFTER)
        encoded = _job_of(name, schedule, due, now) if fires and due is not None else None
        if not self._broker.fire(name, state, then, encoded):
            return  # another scheduler did it
        if encoded is not None:
            self._on_fired()
            log.info("schedule fired", extra={"schedule": name, "job_id": encoded.job_id})
        elif due is not None:
            log.warning("schedule missed", extra={"schedule": name, "due": state.next_run})


def _due(state: ScheduleState, schedule: Schedule) -> datetime | None:
    """When a schedule fires next by its stored state; None if it is new or has changed."""
    if not state.next_run or state.cron != _expression(schedule):
        return None
    try:
        return parse_timestamp(state.next_run)
    except ValueError:
        return None


def _expression(schedule: Schedule) -> str:
    return f"{schedule.cron} {schedule.timezone}"


def _problem(name: str, schedule: Schedule) -> str:
    """Why a schedule is invalid; empty if it is valid."""
    now = wall_now()
    try:
        next_occurrence(schedule, now)
        _job_of(name, schedule, now, now)
    except CronSimError as error:
        return f'cron is "{schedule.cron}": {error}'
    except StopIteration:
        return f'cron is "{schedule.cron}": it never fires'
    except (OSError, ValueError) as error:  # ZoneInfo raises these, and KeyError
        return f'timezone is "{schedule.timezone}": {error}'
    except KeyError:
        return f'timezone is "{schedule.timezone}": expected a name such as Europe/Rome'
    except InvalidJob as error:
        return str(error)
    return ""


def _job_of(name: str, schedule: Schedule, due: datetime, now: datetime) -> EncodedJob:
    """The job of one occurrence, with an id derived from it."""
    job_id = f"{name}:{due:%Y%m%dT%H%M%SZ}"
    body = encode_new(
        job_id=job_id,
        job_type=schedule.job,
        payload=schedule.payload,
        priority=schedule.priority,
        max_retries=None,
        scheduled_for=None,
        now=now,
    )
    return EncodedJob(job_id, body, schedule.priority, schedule.job, "")
