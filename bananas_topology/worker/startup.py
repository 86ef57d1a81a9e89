"""Liveness while a worker imports its handlers, which may load models for minutes.

The process is alive then, and answers so, but claims no jobs. It reports nothing to its parent,
which lets a start take any time.
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import TYPE_CHECKING, Self

from bananas_topology.contract.worker import WorkerConfig
from bananas_topology.liveness import touch

if TYPE_CHECKING:
    from bananas_topology.worker.exporter import HealthServer

#: Seconds between two writes of the liveness file.
_TOUCH_INTERVAL_S = 1.0


class Startup:
    """A context in which the process is alive and starting.

    `health_server` listens from the beginning; None without a port.

    Raises:
        PortUnavailable: cannot listen on the port.
    """

    def __init__(self, config: WorkerConfig) -> None:
        self._path = config.liveness_file
        self._has_ended = threading.Event()
        self._thread = threading.Thread(target=self._touch, name="startup", daemon=True)
        self.health_server = _listen(config.metrics_port) if config.metrics_port else None

    def __enter__(self) -> Self:
        if self._path:
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._has_ended.set()
        if self._path:
            self._thread.join()  # the worker writes the same file later

    def _touch(self) -> None:
        while not self._has_ended.is_set():
            try:
                touch(self._path, is_starting=True)
            except OSError:
                return  # reported by the worker, which tries again
            self._has_ended.wait(_TOUCH_INTERVAL_S)


def _listen(port: int) -> HealthServer:
    # Imported here: it costs memory and time that a worker without a port does not need.
    from bananas_topology.worker.exporter import HealthServer

    return HealthServer(port)
