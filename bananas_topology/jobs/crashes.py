"""Poison jobs: jobs that crash their worker, as opposed to jobs that only ran at the same time.

`recover.lua` records a crash for every job that a worker held when it crashed. A job is poison when
it has reached the configured number of crashes and was alone in the last one: until then, any of
its neighbors may have caused them.

A worker whose lease expired may still be alive: it withdraws the crashes recorded for it when it
comes back (heartbeat.lua). They count once it has had time to do so.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from bananas_topology.system.clock import format_timestamp

#: Seconds that a job's crashes are kept after the latest one.
KEEP_CRASHES_S = 604_800

#: Leases after which a worker whose lease expired counts as gone.
RETURN_LEASES = 4


class Crash(msgspec.Struct, frozen=True):
    """A worker crashed while it held the job.

    `how` is "reborn" (found by the worker's next process) or "reaped" (its lease expired).
    `alone`: the worker held no other job.
    """

    at: datetime
    how: str
    alone: bool
    worker_id: str

    @classmethod
    def parse(cls, entry: bytes) -> Crash:
        """Read an entry of ``crashes:<id>``: ``<at, in ms>|<how>|alone or shared|<worker>``."""
        at_ms, how, sharing, worker_id = entry.decode(errors="replace").split("|", 3)
        return cls(
            datetime.fromtimestamp(int(at_ms) / 1000, UTC), how, sharing == "alone", worker_id
        )

    def __str__(self) -> str:
        sharing = "alone" if self.alone else "with other jobs"
        return f"{format_timestamp(self.at)} {self.worker_id} ({self.how}), {sharing}"


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
