"""The commands that a running `up` accepts on its control socket."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bananas_topology.local.apply import Applier
from bananas_topology.local.changes import Changes, waiting_for_exit
from bananas_topology.local.control import Command
from bananas_topology.local.settings import Settings
from bananas_topology.local.status import describe_run
from bananas_topology.supervisor.operation import Operation
from bananas_topology.supervisor.record import Publication
from bananas_topology.supervisor.supervisor import Supervisor

log = logging.getLogger(__name__)


class Commands:
    """Carries out requests. Arguments are those of the methods, as JSON values."""

    def __init__(
        self,
        supervisor: Supervisor,
        changes: Changes,
        applier: Applier,
        publication: Publication,
    ) -> None:
        self._supervisor = supervisor
        self._changes = changes
        self._applier = applier
        self._publication = publication

    def by_name(self) -> dict[str, Command]:
        commands: tuple[Command, ...] = (
            self.ps, self.scale, self.restart, self.diff, self.apply, self.down
        )  # fmt: skip
        return {command.__name__: command for command in commands}

    def ps(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Describe the run: see `describe_run`."""
        pools = self._applier.deployment.names
        return describe_run(self._supervisor, self._publication.record, pools)

    def scale(self, arguments: Mapping[str, Any]) -> Operation:
        """``replicas``: processes by pool; ``ready_timeout_s`` for each process that starts."""
        replicas = {str(pool): int(count) for pool, count in arguments["replicas"].items()}
        return self._begin(self._changes.scale(replicas, float(arguments["ready_timeout_s"])))

    def restart(self, arguments: Mapping[str, Any]) -> Operation:
        """``pools``: names, none for all; ``ready_timeout_s`` for each process that starts."""
        pools = [str(pool) for pool in arguments["pools"]]
        return self._begin(self._changes.restart(pools, float(arguments["ready_timeout_s"])))

    def diff(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """``file`` and what else selects a topology, as for `apply`: see `Applier.describe`."""
        return self._applier.describe(self._settings(arguments))

    def apply(self, arguments: Mapping[str, Any]) -> Operation:
        """``file``, ``overlays``, ``overrides`` and ``env_files``: as in `Settings`, null for those
        of the run; ``variables``: where ``env_files`` is empty;
        ``scale``: processes by pool;
        ``only``: pools, null for those selected at the start; ``force``;
        ``ready_timeout_s`` for each process that starts.
        """
        timeout_s, force = float(arguments["ready_timeout_s"]), bool(arguments["force"])
        settings = self._settings(arguments)
        return self._begin(self._applier.apply(settings, timeout_s, force=force))

    def down(self, arguments: Mapping[str, Any]) -> _Stop:
        """``timeout_s``: seconds until jobs that still run are requeued; null for the grace."""
        timeout_s = arguments["timeout_s"]
        log.info("stopping: requested by `bananas down`")
        self._supervisor.stop(math.inf if timeout_s is None else float(timeout_s))
        return _Stop(self._supervisor)

    def _settings(self, arguments: Mapping[str, Any]) -> Settings:
        settings = self._applier.same_file()
        scale = {str(pool): int(count) for pool, count in arguments["scale"].items()}
        given: dict[str, Any] = {"scale": scale}
        if arguments["file"] is not None:
            given["file"] = str(arguments["file"])
        for name in ("overlays", "overrides", "only", "env_files"):
            if arguments[name] is not None:
                given[name] = tuple(map(str, arguments[name]))
        if given.get("env_files") == ():  # they cannot be read again
            given["variables"] = dict(arguments["variables"])
        return replace(settings, **given)

    def _begin(self, operation: Operation) -> Operation:
        self._supervisor.begin(operation)
        return operation


class _Stop:
    """A stop under way; it is done when there is nobody left to say so."""

    is_done = False
    error = ""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    @property
    def progress(self) -> str:
        left = [state for state in self._supervisor.children if state.child.is_running]
        return waiting_for_exit(left) if left else "all processes have exited"
