"""What to do with a settlement that the server rejects because of its size.

The limit may be on a value (proto-max-bulk-len) or on a request (client-query-buffer-limit), or be
that of a hosted server or a proxy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import msgspec

from bananas_topology.errors import BananasTopologyError, RequestRejected
from bananas_topology.jobs.job import Failure, rewrite
from bananas_topology.jobs.runs import RunOutcome
from bananas_topology.jobs.settlements import AckJob, BuryJob, ReleaseJob, RetryJob, Settlement
from bananas_topology.system.clock import format_timestamp
from bananas_topology.worker.run import Run

#: Bytes from which a settlement may be rejected for its size. A server that rejects a smaller one,
#: such as a hosted server over its quota, rejects all of them: that is an outage.
MIN_REJECTED_BYTES = 65_536


def substitute(run: Run, settlement: Settlement, error: BananasTopologyError) -> BuryJob | None:
    """The settlement to send instead of one that was rejected alone; None if there is none.

    The job is buried with the server's message; if that is rejected as well, with its body as it
    is stored.
    """
    if settlement_bytes(run) < MIN_REJECTED_BYTES:
        return None
    match settlement:
        case AckJob():
            failure = Failure("InvalidResult", f"the result cannot be stored: {error}")
            return burial(run, failure, _now())
        case RetryJob():
            failure = msgspec.json.decode(settlement.failure, type=Failure)
            message = f"{failure.message} (not retried, the job cannot be stored: {error})"
            return burial(run, replace(failure, message=message), _now())
        case BuryJob():
            return msgspec.structs.replace(settlement, body=b"") if settlement.body else None
        case ReleaseJob():
            return None


def is_closed_for_size(error: BananasTopologyError, batch: Sequence[Run]) -> bool:
    """Whether the server may have closed the connection because of the size of a batch.

    Redis does that above its client-query-buffer-limit, and proxies have limits of their own.
    """
    # Of the built-in class, as opposed to a connection that was refused or has timed out.
    is_closed = isinstance(error.__cause__, ConnectionError)
    return is_closed and sum(map(settlement_bytes, batch)) >= MIN_REJECTED_BYTES


def closed_error(run: Run) -> RequestRejected:
    """The error for a settlement that was sent alone whenever the connection was closed."""
    size = f"{settlement_bytes(run):,} bytes"
    return RequestRejected(f"the server closes the connection when it is sent these {size}")


def settlement_bytes(run: Run) -> int:
    """The approximate size of a run's settlement."""
    size = len(run.claim.body or b"")
    return size + len(run.settlement.result) if isinstance(run.settlement, AckJob) else size


def burial(run: Run, failure: Failure, stamp: str) -> BuryJob:
    """The settlement of a run that is not retried; `stamp` is the time, as it is stored."""
    body = rewrite(
        run.claim.body or b"",
        status="failed",
        attempts=run.attempt,
        error=failure.message,
        updated_at=stamp,
    )
    return BuryJob(
        run.claim,
        body,
        msgspec.json.encode(failure),
        failure.message,
        stamp,
        run.duration_ms,
        run.keep,
        run.record(RunOutcome.DEAD, failure),
    )


def _now() -> str:
    return format_timestamp(datetime.now(UTC))
