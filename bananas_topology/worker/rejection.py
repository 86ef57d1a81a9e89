"""What becomes of a settlement that the server rejects, because of its size.

The limit may be on a value (proto-max-bulk-len) or on a request, as some hosted servers have it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import msgspec

from bananas_topology.errors import BananasTopologyError
from bananas_topology.jobs.job import Failure, rewrite
from bananas_topology.jobs.settlements import AckJob, BuryJob, ReleaseJob, RetryJob, Settlement
from bananas_topology.system.clock import format_timestamp
from bananas_topology.worker.run import Run

#: Bytes from which on a settlement may be rejected for its size. A server that rejects a smaller
#: one, such as a hosted server over its quota, rejects all of them: that is an outage.
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
            return _bury(run, failure)
        case RetryJob():
            failure = msgspec.json.decode(settlement.failure, type=Failure)
            message = f"{failure.message} (not retried, the job cannot be stored: {error})"
            return _bury(run, replace(failure, message=message))
        case BuryJob():
            return msgspec.structs.replace(settlement, body=b"") if settlement.body else None
        case ReleaseJob():
            return None


def settlement_bytes(run: Run) -> int:
    """The approximate size of a run's settlement."""
    size = len(run.claim.body or b"")
    return size + len(run.settlement.result) if isinstance(run.settlement, AckJob) else size


def _bury(run: Run, failure: Failure) -> BuryJob:
    stamp = format_timestamp(datetime.now(UTC))
    body = rewrite(
        run.claim.body or b"",
        status="failed",
        attempts=run.attempt,
        error=failure.message,
        updated_at=stamp,
    )
    encoded = msgspec.json.encode(failure)
    return BuryJob(run.claim, body, encoded, failure.message, stamp, run.duration_ms, run.keep)
