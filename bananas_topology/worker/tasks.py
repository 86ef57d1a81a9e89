"""Handlers joined with their settings: what running the jobs of a type takes, resolved at boot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bananas_topology.backoff import BASE_DELAY_MS, MAX_DELAY_MS
from bananas_topology.contract.worker import JobLimits, WorkerConfig
from bananas_topology.handlers import Handler
from bananas_topology.jobs.job import PayloadDecoder


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
