"""One claimed job on its way through a slot, from claim to settlement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from bananas_topology.backoff import BASE_DELAY_MS, MAX_DELAY_MS
from bananas_topology.contract.worker import JobLimits, WorkerConfig
from bananas_topology.handlers import Handler, JobContext
from bananas_topology.jobs.exchange import Settlement
from bananas_topology.jobs.job import Claim, Job, PayloadDecoder


class Run(msgspec.Struct, eq=False):
    """A claim, then its job and its handler, then how it is settled.

    Times on the monotonic clock, in seconds. A struct of msgspec's because one is made for each
    job, and it is made five times as fast as a dataclass.
    """

    claim: Claim
    submitted_at: float
    job: Job | None = None
    task: Task | None = None
    started_at: float = 0.0
    deadline: float = 0.0
    duration_s: float = 0.0
    thread_id: int = 0
    settlement: Settlement | None = None
    cancelled: bool = False
    interrupted: bool = False

    @property
    def job_type(self) -> str:
        """The name of the job; empty for what is no job."""
        return self.job.name if self.job is not None else ""

    @property
    def attempt(self) -> int:
        """Which run of its job this is, from 1."""
        return self.job.attempts + 1 if self.job is not None else 1

    @property
    def max_retries(self) -> int:
        """Runs after the first: the job's own word, else the task's."""
        own = self.job.max_retries if self.job is not None else None
        if own is None:
            return self.task.max_retries if self.task is not None else 0
        return own

    @property
    def duration_ms(self) -> int:
        """What the handler took."""
        return round(self.duration_s * 1000)

    def is_cancelled(self) -> bool:
        """Whether the run was settled while its handler still ran."""
        return self.cancelled

    def context(self) -> JobContext:
        """What the handler may ask about this run."""
        return JobContext(
            job_id=self.claim.job_id,
            job_type=self.job_type,
            attempt=self.attempt,
            max_retries=self.max_retries,
            worker_id=self.task.worker_id if self.task is not None else "",
            deadline=self.deadline,
            _is_cancelled=self.is_cancelled,
        )


@dataclass(frozen=True, slots=True)
class Task:
    """A handler with all that running its jobs takes.

    `max_retries` is for jobs that do not say it themselves. Backoff as in `JobLimits`.
    """

    handler: Handler
    decode_payload: PayloadDecoder
    worker_id: str
    timeout_ms: int
    timeout_s: float
    max_retries: int
    backoff_base_ms: int
    backoff_cap_ms: int


def resolve_tasks(handlers: Mapping[str, Handler], config: WorkerConfig) -> dict[str, Task]:
    """Join handlers with settings: the topology's word on a job type wins over `@job`'s.

    With job types given, only those are taken.
    """
    taken = config.job_types or tuple(handlers)
    return {name: _task(name, handlers[name], config) for name in taken if name in handlers}


def _task(job_type: str, handler: Handler, config: WorkerConfig) -> Task:
    limits = config.jobs.get(job_type, JobLimits())
    own = handler.options
    timeout_ms = _first(limits.timeout_ms, own.timeout_ms, config.job_timeout_ms)
    return Task(
        handler=handler,
        decode_payload=PayloadDecoder(handler.payload_type),
        worker_id=config.worker_id,
        timeout_ms=timeout_ms,
        timeout_s=timeout_ms / 1000,
        max_retries=_first(limits.max_retries, own.max_retries, config.max_retries),
        backoff_base_ms=_first(limits.backoff_base_ms, BASE_DELAY_MS),
        backoff_cap_ms=_first(limits.backoff_cap_ms, MAX_DELAY_MS),
    )


def _first(*values: int | None) -> int:
    return next(value for value in values if value is not None)
