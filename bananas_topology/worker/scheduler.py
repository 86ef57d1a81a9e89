"""The scheduler's two duties: promote scheduled jobs that are due, and fire cron schedules.

Any number of schedulers may run: promotion is one atomic script, and a schedule moves on from a
state that only one of them finds (see fire.lua).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim

from bananas_topology.clock import format_timestamp, parse_timestamp, wall_now
from bananas_topology.contract import CronJob
from bananas_topology.jobs.broker import PROMOTE_LIMIT, Broker, ScheduleState
from bananas_topology.jobs.job import EncodedJob, encode_new

#: An occurrence later than this was missed: it fires only where the schedule catches up.
MISSED_AFTER = timedelta(seconds=60)

#: How long a schedule's state is trusted before it is read again: another deployment may change it.
TRUST = timedelta(seconds=30)

log = logging.getLogger(__name__)


class Scheduler:
    """Promotes and fires. For use by one thread."""

    def __init__(self, broker: Broker, schedules: Mapping[str, CronJob]) -> None:
        self._broker = broker
        self._schedules = schedules
        self._look_at: dict[str, datetime] = {}

    def run(self) -> None:
        """Do what is due now.

        Raises:
            RedisUnavailable: the server did not answer; nothing is lost, call again.
        """
        while self._broker.promote() == PROMOTE_LIMIT:
            pass
        now = wall_now()
        for name, job in self._schedules.items():
            if self._look_at.get(name, now) <= now:
                self._fire_if_due(name, job, now)

    def _fire_if_due(self, name: str, job: CronJob, now: datetime) -> None:
        state = self._broker.schedule(name)
        cron = f"{job.cron} {job.timezone}"
        # A new or changed schedule starts from now: nothing fires at its first deployment.
        known = state.next_run if state.cron == cron else ""
        due = parse_timestamp(known) if known else None
        if due is not None and due > now:
            self._look_at[name] = min(due, now + TRUST)
            return
        after = ScheduleState(format_timestamp(next_occurrence(job, max(due or now, now))), cron)
        fires = due is not None and (job.catch_up or now - due <= MISSED_AFTER)
        encoded = _job_of(name, job, due, now) if fires and due is not None else None
        if self._broker.fire(name, state, after, encoded) and encoded is not None:
            log.info("schedule fired", extra={"schedule": name, "job_id": encoded.job_id})
        elif due is not None and not fires:
            log.warning("schedule missed", extra={"schedule": name, "due": known})


def next_occurrence(job: CronJob, after: datetime) -> datetime:
    """The first moment, in UTC, at which a schedule fires after another moment.

    A time that a change of clocks leaves out fires once behind the gap; one that it repeats fires
    once (cronsim follows Debian's cron in this).
    """
    local = after.astimezone(ZoneInfo(job.timezone))
    return next(CronSim(job.cron, local)).astimezone(UTC)


def _job_of(name: str, job: CronJob, due: datetime, now: datetime) -> EncodedJob:
    """The job of one occurrence; its id is of that occurrence alone."""
    job_id = f"{name}:{due:%Y%m%dT%H%M%SZ}"
    body = encode_new(
        job_id=job_id,
        job_type=job.job,
        payload=job.payload,
        priority=job.priority,
        max_retries=None,
        scheduled_for=None,
        now=now,
    )
    return EncodedJob(job_id, body, job.priority, job.job, "")
