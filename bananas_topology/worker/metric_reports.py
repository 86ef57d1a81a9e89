"""Reports a worker's counts to its parent, which serves them: `up --metrics-port`."""

from __future__ import annotations

import json
from collections.abc import Iterator

from bananas_topology.system.notify import METRICS, Notifier
from bananas_topology.worker.metrics import Tally
from bananas_topology.worker.slots import Slots
from bananas_topology.worker.usage import UsageMeter

#: Seconds between two reports.
INTERVAL_S = 1.0

#: Maximum job types in one message, which may have 64 KiB.
_MAX_TYPES = 50


class MetricReports:
    """Sends what has changed since the last report. The counts are totals: nothing is added up."""

    def __init__(self, notifier: Notifier, tally: Tally, slots: Slots) -> None:
        self._notifier = notifier
        self._tally = tally
        self._meter = UsageMeter(tally, slots)
        self._sent: dict[str, list[float]] = {}

    def send(self) -> None:
        """Report the changes; those that cannot be sent now are sent with the next report."""
        worker = [self._tally.enqueued, round(self._meter.read().busy_s, 3)]
        for types in self._changes():
            message = json.dumps({"worker": worker, "types": types})
            if self._notifier.send(**{METRICS: message}):
                self._sent |= types

    def _changes(self) -> Iterator[dict[str, list[float]]]:
        """Yield the changed types in parts; the first part may be empty."""
        values = {name: tally.values() for name, tally in self._tally.by_type.items()}
        changed = [item for item in values.items() if self._sent.get(item[0]) != item[1]]
        for start in range(0, max(1, len(changed)), _MAX_TYPES):
            yield dict(changed[start : start + _MAX_TYPES])
