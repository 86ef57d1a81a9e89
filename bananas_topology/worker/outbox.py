"""Outcomes that Redis may not know of yet: those to be sent, and those on their way."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from itertools import islice

from bananas_topology.errors import ContractViolation
from bananas_topology.jobs.exchange import Ack, PendingExchange, Settlement
from bananas_topology.system.clock import monotonic
from bananas_topology.worker.metrics import Tally
from bananas_topology.worker.run import Run
from bananas_topology.worker.settlement import log_settlement

#: Bytes of settlements that one exchange carries: the rest goes with the next.
SETTLE_BYTES = 16 * 2**20

#: Seconds after which a reply is waited for, whatever else there is to do.
LAND_S = 1.0

log = logging.getLogger(__name__)


class Outbox:
    """Runs that have ended, in that order, until Redis has told what became of them.

    Raises (`land`):
        RedisUnavailable, RedisUnsuitable: as the broker.
    """

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._runs: list[Run] = []
        # The first of the runs are those of the first exchange, and so on.
        self._under_way: deque[tuple[PendingExchange, Sequence[Run]]] = deque()
        self._sent_at = 0.0

    @property
    def runs(self) -> Sequence[Run]:
        """All of them."""
        return self._runs

    @property
    def has_unsent(self) -> bool:
        """Whether there is something to be sent."""
        return len(self._runs) > self._sent

    @property
    def is_under_way(self) -> bool:
        """Whether there is something to `land`."""
        return bool(self._under_way)

    @property
    def due(self) -> float:
        """When `land` should be called at the latest; infinite while nothing is under way."""
        return self._sent_at + LAND_S if self._under_way else float("inf")

    def fileno(self) -> int:
        """What to select on, to `land` the first exchange under way; -1 while there is none."""
        return self._under_way[0][0].fileno if self._under_way else -1

    def put(self, runs: Sequence[Run]) -> None:
        """Have runs settled."""
        self._runs += runs
        for run in runs:
            log_settlement(run, settlement_of(run))

    def batch(self) -> list[Run]:
        """What the next exchange is to carry."""
        batch: list[Run] = []
        size = 0
        for run in islice(self._runs, self._sent, None):
            settlement = settlement_of(run)
            batch.append(run)
            size += len(run.claim.body or b"")
            if isinstance(settlement, Ack):
                size += len(settlement.result)
            if size > SETTLE_BYTES:
                break
        return batch

    def sent(self, pending: PendingExchange, batch: Sequence[Run]) -> None:
        """Note that the batch is under way."""
        self._under_way.append((pending, batch))
        self._sent_at = monotonic()

    def land(self, leave: int = 0) -> None:
        """Learn what became of what was sent, but for the last `leave` exchanges."""
        while len(self._under_way) > leave:
            pending, batch = self._under_way[0]
            lost = pending.lost()
            self._under_way.popleft()
            del self._runs[: len(batch)]
            for run in batch:
                self._tally.count(run)
            for settlement in lost:
                was = type(settlement).__name__.lower()
                extra = {"job_id": settlement.claim.job_id, "was": was}
                log.warning("claim lost", extra=extra)

    def recall(self) -> None:
        """Have all that is under way sent again: it may have been done, or not."""
        while self._under_way:
            self._under_way.pop()[0].drop()

    @property
    def _sent(self) -> int:
        """How many of the runs are under way; the exchanges are two at the most."""
        return sum(len(batch) for _, batch in self._under_way)


def settlement_of(run: Run) -> Settlement:
    """What Redis is to be told of a run that has ended.

    Raises:
        ContractViolation: it has not.
    """
    if run.settlement is None:
        raise ContractViolation(f"job {run.claim.job_id} has ended without a settlement")
    return run.settlement
