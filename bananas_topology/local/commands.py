"""The commands that a running `up` accepts on its control socket."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

from bananas_topology.local.changes import Changes, waiting_for_exit
from bananas_topology.local.control import Command
from bananas_topology.local.status import describe_run
from bananas_topology.supervisor.operation import Operation
from bananas_topology.supervisor.record import RunRecord
from bananas_topology.supervisor.supervisor import Supervisor

log = logging.getLogger(__name__)


class Commands:
    """Carries out requests. Arguments are those of the methods, as JSON values."""

    def __init__(
        self, supervisor: Supervisor, changes: Changes, record: RunRecord, pools: Sequence[str]
    ) -> None:
        self._supervisor = supervisor
        self._changes = changes
        self._record = record
        self._pools = pools

    def by_name(self) -> dict[str, Command]:
        return {"ps": self.ps, "scale": self.scale, "restart": self.restart, "down": self.down}

    def ps(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Describe the run: see `describe_run`."""
        return describe_run(self._supervisor, self._record, self._pools)

    def scale(self, arguments: Mapping[str, Any]) -> Operation:
        """``replicas``: processes by pool; ``ready_timeout_s`` for each process that starts."""
        replicas = {str(pool): int(count) for pool, count in arguments["replicas"].items()}
        return self._begin(self._changes.scale(replicas, float(arguments["ready_timeout_s"])))

    def restart(self, arguments: Mapping[str, Any]) -> Operation:
        """``pools``: names, none for all; ``ready_timeout_s`` for each process that starts."""
        pools = [str(pool) for pool in arguments["pools"]]
        return self._begin(self._changes.restart(pools, float(arguments["ready_timeout_s"])))

    def down(self, arguments: Mapping[str, Any]) -> _Stop:
        """``timeout_s``: seconds until jobs that still run are requeued; null for the grace."""
        timeout_s = arguments["timeout_s"]
        log.info("stopping: requested by `bananas down`")
        self._supervisor.stop(math.inf if timeout_s is None else float(timeout_s))
        return _Stop(self._supervisor)

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
