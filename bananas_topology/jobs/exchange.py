"""What a worker and Redis exchange: settlements there, claims back; as values, and as they travel.

An exchange that was sent is read in two parts, so that the worker works on what it claimed while
the server settles, and may send the next one meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from bananas_topology.jobs.calls import PendingCalls, Value
from bananas_topology.jobs.crashes import Crash
from bananas_topology.jobs.job import Claim

#: Settlements that go into one call at the most: some milliseconds of the server's time.
SETTLE_LIMIT = 500

#: Bytes of bodies after which a claim takes no further job.
CLAIM_BYTES = 4 * 2**20


class Ack(msgspec.Struct, frozen=True):
    """The job is done: its final body and its result as JSON."""

    claim: Claim
    body: bytes
    result: bytes
    completed_at: str
    duration_ms: int


class Retry(msgspec.Struct, frozen=True):
    """The job runs again later: its body for then, and why."""

    claim: Claim
    body: bytes
    failure: bytes
    delay_ms: int


class Bury(msgspec.Struct, frozen=True):
    """The job never runs again. `body` empty: what is stored is no job, and stays as it is."""

    claim: Claim
    body: bytes
    failure: bytes
    error: str
    completed_at: str
    duration_ms: int


class Release(msgspec.Struct, frozen=True):
    """The job goes back untouched."""

    claim: Claim


Settlement = Ack | Retry | Bury | Release


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """Up to `count` jobs of the `job_types`, and not many more than `max_bytes` of bodies.

    `token` is of one call alone: the worker's incarnation, a dot, a number that grows from call to
    call. `promote`: due jobs are moved into their queues first, in the same call.
    """

    count: int
    token: str
    max_bytes: int = CLAIM_BYTES
    promote: bool = False


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a claim brought.

    `more`: the claim ended at a bound other than `count`; another one would find more.
    `promoted`: due jobs moved; `PROMOTE_LIMIT` of them: there may be more.
    """

    claims: tuple[Claim, ...] = ()
    more: bool = False
    promoted: int = 0


class PendingExchange:
    """An exchange that was sent: ask for what was `claimed` first, then for what was `lost`."""

    __slots__ = ("_groups", "_pending", "_place")

    def __init__(
        self, flight: PendingCalls, groups: list[list[Settlement]], place: Literal[0, -1] | None
    ) -> None:
        self._pending = flight
        self._groups = groups
        self._place = place

    @property
    def is_open(self) -> bool:
        """Whether replies are on their way; if not, nothing is gained by waiting to ask."""
        return self._pending.is_awaited

    @property
    def fileno(self) -> int:
        """The socket that becomes readable when a reply is here, while it `is_open`."""
        return self._pending.fileno

    def claimed(self) -> Claimed | None:
        """What was claimed, as soon as that is here; None where nothing was asked for."""
        if self._place is None:
            return None
        reply = self._pending.first() if self._place == 0 else None
        return decode_claim(self._pending.rest()[self._place] if reply is None else reply)

    def lost(self) -> tuple[Settlement, ...]:
        """The settlements whose claim was no longer ours; the others are done."""
        replies = self._pending.rest()
        if self._place is not None:
            replies = replies[1:] if self._place == 0 else replies[:-1]
        return _lost(self._groups, replies)

    def drop(self) -> None:
        """Give up what is still to be read: it may have been done, or not."""
        self._pending.drop()


def decode_claim(reply: list[Any]) -> Claimed:
    """What a claim's reply says (see claim.lua)."""
    more, promoted, history, *flat = reply
    crashes = tuple(map(Crash.parse, history))
    claims = tuple(
        Claim(job_id.decode(errors="surrogateescape"), body, fence, crashes)
        for job_id, body, fence in zip(flat[::3], flat[1::3], flat[2::3], strict=True)
    )
    return Claimed(claims, more == 1, promoted)


def _lost(groups: list[list[Settlement]], replies: list[list[int]]) -> tuple[Settlement, ...]:
    """Those of the settlements that found their claim no longer ours."""
    return tuple(
        settlement
        for group, reply in zip(groups, replies, strict=True)
        if 0 in reply
        for settlement, done in zip(group, reply, strict=True)
        if not done
    )


def in_groups(settlements: Iterable[Settlement]) -> list[list[Settlement]]:
    """Part settlements by kind, and into calls of bounded size."""
    kinds: dict[type[Settlement], list[Settlement]] = {}
    for settlement in settlements:
        kinds.setdefault(type(settlement), []).append(settlement)
    return [
        group[start : start + SETTLE_LIMIT]
        for group in kinds.values()
        for start in range(0, len(group), SETTLE_LIMIT)
    ]


def settlement_args(each: Settlement) -> tuple[Value, ...]:
    """What a settlement's script takes behind id and fence (see the scripts' headers)."""
    if isinstance(each, Ack):
        return (each.body, each.result, each.completed_at, each.duration_ms)
    if isinstance(each, Retry):
        return (each.body, each.failure, each.delay_ms)
    if isinstance(each, Bury):
        return (each.body, each.failure, each.error, each.completed_at, each.duration_ms)
    return ()
