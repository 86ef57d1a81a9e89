"""SIGHUP: applies the topology file again, for an `up` without a terminal."""

from __future__ import annotations

from bananas_topology.local.apply import Applier
from bananas_topology.supervisor.operation import Operation
from bananas_topology.supervisor.poll_source import PollSource
from bananas_topology.supervisor.supervisor import Supervisor
from bananas_topology.system.clock import monotonic


class Reload(PollSource):
    """Applies the file once no other change is under way: a request is never lost.

    A source of the supervisor's loop.
    """

    def __init__(self, supervisor: Supervisor, applier: Applier) -> None:
        self._supervisor = supervisor
        self._applier = applier
        self._is_requested = False
        self._operation: Operation | None = None
        #: When it was last requested, on the monotonic clock.
        self.requested_at = 0.0

    @property
    def is_under_way(self) -> bool:
        """Whether a request has neither been carried out nor failed yet."""
        return self._is_requested or (self._operation is not None and not self._operation.is_done)

    def request(self) -> None:
        self._is_requested = True
        self.requested_at = monotonic()

    def on_turn(self) -> None:
        supervisor = self._supervisor
        if self._is_requested and supervisor.operation is None and not supervisor.is_stopping:
            self._is_requested = False
            self._operation = self._applier.reload()
