"""What a running `up` is doing, as JSON values: for `bananas ps`, and for the parent of `up`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from bananas_topology.local.reload import Reload
from bananas_topology.supervisor.poll_source import PollSource
from bananas_topology.supervisor.record import RunRecord
from bananas_topology.supervisor.state import ChildState, Phase
from bananas_topology.supervisor.supervisor import Supervisor
from bananas_topology.system.clock import format_timestamp, monotonic
from bananas_topology.system.notify import Notifier
from bananas_topology.system.processes import usage_of

#: Seconds between reports to the parent of `up`.
_REPORT_S = 1.0


def describe_run(supervisor: Supervisor, record: RunRecord, order: Sequence[str]) -> dict[str, Any]:
    """Describe a run and its processes, pools in the given order."""
    ranks = {pool: rank for rank, pool in enumerate(order)}
    children = sorted(
        supervisor.children, key=lambda state: (ranks.get(state.pool, len(ranks)), state.index)
    )
    operation = supervisor.operation
    return {
        "name": record.name,
        "topology": record.topology,
        "pid": record.pid,
        "started_at": record.started_at,
        "state": "stopping" if supervisor.is_stopping else "running",
        "change": None if operation is None else operation.name,
        "processes": [describe_child(state) for state in children],
    }


def describe_child(state: ChildState) -> dict[str, Any]:
    """Describe one process. Times in seconds, memory in bytes, CPU in percent of one core."""
    report, pid = state.report, state.child.pid
    usage = None if pid is None else usage_of(pid)
    return {
        "name": state.name,
        "pool": state.pool,
        "replica": state.index,
        "pid": pid,
        "state": state.phase.value,
        "uptime_s": None if pid is None else round(state.child.uptime_s, 1),
        "restarts": max(0, state.starts - 1),
        "slots": report.slots,
        "busy": report.busy,
        "stuck": report.stuck,
        "completed": state.completed,
        "failed": state.failed,
        "memory_bytes": None if usage is None else usage.memory_bytes,
        "cpu_percent": None if state.cpu_percent is None else round(state.cpu_percent, 1),
        "last_exit": state.last_exit or None,
        "last_exit_at": _timestamp(state.last_exit_at),
    }


def _timestamp(moment: datetime | None) -> str | None:
    return None if moment is None else format_timestamp(moment)


class Reporter(PollSource):
    """Reports the run to its parent by the sd_notify protocol: systemd, or `up -d`.

    A source of the supervisor's loop. ``READY=1`` is sent once all processes are ready at the same
    time, and ``RELOADING=1`` during a reload. If some were given up and all others are ready,
    ``X_FAILED`` has the last exit of each of the former, as a JSON object by name; ``STOPPING=1``
    comes with it if that ends the run.
    """

    def __init__(self, supervisor: Supervisor, notifier: Notifier, reload: Reload) -> None:
        self._supervisor = supervisor
        self._notifier = notifier
        self._reload = reload
        self._is_ready = False
        self._reported_at = -_REPORT_S
        self._last: Mapping[str, str | int] = {}

    def on_turn(self) -> None:
        """Report what has changed, and once a second that the loop makes progress."""
        if not self._notifier.is_wanted:
            return
        fields = self._fields()
        now = monotonic()
        if fields != self._last or now - self._reported_at >= _REPORT_S:
            self._last, self._reported_at = fields, now
            self._notifier.send(WATCHDOG=1, STATUS=self._status(), **fields)

    def _fields(self) -> dict[str, str | int]:
        children = self._supervisor.children
        ready = sum(state.is_ready for state in children)
        self._is_ready = self._is_ready or ready == len(children) > 0
        if self._supervisor.is_stopping:
            return {"STOPPING": 1}
        if self._is_ready and self._reload.is_under_way:
            # systemd waits for a time after that of its signal.
            return {"RELOADING": 1, "MONOTONIC_USEC": int(self._reload.requested_at * 1e6)}
        if self._is_ready:
            return {"READY": 1}
        fields: dict[str, str | int] = {}
        failed = {each.name: each.last_exit for each in children if each.phase is Phase.GIVEN_UP}
        if failed and len(failed) + ready == len(children):
            fields["X_FAILED"] = json.dumps(failed)
            if self._supervisor.is_over:
                fields["STOPPING"] = 1
        return fields

    def _status(self) -> str:
        """Sum up the run for people: `systemctl status` shows it."""
        children = self._supervisor.children
        ready = sum(state.is_ready for state in children)
        busy = sum(state.report.busy for state in children)
        slots = sum(state.report.slots for state in children)
        completed = sum(state.completed for state in children)
        failed = sum(state.failed for state in children)
        return (
            f"{ready} of {len(children)} processes ready, {busy} of {slots} slots busy, "
            f"{completed} jobs completed, {failed} failed"
        )
