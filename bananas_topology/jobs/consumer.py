"""A worker's settings as the scripts need them."""

from __future__ import annotations

from dataclasses import dataclass

from bananas_topology.contract.worker import WorkerConfig


@dataclass(frozen=True, slots=True)
class Consumer:
    """A worker as the broker sees it. A result TTL of 0 means that no result is stored."""

    worker_id: str
    lease_ms: int
    priorities: tuple[str, ...]
    job_types: tuple[str, ...]
    result_ttl_success_ms: int
    result_ttl_failure_ms: int
    max_crashes: int = 3

    @classmethod
    def of(cls, config: WorkerConfig, job_types: tuple[str, ...]) -> Consumer:
        """Build it from a worker's settings and the job types that it has handlers for."""
        on = config.results_enabled
        return cls(
            worker_id=config.worker_id,
            lease_ms=config.lease_ms,
            priorities=config.priorities,
            job_types=job_types,
            result_ttl_success_ms=config.result_ttl_success_ms if on else 0,
            result_ttl_failure_ms=config.result_ttl_failure_ms if on else 0,
            max_crashes=config.max_crashes,
        )
