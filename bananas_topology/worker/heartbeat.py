"""What a worker says of itself in Redis, for those who look."""

from __future__ import annotations

import os
import socket

from bananas_topology.contract.worker import WorkerConfig
from bananas_topology.system.clock import format_timestamp, wall_now


class Presence:
    """The fields of ``worker:<id>``: all of them the first time, then what changes."""

    def __init__(self, config: WorkerConfig, job_types: tuple[str, ...], incarnation: str) -> None:
        self.summary: dict[str, object] = {
            "mode": config.mode,
            "threads": config.concurrency,
            "priorities": ",".join(config.priorities),
            "job_types": ",".join(job_types),
            "scheduler": config.enable_scheduler,
        }
        self._fields: dict[str, str | int] = {
            "incarnation": incarnation,
            "pool": config.pool,
            "mode": config.mode,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started_at": format_timestamp(wall_now()),
            "concurrency": config.concurrency,
            "priorities": ",".join(config.priorities),
            "job_types": ",".join(job_types),
        }

    def fields(self, busy: int) -> dict[str, str | int]:
        """What to store now, `busy` jobs being in slots."""
        return {**self._fields, "busy": busy}
