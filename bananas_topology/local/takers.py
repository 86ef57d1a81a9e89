"""Which jobs have a worker that accepts them, and how many would lose it by a change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Generator, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from bananas_topology.contract.values import PRIORITIES
from bananas_topology.jobs.waiting_jobs import Counts, WaitingJobs
from bananas_topology.units import quantity

#: Maximum kinds of stranded jobs shown; the rest are counted.
_MAX_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Taker:
    """Workers that accept some jobs; `job_types` None means every type."""

    priorities: frozenset[str]
    job_types: frozenset[str] | None

    def accepts(self, priority: str, job_type: str) -> bool:
        """Whether they accept such a job."""
        return priority in self.priorities and (
            self.job_types is None or job_type in self.job_types
        )


@dataclass(frozen=True, slots=True)
class Takers:
    """All workers; if none of them runs a scheduler, delayed jobs are not promoted."""

    takers: tuple[Taker, ...]
    has_scheduler: bool

    def accept(self, priority: str, job_type: str) -> bool:
        """Whether some worker accepts such a job."""
        return any(taker.accepts(priority, job_type) for taker in self.takers)

    def covers(self, other: Takers) -> bool:
        """Whether these accept every job that the others accept."""
        if other.has_scheduler and not self.has_scheduler:
            return False
        for taker in other.takers:
            for priority in taker.priorities:
                mine = [each for each in self.takers if priority in each.priorities]
                if any(each.job_types is None for each in mine):
                    continue
                types = frozenset().union(*(each.job_types or () for each in mine))
                if taker.job_types is None or taker.job_types - types:
                    return False
        return True

    def with_handlers(self, job_types: Collection[str]) -> Takers:
        """The same where workers for every type accept only these, which have handlers."""
        handled = frozenset(job_types)
        takers = [
            replace(each, job_types=handled) if each.job_types is None else each
            for each in self.takers
        ]
        return replace(self, takers=tuple(takers))

    def to_json(self) -> dict[str, Any]:
        """As JSON values; `from_json` reads them."""
        takers = [
            {
                "priorities": sorted(each.priorities, key=PRIORITIES.index),
                "job_types": None if each.job_types is None else sorted(each.job_types),
            }
            for each in self.takers
        ]
        return {"takers": takers, "has_scheduler": self.has_scheduler}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Takers:
        """Read what `to_json` returned."""
        takers = (
            Taker(
                frozenset(each["priorities"]),
                None if each["job_types"] is None else frozenset(each["job_types"]),
            )
            for each in value["takers"]
        )
        return cls(tuple(takers), bool(value["has_scheduler"]))


def count_stranded(
    waiting: WaitingJobs, before: Takers, after: Takers
) -> Generator[None, None, Counts]:
    """Count the waiting jobs that a worker accepts before a change, and none accepts after it.

    Reads nothing if the change takes no kind of job away. Yields between reads.

    Raises:
        RedisUnavailable, RedisUnsuitable: the jobs cannot be counted.
    """
    stranded: Counts = Counter()
    if after.covers(before):
        return stranded
    ready = yield from waiting.ready()
    delayed = yield from waiting.delayed()
    for counts, is_delayed in ((ready, False), (delayed, True)):
        for kind, number in counts.items():
            accepted_after = after.accept(*kind) and (after.has_scheduler or not is_delayed)
            accepted_before = before.accept(*kind) and (before.has_scheduler or not is_delayed)
            if accepted_before and not accepted_after:
                stranded[kind] += number
    return stranded


def describe_stranded(stranded: Mapping[tuple[str, str], int]) -> str:
    """Describe how many jobs of which kinds would have no worker.

    >>> describe_stranded({("high", "mail"): 2, ("low", "report"): 1})
    '3 waiting jobs would have no worker: 2 mail (high), 1 report (low)'
    """
    kinds = sorted(stranded.items(), key=lambda item: (-item[1], item[0]))
    shown = [
        f"{number:,} {kind or 'unreadable'} ({priority})" for (priority, kind), number in kinds
    ]
    more = [f"{len(kinds) - _MAX_SHOWN} more kinds"] if len(kinds) > _MAX_SHOWN else []
    total = quantity(sum(stranded.values()), "waiting job")
    return f"{total} would have no worker: {', '.join(shown[:_MAX_SHOWN] + more)}"


def merged(every: Iterable[Taker], *, has_scheduler: bool) -> Takers:
    """All of them, without duplicates."""
    return Takers(tuple(dict.fromkeys(every)), has_scheduler)
