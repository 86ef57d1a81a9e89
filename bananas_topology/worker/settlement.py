"""Turns outcomes into settlements (ack, retry, bury, release), and keeps them until confirmed."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import msgspec

from bananas_topology.backoff import exponential_ms, with_jitter_ms
from bananas_topology.errors import BananasTopologyError, ContractViolation, InvalidJob
from bananas_topology.jobs.crashes import crash_history
from bananas_topology.jobs.exchange import PendingExchange, Rejected
from bananas_topology.jobs.job import DECODE_ERRORS, Failure, decode, rewrite
from bananas_topology.jobs.runs import RunOutcome
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
from bananas_topology.worker.job_events import JobEvents
from bananas_topology.worker.job_reports import JobReports
from bananas_topology.worker.metrics import Tally
from bananas_topology.worker.rejection import (
    burial,
    closed_error,
    is_closed_for_size,
    settlement_bytes,
    substitute,
)
from bananas_topology.worker.run import Run

#: Seconds for which a formatted timestamp is reused: formatting one is the most expensive step.
_STAMP_TTL_S = 0.001

#: Bytes of settlements sent in one exchange; the rest is sent with the next.
SETTLE_BYTES = 16 * 2**20

#: Seconds after which the loop waits for an outstanding reply, even if it has other work.
RECEIVE_AFTER_S = 1.0

#: How often the connection is closed on a large settlement before it counts as rejected, and
#: seconds between the attempts.
CLOSED_LIMIT = 5
SUSPECT_INTERVAL_S = 1.0

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
                entry = run.record(RunOutcome.INTERRUPTED)
                return ReleaseJob(run.claim, is_started=run.job is not None, run=entry)
            case Unreadable(reason):
                return self._bury_unreadable(run, reason)
            case Permanent(failure):
                return burial(run, failure, self._stamp())
            case Failed(failure, delay_ms):
                if run.attempt > run.max_retries:
                    return burial(run, failure, self._stamp())
                return self._retry(run, failure, delay_ms)

    def _ack(self, run: Run, result: bytes) -> AckJob:
        stamp = self._stamp()
        body = rewrite(_body(run), status="completed", attempts=run.attempt, updated_at=stamp)
        entry = run.record(RunOutcome.COMPLETED) if run.attempt > 1 else b""
        return AckJob(run.claim, body, result, stamp, run.duration_ms, run.keep, entry)

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
        entry = run.record(RunOutcome.RETRIED, failure)
        return RetryJob(run.claim, body, _encode(failure), delay_ms, entry)

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

    Settlements that the server rejects, with an error or by closing the connection, are sent again
    in ever smaller parts, so that only the one that it does not accept is replaced (rejection.py).
    `reports` gets those that the log does not show, `events` those that Redis has confirmed.

    Raises (`receive`):
        RedisUnavailable, RedisUnsuitable: as the broker.
    """

    def __init__(
        self,
        tally: Tally,
        reports: JobReports | None = None,
        events: JobEvents | None = None,
    ) -> None:
        self._tally = tally
        self._events = events
        self._reports = reports
        self._unsent: list[Run] = []
        self._in_flight: deque[tuple[PendingExchange, Sequence[Run]]] = deque()
        # Each is sent in an exchange of its own.
        self._parts: deque[Sequence[Run]] = deque()
        # Large ones that were sent alone when the connection was closed, and how often.
        self._suspects: deque[Run] = deque()
        self._closed: dict[Run, int] = {}
        self._suspect_due = 0.0
        # The first settlement of runs that have a substitute.
        self._substituted: dict[Run, Settlement] = {}
        self._sent_at = 0.0

    @property
    def runs(self) -> list[Run]:
        """All of them, sent or not."""
        in_flight = [batch for _, batch in self._in_flight]
        batches = [*in_flight, *self._parts, self._suspects, self._unsent]
        return [run for batch in batches for run in batch]

    @property
    def is_empty(self) -> bool:
        """Whether Redis has confirmed all of them."""
        return not (self._in_flight or self._unsent or self._parts or self._suspects)

    @property
    def has_unsent(self) -> bool:
        """Whether any are to be sent now."""
        return bool(self._unsent or self._parts)

    @property
    def is_in_flight(self) -> bool:
        """Whether there is an exchange to `receive`."""
        return bool(self._in_flight)

    @property
    def due(self) -> float:
        """The latest time for the next exchange; infinite while nothing is pending."""
        at = self._sent_at + RECEIVE_AFTER_S if self._in_flight else float("inf")
        return min(at, self._suspect_due) if self._suspects else at

    def fileno(self) -> int:
        """The descriptor to select on before `receive`; -1 while nothing is in flight."""
        return self._in_flight[0][0].fileno if self._in_flight else -1

    def add(self, runs: Sequence[Run]) -> None:
        """Add settled runs, and log their settlements."""
        self._unsent += runs
        for run in runs:
            self._tally.busy_s += run.duration_s
            settlement = settlement_of(run)
            if log.isEnabledFor(settlement.level):
                log_settlement(run, settlement)
            elif self._reports is not None:
                self._reports.add(run, settlement)

    def batch(self) -> Sequence[Run]:
        """The runs to settle in the next exchange."""
        if self._suspects and monotonic() >= self._suspect_due:
            self._parts.append([self._suspects.popleft()])
        if self._parts:
            return self._parts[0]
        batch: list[Run] = []
        size = 0
        for run in self._unsent:
            batch.append(run)
            size += settlement_bytes(run)
            if size > SETTLE_BYTES:
                break
        return batch

    def sent(self, exchange: PendingExchange, batch: Sequence[Run]) -> None:
        """Record that an exchange with this batch was sent."""
        if self._parts:
            self._parts.popleft()
        else:
            del self._unsent[: len(batch)]
        self._in_flight.append((exchange, batch))
        self._sent_at = monotonic()

    def receive(self, leave: int = 0) -> None:
        """Read the replies of the exchanges in flight, except the last `leave`."""
        while len(self._in_flight) > leave:
            exchange, batch = self._in_flight[0]
            settled = exchange.settled()
            self._in_flight.popleft()
            error = None
            if settled.rejected:
                batch, error = self._divide(batch, settled.rejected)
            # A run whose claim was lost is counted by the worker that runs the job again.
            lost_ids = {id(settlement) for settlement in settled.lost}
            kept = batch
            if lost_ids:
                kept = [run for run in batch if id(run.settlement) not in lost_ids]
            self._tally.count(kept)
            if self._events is not None and self._events.is_wanted:
                self._events.add(kept)
            if self._substituted or self._closed:
                self._forget(batch)
            for settlement in settled.lost:
                kind = settlement.script.name
                extra = {"job_id": settlement.claim.job_id, "settlement": kind}
                log.warning("claim lost", extra=extra)
            if error is not None:
                raise error

    def requeue(self, error: BananasTopologyError) -> None:
        """Send everything in flight again: after `error` it may or may not have been applied."""
        batches = [batch for _, batch in self._in_flight]
        if batches and is_closed_for_size(error, batches[0]):
            self._isolate(batches.pop(0))
        else:
            batches += self._parts
            self._parts.clear()
        self._unsent = [run for batch in (*batches, self._unsent) for run in batch]
        while self._in_flight:
            self._in_flight.pop()[0].drop()

    def _isolate(self, batch: Sequence[Run]) -> None:
        """Send a batch again, in halves, on which the server has closed the connection."""
        if len(batch) > 1:
            middle = len(batch) // 2
            self._parts += (batch[:middle], batch[middle:])
            return
        [run] = batch
        times = self._closed[run] = self._closed.get(run, 0) + 1
        if times >= CLOSED_LIMIT and self._substitute(run, closed_error(run)):
            self._parts.append([run])
            return
        # After all others, and not at once: it interrupts them.
        self._suspects.append(run)
        self._suspect_due = monotonic() + SUSPECT_INTERVAL_S

    def _divide(
        self, batch: Sequence[Run], rejections: Sequence[Rejected]
    ) -> tuple[Sequence[Run], BananasTopologyError | None]:
        """Have rejected settlements sent again: in two halves, and a single one replaced.

        Returns the runs that are settled; and an error if there is no replacement, which means
        that the server rejects everything.
        """
        runs = {id(run.settlement): run for run in batch}
        fatal = None
        for rejected in rejections:
            part = [runs.pop(id(settlement)) for settlement in rejected.settlements]
            middle = len(part) // 2
            self._parts += (part[:middle], part[middle:]) if middle else (part,)
            if not middle and not self._substitute(part[0], rejected.error):
                fatal = rejected.error
        return list(runs.values()), fatal

    def _substitute(self, run: Run, error: BananasTopologyError) -> bool:
        """Replace a settlement that was rejected alone; False if only the first one is left."""
        settlement = settlement_of(run)
        first = self._substituted.setdefault(run, settlement)
        run.settlement = substitute(run, settlement, error)
        if run.settlement is None:
            run.settlement = self._substituted.pop(run, first)
            return False
        extra = {"job_id": run.claim.job_id, "settlement": settlement.script.name}
        log.warning("settlement rejected: %s", error, extra=extra)
        return True

    def _forget(self, batch: Sequence[Run]) -> None:
        """Log which substitutes have been applied, and forget about their runs."""
        for run in batch:
            self._closed.pop(run, None)
            if self._substituted.pop(run, None) is not None:
                log_settlement(run, settlement_of(run))


def settlement_of(run: Run) -> Settlement:
    """The settlement of a run that has ended.

    Raises:
        ContractViolation: it has none.
    """
    if run.settlement is None:
        raise ContractViolation(f"the run of job {run.claim.job_id} ended without a settlement")
    return run.settlement
