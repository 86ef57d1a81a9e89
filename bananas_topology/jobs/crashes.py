"""Poison: jobs that take their workers down, and how that is told from bad company.

`recover.lua` keeps a crash with every job that was with a worker when it went down. A job is
poison when it has as many crashes as the contract allows and was alone in the last: until then any
of its neighbours may be to blame.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from bananas_topology.system.clock import format_timestamp

#: Seconds that a job's crashes are remembered after the last of them.
KEEP_CRASHES_S = 604_800


class Crash(msgspec.Struct, frozen=True):
    """A job was with a worker when that went down.

    `how` is "reborn" (found by the worker's next process) or "reaped" (its lease ran out).
    `alone`: the job ran with no other beside it.
    """

    at: datetime
    how: str
    alone: bool
    worker_id: str

    @classmethod
    def parse(cls, entry: bytes) -> Crash:
        """Read an entry of ``crashes:<id>``: ``<at, in ms>|<how>|alone or shared|<worker>``."""
        at_ms, how, company, worker_id = entry.decode(errors="replace").split("|", 3)
        return cls(
            datetime.fromtimestamp(int(at_ms) / 1000, UTC), how, company == "alone", worker_id
        )

    def __str__(self) -> str:
        company = "alone" if self.alone else "beside other jobs"
        return f"{format_timestamp(self.at)} {self.worker_id} ({self.how}), {company}"


def is_poison(crashes: Sequence[Crash], max_crashes: int) -> bool:
    """Whether a job is to be buried, not run."""
    return len(crashes) >= max_crashes and crashes[-1].alone


def crash_history(crashes: Sequence[Crash]) -> str:
    """What to tell of a poison job: its history in one line."""
    return f"the job took its worker down {len(crashes)} times: {'; '.join(map(str, crashes))}"
