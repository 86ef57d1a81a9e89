"""Poison jobs: jobs that crash their worker, as opposed to jobs that only ran at the same time.

`recover.lua` records a crash for every job that a worker held when it crashed. A job is poison when
it has reached the configured number of crashes and was alone in the last one: until then, any of
its neighbors may have caused them.

A worker whose lease expired may still be alive: it withdraws the crashes recorded for it when it
comes back (heartbeat.lua). They count once it has had time to do so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import msgspec

from bananas_topology.system.clock import format_timestamp

#: Seconds that a job's crashes are kept after the latest one.
KEEP_CRASHES_S = 604_800

#: Leases after which a worker whose lease expired counts as gone.
RETURN_LEASES = 4

_MILLISECONDS = re.compile(r"[0-9]{13}")


class Crash(msgspec.Struct, frozen=True):
    """A worker crashed while it held the job.

    `how` is "reborn" (found by the worker's next process) or "reaped" (its lease expired).
    `alone`: the worker held no other job.
    `claimed_at` is when it had claimed the job, if that is recorded.
    """

    at: datetime
    how: str
    alone: bool
    worker_id: str
    claimed_at: datetime | None = None

    @classmethod
    def parse(cls, entry: bytes) -> Crash:
        """Read an entry of ``crashes:<id>``: ``<ms>|<how>|alone or shared|<worker>|<claimed, ms>``.

        Earlier versions wrote it without the last part, and a worker's id may have bars.

        Raises:
            ValueError: it is not one.
        """
        at_ms, how, sharing, rest = entry.decode(errors="replace").split("|", 3)
        worker_id, _, claimed_ms = rest.rpartition("|")
        is_alone = sharing == "alone"
        if not _MILLISECONDS.fullmatch(claimed_ms):
            return cls(_moment(at_ms), how, is_alone, rest)
        return cls(_moment(at_ms), how, is_alone, worker_id, _moment(claimed_ms))

    def __str__(self) -> str:
        sharing = "alone" if self.alone else "with other jobs"
        return f"{format_timestamp(self.at)} {self.worker_id} ({self.how}), {sharing}"


def read_crashes(entries: Iterable[bytes]) -> tuple[Crash, ...]:
    """Read the entries of ``crashes:<id>``, without any that other programs have left there."""
    found: list[Crash] = []
    for entry in entries:
        with suppress(ValueError):
            found.append(Crash.parse(entry))
    return tuple(found)


def _moment(text: str) -> datetime:
    """A time of Unix milliseconds."""
    if not _MILLISECONDS.fullmatch(text):
        raise ValueError(f'expected Unix milliseconds, got "{text}"')
    return datetime.fromtimestamp(int(text) / 1000, UTC)


def is_poison(
    crashes: Sequence[Crash], max_crashes: int, claimed_at: datetime, lease_ms: int
) -> bool:
    """Whether a job that was claimed at this time must be buried instead of run."""
    certain_until = claimed_at - timedelta(milliseconds=RETURN_LEASES * lease_ms)
    counted = [crash for crash in crashes if crash.how != "reaped" or crash.at <= certain_until]
    return len(counted) >= max_crashes and counted[-1].alone


def crash_history(crashes: Sequence[Crash]) -> str:
    """The crashes of a poison job in one line."""
    return f"the job crashed its worker {len(crashes)} times: {'; '.join(map(str, crashes))}"
