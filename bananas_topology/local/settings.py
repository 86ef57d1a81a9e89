"""What is to run of a topology, as the command line says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Settings:
    """Values that JSON can hold: they are handed to the process that runs in the background.

    `redis_url` None: the topology's, or the bundled server. `log_format`, `log_level` None: the
    topology's. `is_quiet`: jobs are not shown as they finish. `metrics_port` None: no metrics.
    """

    file: str
    overlays: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    scale: Mapping[str, int] = field(default_factory=dict)
    only: tuple[str, ...] = ()
    redis_url: str | None = None
    log_format: str | None = None
    log_level: str | None = None
    is_quiet: bool = False
    metrics_port: int | None = None
    drain: bool = False
