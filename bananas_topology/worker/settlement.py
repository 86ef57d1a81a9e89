"""What becomes of an outcome: ack, retry, bury or release, as the broker sends it."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import assert_never

import msgspec

from bananas_topology.backoff import exponential_ms, with_jitter_ms
from bananas_topology.errors import ContractViolation, InvalidJob
from bananas_topology.jobs.crashes import crash_history
from bananas_topology.jobs.exchange import Ack, Bury, PendingExchange, Release, Retry, Settlement
from bananas_topology.jobs.job import DECODE_ERRORS, Failure, decode, rewrite
from bananas_topology.system.clock import format_timestamp, monotonic, wall_seconds
from bananas_topology.worker.execution import (
    Abandoned,
    Completed,
    Failed,
    Hopeless,
    Outcome,
    SetAside,
    clean,
)
from bananas_topology.worker.metrics import Tally
from bananas_topology.worker.run import Run

#: Seconds for which one reading of the clock is good: making a timestamp costs more than the rest.
_FRESH_S = 0.001

#: Characters of an error that are logged; `bananas job` shows the rest.
LOGGED_ERROR = 1_000

log = logging.getLogger(__name__)


class Settler:
    """Decides how runs are settled. Thread-safe.

    `jitter` gives random numbers in [0, 1) for the backoff.
    """

    def __init__(self, jitter: Callable[[], float]) -> None:
        self._jitter = jitter
        self._read = (0.0, "")

    def settle(self, run: Run, outcome: Outcome) -> Settlement:
        """Decide how a run with this outcome ends."""
        try:
            return self._settle(run, outcome)
        except DECODE_ERRORS as error:
            # It could be read as far as was needed to run it.
            return self._set_aside(run, f"the stored job cannot be rewritten: {error}")

    def _settle(self, run: Run, outcome: Outcome) -> Settlement:
        match outcome:
            case Completed(result):
                return self._ack(run, result)
            case Abandoned():
                return Release(run.claim)
            case SetAside(reason):
                return self._set_aside(run, reason)
            case Hopeless(failure):
                return self._bury(run, failure)
            case Failed(failure, delay_ms):
                if run.attempt > run.max_retries:
                    return self._bury(run, failure)
                return self._retry(run, failure, delay_ms)

    def _ack(self, run: Run, result: bytes) -> Ack:
        stamp = self._stamp()
        body = rewrite(_body(run), status="completed", attempts=run.attempt, updated_at=stamp)
        return Ack(run.claim, body, result, stamp, run.duration_ms)

    def _retry(self, run: Run, failure: Failure, delay_ms: int | None) -> Retry:
        if delay_ms is None:
            delay_ms = self._delay_ms(run)
        now = datetime.now(UTC)
        body = rewrite(
            _body(run),
            now + timedelta(milliseconds=delay_ms),
            status="pending",
            attempts=run.attempt,
            error=failure.message,
            updated_at=format_timestamp(now),
        )
        return Retry(run.claim, body, _encode(failure), delay_ms)

    def _bury(self, run: Run, failure: Failure) -> Bury:
        stamp = self._stamp()
        body = rewrite(
            _body(run),
            status="failed",
            attempts=run.attempt,
            error=failure.message,
            updated_at=stamp,
        )
        return Bury(run.claim, body, _encode(failure), failure.message, stamp, run.duration_ms)

    def _set_aside(self, run: Run, reason: str) -> Bury:
        """Bury what is no job, its stored bytes untouched."""
        reason = clean(reason)
        failure = _encode(Failure("InvalidJob", reason))
        return Bury(run.claim, b"", failure, reason, self._stamp(), 0)

    def _delay_ms(self, run: Run) -> int:
        if run.task is None:
            raise ContractViolation("a run without a task has no delay")
        base_ms, cap_ms = run.task.backoff_base_ms, run.task.backoff_cap_ms
        delay_ms = exponential_ms(run.attempt, base_ms=base_ms, cap_ms=cap_ms)
        return with_jitter_ms(delay_ms, self._jitter())

    def _stamp(self) -> str:
        now = wall_seconds()
        read_at, stamp = self._read
        if not 0 <= now - read_at < _FRESH_S:
            stamp = format_timestamp(datetime.fromtimestamp(now, UTC))
            self._read = (now, stamp)
        return stamp


def poisoned(run: Run) -> Run:
    """Have a job buried unrun, with the history of the workers that it took down."""
    claim, stamp = run.claim, format_timestamp(datetime.now(UTC))
    reason = crash_history(claim.crashes)
    failure = _encode(Failure("Poison", reason, at=stamp))
    try:
        body = rewrite(claim.body or b"", status="failed", error=reason, updated_at=stamp)
    except DECODE_ERRORS:
        body = b""
    with suppress(InvalidJob):
        run.job = decode(claim.body or b"")  # for the log to say its type
    run.settlement = Bury(claim, body, failure, reason, stamp, 0)
    return run


def log_settlement(run: Run, settlement: Settlement) -> None:
    """Say how a run ended; a completed one at level debug alone."""
    if isinstance(settlement, Ack) and not log.isEnabledFor(logging.DEBUG):
        return
    fields = {
        "job_id": run.claim.job_id,
        "job_type": run.job_type,
        "attempt": run.attempt,
        "duration_ms": run.duration_ms,
    }
    match settlement:
        case Ack():
            log.debug("job completed", extra=fields)
        case Retry(delay_ms=delay_ms):
            told = {"delay_ms": delay_ms, "error": _told(settlement.failure)}
            log.warning("job failed, runs again", extra=fields | told)
            failure = settlement.failure.decode()
            log.debug("failure", extra={"job_id": run.claim.job_id, "failure": failure})
        case Bury():
            log.error("job buried", extra=fields | {"error": _told(settlement.failure)})
        case Release():
            # What was claimed ahead goes back all the time; only what had begun is worth a word.
            level = logging.DEBUG if run.job is None else logging.INFO
            log.log(level, "job released", extra=fields)
        case _:
            assert_never(settlement)


def _told(failure: bytes) -> str:
    """A failure in a line of the log: its kind too, for the message of a KeyError is but a key."""
    read = msgspec.json.decode(failure, type=Failure)
    return f"{read.type}: {read.message[:LOGGED_ERROR]}"


def _body(run: Run) -> bytes:
    if run.claim.body is None:
        raise ContractViolation("a claim without a body has no run")
    return run.claim.body


def _encode(failure: Failure) -> bytes:
    return msgspec.json.encode(failure)


#: Bytes of settlements that one exchange carries: the rest goes with the next.
SETTLE_BYTES = 16 * 2**20

#: Seconds after which a reply is waited for, whatever else there is to do.
LAND_S = 1.0


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
