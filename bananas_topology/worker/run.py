"""One claimed job between claim and settlement, and the handler that runs it."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from bananas_topology.backoff import BASE_DELAY_MS, MAX_DELAY_MS
from bananas_topology.contract.jobs import JobSettings, Keep
from bananas_topology.contract.worker import WorkerConfig
from bananas_topology.errors import HandlerError
from bananas_topology.handlers import Handler, JobContext
from bananas_topology.jobs.job import DECODE_ERRORS, Claim, Failure, Job
from bananas_topology.jobs.job_types import EncodedSchemas, encode_schemas
from bananas_topology.jobs.payloads import PayloadDecoder
from bananas_topology.jobs.runs import ERROR_LIMIT, RunOutcome, StoredRun
from bananas_topology.jobs.settlements import Settlement
from bananas_topology.system.clock import (
    format_timestamp,
    monotonic,
    parse_timestamp,
    wall_seconds,
)

#: Maximum jobs named in one log line.
_NAMED = 10


@dataclass(frozen=True, slots=True)
class BoundHandler:
    """A handler with the settings that apply to its job type, resolved at boot.

    `max_retries` applies to jobs that do not set it themselves. Backoff as in `JobSettings`. `keep`
    is None if it is the pool's.
    """

    handler: Handler
    decode_payload: PayloadDecoder
    worker_id: str
    timeout_ms: int
    timeout_s: float
    max_retries: int
    backoff_base_ms: int
    backoff_cap_ms: int
    keep: Keep | None


class _Origin(msgspec.Struct):
    """The fields of a stored job that tell when it could first run."""

    created_at: str = ""
    status: str = ""


_ORIGIN = msgspec.json.Decoder(_Origin)


class Run(msgspec.Struct, eq=False):
    """A claim; then its job and handler; then its settlement.

    Times on the monotonic clock, in seconds. A msgspec struct because one is created per job, five
    times as fast as a dataclass.
    """

    claim: Claim
    submitted_at: float
    job: Job | None = None
    bound: BoundHandler | None = None
    started_at: float = 0.0
    deadline: float = 0.0
    duration_s: float = 0.0
    thread_id: int = 0
    settlement: Settlement | None = None
    #: An awaitable that a handler other than an async function returned, and the context in which
    #: that ran.
    awaitable: Awaitable[Any] | None = None
    variables: Context | None = None
    #: Whether its handler is interrupted, and whether JobTimeout has been raised in its thread.
    cancelled: bool = False
    interrupted: bool = False

    @property
    def job_type(self) -> str:
        """The job's name; empty if the job could not be read."""
        return self.job.name if self.job is not None else ""

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        return self.job.attempts + 1 if self.job is not None else 1

    @property
    def max_retries(self) -> int:
        """Attempts after the first: the job's own setting, else its handler's."""
        own = self.job.max_retries if self.job is not None else None
        if own is None:
            return self.bound.max_retries if self.bound is not None else 0
        return own

    @property
    def keep(self) -> Keep | None:
        """How long to keep the job; None: as its pool does."""
        return self.bound.keep if self.bound is not None else None

    @property
    def duration_ms(self) -> int:
        """How long the handler ran."""
        return round(self.duration_s * 1000)

    def _started_at_s(self) -> float:
        """When the handler started, in seconds by the wall clock."""
        return wall_seconds() - monotonic() + self.started_at

    def record(self, outcome: RunOutcome, failure: Failure | None = None) -> bytes:
        """The entry of this run in the job's history; empty if its handler has not started."""
        if self.bound is None or not self.started_at:
            return b""
        started_at = datetime.fromtimestamp(self._started_at_s(), UTC)
        return StoredRun(
            attempt=self.attempt,
            worker_id=self.bound.worker_id,
            started_at=format_timestamp(started_at),
            duration_ms=self.duration_ms,
            outcome=outcome,
            error=f"{failure.type}: {failure.message}"[:ERROR_LIMIT] if failure else "",
        ).encode()

    def begin(self) -> None:
        """Start the clock of a prepared run."""
        self.started_at = monotonic()
        self.deadline = self.started_at + (self.bound.timeout_s if self.bound is not None else 0.0)

    def waited_s(self) -> float | None:
        """Seconds from a job's creation to its first run; None if it was delayed or is a retry."""
        if self.attempt > 1 or self.started_at == 0.0:
            return None
        try:
            origin = _ORIGIN.decode(self.claim.body or b"")
            created_at = parse_timestamp(origin.created_at)
        except (ValueError, OverflowError, *DECODE_ERRORS):
            return None
        if origin.status == "scheduled":
            return None
        return max(0.0, self._started_at_s() - created_at.timestamp())

    def is_cancelled(self) -> bool:
        """Whether the run was interrupted while its handler was still running."""
        return self.cancelled

    def log_fields(self) -> dict[str, object]:
        """The fields that identify the run in log lines."""
        return {"job_id": self.claim.job_id, "job_type": self.job_type}

    def context(self) -> JobContext:
        """The context passed to the handler."""
        return JobContext(
            job_id=self.claim.job_id,
            job_type=self.job_type,
            attempt=self.attempt,
            max_retries=self.max_retries,
            worker_id=self.bound.worker_id if self.bound is not None else "",
            deadline=self.deadline,
            _is_cancelled=self.is_cancelled,
        )


def describe(runs: Sequence[Run]) -> str:
    """Type and id of each job, for the log; of the first ones, if there are many."""
    names = [f"{run.job_type or 'job'} {run.claim.job_id}" for run in runs[:_NAMED]]
    return ", ".join([*names, "…"] if len(runs) > _NAMED else names)


def bind_handlers(handlers: Mapping[str, Handler], config: WorkerConfig) -> dict[str, BoundHandler]:
    """Resolve the settings of every handler, or of the configured job types only.

    The topology's settings for a job type override those of `@job`.

    Raises:
        HandlerError: payloads cannot be converted to a handler's annotation.
    """
    accepted = config.job_types or tuple(handlers)
    return {name: _bind(name, handlers[name], config) for name in accepted if name in handlers}


def payload_schemas(handlers: Mapping[str, BoundHandler]) -> EncodedSchemas:
    """The JSON Schemas of the handlers' payloads, to be published."""
    return encode_schemas(
        {
            name: bound.decode_payload.schema()
            for name, bound in handlers.items()
            if bound.handler.payload_type is not None
        }
    )


def _bind(job_type: str, handler: Handler, config: WorkerConfig) -> BoundHandler:
    limits = config.jobs.get(job_type, JobSettings())
    own = handler.options
    keep = config.keep_of(limits.keep.or_else(own.keep))
    timeout_ms = _first(limits.timeout_ms, own.timeout_ms, config.job_timeout_ms)
    return BoundHandler(
        handler=handler,
        decode_payload=_decoder(handler),
        worker_id=config.worker_id,
        timeout_ms=timeout_ms,
        timeout_s=timeout_ms / 1000,
        max_retries=_first(limits.max_retries, own.max_retries, config.max_retries),
        backoff_base_ms=_first(limits.backoff_base_ms, BASE_DELAY_MS),
        backoff_cap_ms=_first(limits.backoff_cap_ms, MAX_DELAY_MS),
        keep=None if keep == config.keep else keep,
    )


def _decoder(handler: Handler) -> PayloadDecoder:
    try:
        return PayloadDecoder(handler.payload_type)
    except HandlerError as error:
        raise HandlerError(f"{handler.name}: {error}") from error


def _first(*values: int | None) -> int:
    return next(value for value in values if value is not None)
