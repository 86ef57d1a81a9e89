"""What a worker and Redis exchange: settlements are sent, claims are received.

The replies are read in two steps, so that the worker can start on its claims while the server still
settles, and can send the next exchange meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bananas_topology.errors import BananasTopologyError
from bananas_topology.jobs.calls import PendingCalls
from bananas_topology.jobs.crashes import read_crashes
from bananas_topology.jobs.job import Claim
from bananas_topology.jobs.settlements import Settlement
from bananas_topology.jobs.stored import to_text

#: Total size of bodies, in bytes, at which a claim stops taking jobs.
CLAIM_BYTES = 4 * 2**20


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """A request for up to `count` jobs, and not many more than `max_bytes` of bodies.

    `token` is unique to one call: the worker's incarnation, a dot, a number that increases with
    each call. `promote`: due jobs are moved into their queues first, by the same call.
    """

    count: int
    token: str
    max_bytes: int = CLAIM_BYTES
    promote: bool = False


@dataclass(frozen=True, slots=True)
class Claimed:
    """The reply to a claim.

    `more`: the claim stopped at a limit other than `count`; another one would find more jobs.
    `promoted`: number of due jobs moved; `PROMOTE_LIMIT` means that more may be due.
    """

    claims: tuple[Claim, ...] = ()
    more: bool = False
    promoted: int = 0


@dataclass(frozen=True, slots=True)
class Rejected:
    """Settlements that the server rejected as a whole, and why."""

    settlements: Sequence[Settlement]
    error: BananasTopologyError


@dataclass(frozen=True, slots=True)
class Settled:
    """The replies to settlements: those whose claim the worker had lost, and those rejected."""

    lost: tuple[Settlement, ...]
    rejected: tuple[Rejected, ...]


class PendingExchange:
    """An exchange that was sent: read what was `claimed` first, then what was `settled`.

    Raises (`claimed` and `settled`):
        RedisUnavailable, RedisUnsuitable: see `PendingCalls`.
    """

    __slots__ = ("_claim_position", "_groups", "_pending")

    def __init__(
        self,
        pending: PendingCalls,
        groups: list[list[Settlement]],
        claim_position: Literal[0, -1] | None,
    ) -> None:
        self._pending = pending
        self._groups = groups
        self._claim_position = claim_position

    @property
    def is_open(self) -> bool:
        """Whether replies are still to come; if not, there is no point in waiting for them."""
        return self._pending.is_open

    @property
    def fileno(self) -> int:
        """The socket that becomes readable when a reply arrives, while the exchange `is_open`."""
        return self._pending.fileno

    def claimed(self) -> Claimed | None:
        """Read the reply to the claim, as soon as it arrives; None if there was no claim."""
        position = self._claim_position
        if position is None:
            return None
        reply = self._pending.first() if position == 0 else None
        if reply is None:
            reply = self._pending.outcomes()[position]
        if isinstance(reply, BananasTopologyError):
            raise reply
        return decode_claim(reply)

    def settled(self) -> Settled:
        """Wait for all replies; returns the settlements that have not been applied."""
        replies = self._pending.outcomes()
        if self._claim_position is not None:
            replies = replies[1:] if self._claim_position == 0 else replies[:-1]
        rejected = tuple(
            Rejected(group, reply)
            for group, reply in zip(self._groups, replies, strict=True)
            if isinstance(reply, BananasTopologyError)
        )
        return Settled(_lost(self._groups, replies), rejected)

    def drop(self) -> None:
        """Discard the remaining replies: the calls may or may not have run."""
        self._pending.drop()


def decode_claim(reply: list[Any]) -> Claimed:
    """Decode the reply of claim.lua."""
    more, promoted, history, *flat = reply
    crashes = read_crashes(history)
    claims = tuple(
        Claim(to_text(job_id), body, fence, crashes)
        for job_id, body, fence in zip(flat[::3], flat[1::3], flat[2::3], strict=True)
    )
    return Claimed(claims, more == 1, promoted)


def _lost(groups: list[list[Settlement]], replies: list[Any]) -> tuple[Settlement, ...]:
    return tuple(
        settlement
        for group, reply in zip(groups, replies, strict=True)
        if isinstance(reply, list) and 0 in reply
        for settlement, is_settled in zip(group, reply, strict=True)
        if not is_settled
    )
