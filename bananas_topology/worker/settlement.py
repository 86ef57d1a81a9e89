"""What becomes of an outcome: ack, retry, bury or release, as the broker sends it. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from bananas_topology.backoff import exponential_ms, with_jitter_ms
from bananas_topology.clock import format_timestamp
from bananas_topology.errors import InvalidJob
from bananas_topology.jobs.broker import Ack, Bury, Release, Retry, Settlement
from bananas_topology.jobs.job import Claim, Failure, rewrite
from bananas_topology.worker.execution import Abandoned, Completed, Failed, Hopeless
from bananas_topology.worker.threads import Finished


def settle(finished: Finished, now: datetime, jitter: float) -> Settlement:
    """Decide how a finished run ends. `jitter` is a random number in [0, 1) for the backoff."""
    run = finished.run
    match finished.outcome:
        case Abandoned():
            return Release(run.claim)
        case Completed(result):
            return _ack(finished, result, now)
        case Hopeless(failure):
            return _bury(finished, failure, now)
        case Failed(failure, delay_ms):
            attempt = run.job.attempts + 1
            own = run.job.max_retries
            if attempt > (run.task.max_retries if own is None else own):
                return _bury(finished, failure, now)
            if delay_ms is None:
                delay_ms = with_jitter_ms(exponential_ms(attempt), jitter)
            return _retry(finished, failure, delay_ms, now)


def set_aside(claim: Claim, reason: str, now: datetime) -> Bury:
    """Bury what is no job, its stored bytes untouched."""
    failure = encode_failure(Failure("InvalidJob", reason))
    return Bury(claim, b"", failure, reason, format_timestamp(now), 0)


def encode_failure(failure: Failure) -> bytes:
    """Write the failure that is kept with a job."""
    return msgspec.json.encode(failure)


def _ack(finished: Finished, result: bytes, now: datetime) -> Ack:
    completed_at = format_timestamp(now)
    body = rewrite(
        _body(finished),
        status="completed",
        attempts=finished.run.job.attempts + 1,
        updated_at=completed_at,
    )
    return Ack(finished.run.claim, body, result, completed_at, finished.duration_ms)


def _retry(finished: Finished, failure: Failure, delay_ms: int, now: datetime) -> Retry:
    body = rewrite(
        _body(finished),
        scheduled_for=now + timedelta(milliseconds=delay_ms),
        status="pending",
        attempts=finished.run.job.attempts + 1,
        error=failure.message,
        updated_at=format_timestamp(now),
    )
    return Retry(finished.run.claim, body, encode_failure(failure), delay_ms)


def _bury(finished: Finished, failure: Failure, now: datetime) -> Bury:
    completed_at = format_timestamp(now)
    body = rewrite(
        _body(finished),
        status="failed",
        attempts=finished.run.job.attempts + 1,
        error=failure.message,
        updated_at=completed_at,
    )
    claim, stored = finished.run.claim, encode_failure(failure)
    return Bury(claim, body, stored, failure.message, completed_at, finished.duration_ms)


def _body(finished: Finished) -> bytes:
    body = finished.run.claim.body
    if body is None:
        raise InvalidJob("a claim without a body has no run")
    return body
