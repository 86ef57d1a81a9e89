"""A worker's settings as the scripts need them."""

from __future__ import annotations

from dataclasses import dataclass

from bananas_topology.contract.jobs import Keep
from bananas_topology.contract.worker import WorkerConfig


@dataclass(frozen=True, slots=True)
class Consumer:
    """A worker as the broker sees it. `keep` applies to jobs whose settlement has none."""

    worker_id: str
    lease_ms: int
    priorities: tuple[str, ...]
    job_types: tuple[str, ...]
    keep: Keep = WorkerConfig().keep
    max_crashes: int = 3

    @classmethod
    def of(cls, config: WorkerConfig, job_types: tuple[str, ...]) -> Consumer:
        """Build it from a worker's settings and the job types that it has handlers for."""
        return cls(
            worker_id=config.worker_id,
            lease_ms=config.lease_ms,
            priorities=config.priorities,
            job_types=job_types,
            keep=config.keep,
            max_crashes=config.max_crashes,
        )
