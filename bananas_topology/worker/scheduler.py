"""Fires cron schedules. (Delayed jobs are promoted with claims; see claiming.py.)

Any number of schedulers may run: each step of a schedule is a compare-and-set that only one of them
wins (see fire_schedule.lua). If they have different definitions of it, during a rollout, the newest
is effective (see include/schedule.lua). Redis's clock decides what is due, since those of the hosts
differ.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from datetime import UTC, datetime, timedelta

from cronsim import CronSimError

from bananas_topology.contract.jobs import Schedule
from bananas_topology.errors import InvalidJob, InvalidSettings, RedisFull, RequestRejected
from bananas_topology.jobs.broker import Broker
from bananas_topology.jobs.job import EncodedJob, encode_new
from bananas_topology.jobs.replies import ScheduleState, SeenSchedule
from bananas_topology.system.clock import format_timestamp, monotonic, parse_timestamp, wall_now
from bananas_topology.worker.cron import next_occurrence

#: An occurrence later than this counts as missed: it fires only if the schedule has `catch_up`.
MISSED_AFTER = timedelta(seconds=60)

#: How often to check a schedule, to keep its definition registered and to notice a newer one. With
#: the time until one is given up (schedule.lua), well within `MISSED_AFTER`.
LOOK_INTERVAL = timedelta(seconds=5)

#: How long after the server has rejected a job, for example while out of memory, to try again.
REJECTED_RETRY = timedelta(seconds=10)

#: Maximum occurrences of one schedule that fire in one iteration; the rest follow in the next.
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
    """Fires schedules. For use by one thread; `clock` is Redis's.

    Raises:
        InvalidSettings: a schedule has an invalid expression or time zone, or never fires.
    """

    def __init__(
        self,
        broker: Broker,
        schedules: Mapping[str, Schedule],
        clock: CachedClock,
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
        self._own = {
            name: (_definition(each), _expression(each)) for name, each in schedules.items()
        }
        self._clock = clock
        self._on_fired = on_fired
        self._look_at: dict[str, datetime] = {}
        self._left: set[str] = set()
        self._is_stopping = False

    def stop(self) -> None:
        """Leave the schedules to other schedulers, as long as there are any."""
        self._is_stopping = True

    def run(self) -> None:
        """Fire what is due now.

        Raises:
            RedisUnavailable: the server did not answer; nothing is lost, call again.
        """
        now = self._clock.now()
        names = [name for name in self._schedules if self._look_at.get(name, now) <= now]
        if not names:
            return
        now = self._clock.exact()
        own = {name: self._own[name] for name in names}
        try:
            seen = self._broker.see_schedules(own, now, is_stopping=self._is_stopping)
        except RequestRejected as error:
            return self._rejected(names, now, error)
        for name, schedule in seen.items():
            self._look_at[name] = now + LOOK_INTERVAL
            self._note(name, schedule.is_current)
            if schedule.is_current:
                try:
                    self._fire_due(name, schedule, now)
                    if not schedule.is_defined:
                        self._broker.define_schedule(name, *self._published(name))
                except (RedisFull, RequestRejected) as error:
                    self._rejected([name], now, error)

    def _published(self, name: str) -> tuple[str, str]:
        """The id of a schedule's definition, and the definition as JSON."""
        return self._own[name][0], json.dumps(asdict(self._schedules[name]))

    def _rejected(self, names: list[str], now: datetime, error: Exception) -> None:
        """Try schedules again later: an occurrence stays due, and nothing else is affected."""
        for name in names:
            self._look_at[name] = now + REJECTED_RETRY
            log.error("schedule rejected: %s", error, extra={"schedule": name})

    def _note(self, name: str, is_current: bool) -> None:
        """Log when a schedule is left to another definition, and when it is taken over again."""
        if is_current and name in self._left:
            self._left.discard(name)
            log.info("schedule taken over", extra={"schedule": name})
        elif not is_current:
            if name not in self._left and not self._is_stopping:
                log.info("schedule left to a newer definition", extra={"schedule": name})
            self._left.add(name)

    def _fire_due(self, name: str, seen: SeenSchedule, now: datetime) -> None:
        schedule, state = self._schedules[name], seen.state
        for _ in range(_MAX_FIRES):
            due = _due(state, schedule)
            if due is not None and due > now:
                self._look_at[name] = min(due, now + LOOK_INTERVAL)
                return
            if due is None:
                # New or changed: nothing fires when a schedule is first deployed.
                after = self._move(name, state, seen.since, now, None)
            else:
                after = self._advance(name, state, due, now)
            if after is None:
                break  # another scheduler did it
            state = after
        self._look_at[name] = now

    def _advance(
        self, name: str, state: ScheduleState, due: datetime, now: datetime
    ) -> ScheduleState | None:
        """Fire the occurrence that is due, or skip it, and store the next one."""
        schedule = self._schedules[name]
        fires = schedule.catch_up or now - due <= MISSED_AFTER
        job = _job_of(name, schedule, due, now) if fires else None
        # Several missed occurrences count as one.
        after = self._move(name, state, max(due, now - MISSED_AFTER), now, job)
        if after is None:
            return None
        if job is not None:
            self._on_fired()
            log.info("schedule fired", extra={"schedule": name, "job_id": job.job_id})
        else:
            log.warning("schedule missed", extra={"schedule": name, "due": state.next_run})
        return after

    def _move(
        self,
        name: str,
        state: ScheduleState,
        start: datetime,
        now: datetime,
        job: EncodedJob | None,
    ) -> ScheduleState | None:
        """Store the first occurrence after `start` as the next; None if another one was first."""
        schedule = self._schedules[name]
        next_run = format_timestamp(next_occurrence(schedule, start))
        definition, expression = self._own[name]
        after = ScheduleState(next_run, expression)
        scheduler = (definition, self._is_stopping)
        return after if self._broker.fire(name, scheduler, now, state, after, job) else None


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


def _definition(schedule: Schedule) -> str:
    """An id of a schedule's definition, the same in every process."""
    values = [getattr(schedule, field.name) for field in fields(Schedule)]
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).hexdigest()


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
