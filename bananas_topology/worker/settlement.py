"""What becomes of an outcome: ack, retry, bury or release, as the broker sends it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import assert_never

import msgspec

from bananas_topology.backoff import exponential_ms, with_jitter_ms
from bananas_topology.errors import ContractViolation, InvalidJob
from bananas_topology.jobs.crashes import crash_history
from bananas_topology.jobs.exchange import Ack, Bury, Release, Retry, Settlement
from bananas_topology.jobs.job import DECODE_ERRORS, Failure, decode, rewrite
from bananas_topology.system.clock import format_timestamp, wall_seconds
from bananas_topology.worker.execution import (
    Abandoned,
    Completed,
    Failed,
    Hopeless,
    Outcome,
    SetAside,
    clean,
)
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
