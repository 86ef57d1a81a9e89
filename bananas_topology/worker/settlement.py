"""From outcome to settlement (ack, retry, bury, release), and settlements not yet confirmed."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import islice

import msgspec

from bananas_topology.backoff import exponential_ms, with_jitter_ms
from bananas_topology.errors import ContractViolation, InvalidJob
from bananas_topology.jobs.crashes import crash_history
from bananas_topology.jobs.exchange import PendingExchange
from bananas_topology.jobs.job import DECODE_ERRORS, Failure, decode, rewrite
from bananas_topology.jobs.settlements import AckJob, BuryJob, ReleaseJob, RetryJob, Settlement
from bananas_topology.system.clock import format_timestamp, monotonic, wall_seconds
from bananas_topology.worker.execution import (
    Completed,
    Failed,
    Outcome,
    Permanent,
    Released,
    Unreadable,
    clean,
)
from bananas_topology.worker.metrics import Tally
from bananas_topology.worker.run import Run

#: Seconds for which a formatted timestamp is reused: formatting one costs more than the rest.
_STAMP_TTL_S = 0.001

#: Bytes of settlements sent in one exchange; the rest is sent with the next.
SETTLE_BYTES = 16 * 2**20

#: Seconds after which the loop waits for an outstanding reply, whatever else there is to do.
RECEIVE_AFTER_S = 1.0

#: Characters of an error that are logged; `bananas job` shows the rest.
LOGGED_ERROR = 1_000

log = logging.getLogger(__name__)


class Settler:
    """Turns outcomes into settlements. Thread-safe.

    `jitter` returns random numbers in [0, 1) for the backoff.
    """

    def __init__(self, jitter: Callable[[], float]) -> None:
        self._jitter = jitter
        self._last_stamp = (0.0, "")

    def settle(self, run: Run, outcome: Outcome) -> Settlement:
        """The settlement of a run with this outcome."""
        try:
            return self._settle(run, outcome)
        except DECODE_ERRORS as error:
            # Running the job decodes only some of its fields; rewriting it decodes them all.
            return self._bury_unreadable(run, f"cannot rewrite the stored job: {error}")

    def _settle(self, run: Run, outcome: Outcome) -> Settlement:
        match outcome:
            case Completed(result):
                return self._ack(run, result)
            case Released():
                return ReleaseJob(run.claim, is_started=run.job is not None)
            case Unreadable(reason):
                return self._bury_unreadable(run, reason)
            case Permanent(failure):
                return self._bury(run, failure)
            case Failed(failure, delay_ms):
                if run.attempt > run.max_retries:
                    return self._bury(run, failure)
                return self._retry(run, failure, delay_ms)

    def _ack(self, run: Run, result: bytes) -> AckJob:
        stamp = self._stamp()
        body = rewrite(_body(run), status="completed", attempts=run.attempt, updated_at=stamp)
        return AckJob(run.claim, body, result, stamp, run.duration_ms)

    def _retry(self, run: Run, failure: Failure, delay_ms: int | None) -> RetryJob:
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
        return RetryJob(run.claim, body, _encode(failure), delay_ms)

    def _bury(self, run: Run, failure: Failure) -> BuryJob:
        stamp = self._stamp()
        body = rewrite(
            _body(run),
            status="failed",
            attempts=run.attempt,
            error=failure.message,
            updated_at=stamp,
        )
        return BuryJob(run.claim, body, _encode(failure), failure.message, stamp, run.duration_ms)

    def _bury_unreadable(self, run: Run, reason: str) -> BuryJob:
        """Bury what cannot be decoded, its stored bytes unchanged."""
        reason = clean(reason)
        failure = _encode(Failure("InvalidJob", reason))
        return BuryJob(run.claim, b"", failure, reason, self._stamp(), 0)

    def _delay_ms(self, run: Run) -> int:
        if run.bound is None:
            raise ContractViolation("cannot retry a run without a handler")
        base_ms, cap_ms = run.bound.backoff_base_ms, run.bound.backoff_cap_ms
        delay_ms = exponential_ms(run.attempt, base_ms=base_ms, cap_ms=cap_ms)
        return with_jitter_ms(delay_ms, self._jitter())

    def _stamp(self) -> str:
        now = wall_seconds()
        made_at, stamp = self._last_stamp
        if not 0 <= now - made_at < _STAMP_TTL_S:
            stamp = format_timestamp(datetime.fromtimestamp(now, UTC))
            self._last_stamp = (now, stamp)
        return stamp


def bury_as_poison(run: Run) -> Run:
    """Settle a job that repeatedly crashed its worker: buried without another run."""
    claim, stamp = run.claim, format_timestamp(datetime.now(UTC))
    reason = crash_history(claim.crashes)
    failure = _encode(Failure("Poison", reason, at=stamp))
    try:
        body = rewrite(claim.body or b"", status="failed", error=reason, updated_at=stamp)
    except DECODE_ERRORS:
        body = b""
    with suppress(InvalidJob):
        run.job = decode(claim.body or b"")  # so that the log has its type
    run.settlement = BuryJob(claim, body, failure, reason, stamp, 0)
    return run


def log_settlement(run: Run, settlement: Settlement) -> None:
    """Log how a run ended, with the failure in full at level debug."""
    if not log.isEnabledFor(settlement.level):
        return
    job_id, failure = run.claim.job_id, settlement.failure
    fields = {
        "job_id": job_id,
        "job_type": run.job_type,
        "attempt": run.attempt,
        "duration_ms": run.duration_ms,
        **settlement.log_fields(),
    }
    if failure:
        fields["error"] = _describe(failure)
    log.log(settlement.level, settlement.event, extra=fields)
    if failure:
        log.debug("job failure", extra={"job_id": job_id, "failure": failure.decode()})


def _describe(failure: bytes) -> str:
    """A failure for the log, with its type: the message of a KeyError is only the key."""
    read = msgspec.json.decode(failure, type=Failure)
    return f"{read.type}: {read.message[:LOGGED_ERROR]}"


def _body(run: Run) -> bytes:
    if run.claim.body is None:
        raise ContractViolation("a run without a body cannot have been executed")
    return run.claim.body


def _encode(failure: Failure) -> bytes:
    return msgspec.json.encode(failure)


class PendingSettlements:
    """Settled runs, in order, until Redis has confirmed their settlements.

    Raises (`receive`):
        RedisUnavailable, RedisUnsuitable: as the broker.
    """

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._runs: list[Run] = []
        # The first runs are those of the first exchange in flight, and so on.
        self._in_flight: deque[tuple[PendingExchange, Sequence[Run]]] = deque()
        self._sent_at = 0.0

    @property
    def runs(self) -> Sequence[Run]:
        """All of them, sent or not."""
        return self._runs

    @property
    def has_unsent(self) -> bool:
        """Whether any are to be sent."""
        return len(self._runs) > self._sent

    @property
    def is_in_flight(self) -> bool:
        """Whether there is an exchange to `receive`."""
        return bool(self._in_flight)

    @property
    def due(self) -> float:
        """The latest time to call `receive`; infinite while nothing is in flight."""
        return self._sent_at + RECEIVE_AFTER_S if self._in_flight else float("inf")

    def fileno(self) -> int:
        """The descriptor to select on before `receive`; -1 while nothing is in flight."""
        return self._in_flight[0][0].fileno if self._in_flight else -1

    def add(self, runs: Sequence[Run]) -> None:
        """Add settled runs, and log their settlements."""
        self._runs += runs
        for run in runs:
            log_settlement(run, settlement_of(run))

    def batch(self) -> list[Run]:
        """The runs to settle in the next exchange."""
        batch: list[Run] = []
        size = 0
        for run in islice(self._runs, self._sent, None):
            settlement = settlement_of(run)
            batch.append(run)
            size += len(run.claim.body or b"")
            if isinstance(settlement, AckJob):
                size += len(settlement.result)
            if size > SETTLE_BYTES:
                break
        return batch

    def sent(self, exchange: PendingExchange, batch: Sequence[Run]) -> None:
        """Record that an exchange with this batch was sent."""
        self._in_flight.append((exchange, batch))
        self._sent_at = monotonic()

    def receive(self, leave: int = 0) -> None:
        """Read the replies of the exchanges in flight, except the last `leave`."""
        while len(self._in_flight) > leave:
            exchange, batch = self._in_flight[0]
            lost = exchange.lost()
            self._in_flight.popleft()
            del self._runs[: len(batch)]
            for run in batch:
                self._tally.count(run)
            for settlement in lost:
                kind = settlement.script.name
                extra = {"job_id": settlement.claim.job_id, "settlement": kind}
                log.warning("claim lost", extra=extra)

    def requeue(self) -> None:
        """Send everything in flight again: after an outage it may or may not have been applied."""
        while self._in_flight:
            self._in_flight.pop()[0].drop()

    @property
    def _sent(self) -> int:
        """How many of the runs are in flight, in two exchanges at most."""
        return sum(len(batch) for _, batch in self._in_flight)


def settlement_of(run: Run) -> Settlement:
    """The settlement of a run that has ended.

    Raises:
        ContractViolation: it has none.
    """
    if run.settlement is None:
        raise ContractViolation(f"the run of job {run.claim.job_id} ended without a settlement")
    return run.settlement
