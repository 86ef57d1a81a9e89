"""Probes and Prometheus metrics over HTTP: ``/livez``, ``/readyz``, ``/metrics``.

Served by separate threads, so that they answer while the loop waits for Redis. Imported only if a
port is set, because prometheus_client and the HTTP server cost memory and start-up time.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from bananas_topology.errors import BananasTopologyError, PortUnavailable
from bananas_topology.jobs.inspect import Inspector
from bananas_topology.jobs.queue_metrics import queue_gauges
from bananas_topology.system.http_server import METRICS_TEXT, TEXT, Answer, Route, serve
from bananas_topology.worker.health import Health
from bananas_topology.worker.job_metrics import job_metrics
from bananas_topology.worker.metrics import Tally
from bananas_topology.worker.slots import Slots
from bananas_topology.worker.usage import UsageMeter, UsageWindow

_OK: Answer = (HTTPStatus.OK, TEXT, b"ok\n")

_STARTING = "starting: importing handlers"


@dataclass(frozen=True, slots=True)
class Sources:
    """What the metrics are computed from."""

    pool: str
    concurrency: int
    has_scheduler: bool
    tally: Tally
    slots: Slots
    health: Health
    inspector: Inspector


class MetricsCollector(Collector):
    """Computes the metrics on every scrape. For use by one thread at a time."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._meter = UsageMeter(sources.tally, sources.slots)
        self._window = UsageWindow(self._meter.read())
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> bytes:
        """The metrics in Prometheus's text format."""
        return generate_latest(self._registry)

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering does not read Redis."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics; those of the queues only if Redis answers."""
        yield from self._counts()
        yield from self._slots()
        if self._sources.health.is_ready:
            # Otherwise every scrape would wait for a server that does not answer.
            try:
                yield from queue_gauges(self._sources.inspector)
            except BananasTopologyError:
                return  # logged by the worker's loop

    def _counts(self) -> Iterator[Metric]:
        source = self._sources
        by_type = list(source.tally.by_type.items())
        tallies = {(source.pool, job_type): tally for job_type, tally in by_type}
        return job_metrics(tallies, {source.pool: source.tally.enqueued})

    def _slots(self) -> Iterator[Metric]:
        source = self._sources
        utilization, error_rate = self._window.rates(self._meter.read(), source.concurrency)
        is_ready = int(source.health.is_ready)
        yield self._gauge("worker_active", "Slots running a job", source.slots.running)
        yield self._gauge("worker_total", "Slots", source.concurrency)
        yield self._gauge("worker_stuck", "Slots held by timed-out handlers", source.slots.stuck)
        yield self._gauge("worker_utilization", "Fraction of slot time in use", utilization)
        yield self._gauge("error_rate", "Fraction of runs that failed", error_rate)
        yield self._gauge("worker_ready", "Whether the worker takes jobs", is_ready)
        if source.has_scheduler:
            yield self._gauge("scheduler_up", "Whether the scheduler runs", is_ready)

    def _gauge(self, name: str, text: str, value: float) -> Metric:
        family = GaugeMetricFamily(f"bananas_{name}", text, labels=["pool"])
        family.add_metric([self._sources.pool], value)
        return family


class HealthServer:
    """Listens from its creation until the process exits, for a worker that is starting at first.

    Raises:
        PortUnavailable: cannot listen on the port.
    """

    def __init__(self, port: int) -> None:
        self._health: Health | None = None
        self._collector: MetricsCollector | None = None
        self._collecting = threading.Lock()
        routes: dict[str, Route] = {
            "/livez": self._livez,
            "/readyz": self._readyz,
            "/metrics": self._metrics,
        }
        try:
            server = serve(port, routes, "health")
        except OSError as error:
            raise PortUnavailable("METRICS_PORT", port, error) from error
        # Children that are forked must not keep the port, also those forked by a handler's module.
        os.register_at_fork(after_in_child=server.socket.close)

    def serve(self, sources: Sources) -> None:
        """Answer for a worker that has started."""
        self._collector = MetricsCollector(sources)
        self._health = sources.health

    def _livez(self, query: str) -> Answer:
        health = self._health
        if health is None:
            # A startup probe waits for the handlers, so that it has the time that a start may take.
            return _unavailable(_STARTING) if query == "started" else _OK
        return _OK if health.is_alive else _unavailable("worker loop stalled")

    def _readyz(self, query: str) -> Answer:
        health = self._health
        if health is None:
            return _unavailable(_STARTING)
        if health.is_ready and health.is_alive:
            return _OK
        return _unavailable("not taking jobs: Redis is unreachable, or the worker is stopping")

    def _metrics(self, query: str) -> Answer:
        if self._collector is None:
            return _unavailable(_STARTING)
        with self._collecting:
            return HTTPStatus.OK, METRICS_TEXT, self._collector.text()


def _unavailable(reason: str) -> Answer:
    return HTTPStatus.SERVICE_UNAVAILABLE, TEXT, f"{reason}\n".encode()
