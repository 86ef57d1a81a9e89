"""What to run of a topology, as given on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from bananas_topology.spec.env_file import variables_of


@dataclass(frozen=True, slots=True)
class Settings:
    """JSON values only: they are passed to the process that runs in the background.

    `variables` are those of the `env_files` that the shell does not set. `env_files` None: the file
    ``.env`` next to the topology; empty: the variables are not read again.
    `redis_url` None: that of the environment or the topology, or the bundled server. `log_format`,
    `log_level` None: the topology's. `is_quiet`: jobs are not shown as they finish. `metrics_port`
    None: no metrics. `watch`: apply the file and restart workers when their sources change. `adopt`
    names another topology in the folder, whose data is taken over.
    """

    file: str
    overlays: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    env_files: tuple[str, ...] | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
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

    def reread(self, shell: Mapping[str, str]) -> Settings:
        """Read the variables of the files again: they may have been edited.

        Raises:
            InvalidEnvFile: a file cannot be read, or has an error.
        """
        if self.env_files is not None and not self.env_files:
            return self
        files = None if self.env_files is None else [Path(each) for each in self.env_files]
        return replace(self, variables=variables_of(shell, Path(self.file).parent, files))
