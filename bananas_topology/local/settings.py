"""What to run of a topology, as given on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Settings:
    """JSON values only: they are passed to the process that runs in the background.

    `redis_url` None: the topology's, or the bundled server. `log_format`, `log_level` None: the
    topology's. `is_quiet`: jobs are not shown as they finish. `metrics_port` None: no metrics.
    `watch`: apply the file and restart workers when their sources change. `adopt` names another
    topology in the folder, whose data is taken over.
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
    adopt: str | None = None
    watch: bool = False

    @property
    def source(self) -> str:
        """The names of the files, which tell topologies of one folder apart."""
        return " ".join(Path(file).name for file in (self.file, *self.overlays))
