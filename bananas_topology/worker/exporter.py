"""The worker's figures for Prometheus, made from its counts when somebody scrapes.

The only module of the worker that imports prometheus_client, and only where a port is set.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from bananas_topology.errors import BananasTopologyError, InvalidSettings
from bananas_topology.jobs.inspect import Inspector
from bananas_topology.jobs.queue_metrics import queue_gauges
from bananas_topology.system.clock import monotonic
from bananas_topology.worker.health import Vitals
from bananas_topology.worker.metrics import BUCKETS_S, Histogram, Tally, TypeTally
from bananas_topology.worker.slots import Slots

#: Seconds over which utilisation and error rate are taken, at the least.
_WINDOW_S = 5.0


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the figures come from."""

    pool: str
    concurrency: int
    has_scheduler: bool
    tally: Tally
    slots: Slots
    vitals: Vitals
    inspector: Inspector


@dataclass(frozen=True, slots=True)
class _Reading:
    """The counts at one moment; rates are taken between two of them."""

    at: float
    busy_s: float
    completed: int
    failed: int


class Exporter(Collector):
    """Collects on each scrape. For use by one thread at a time."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._before = self._last = self._read()
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def text(self) -> bytes:
        """The figures in Prometheus's own format."""
        return generate_latest(self._registry)

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not read Redis."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All families, with those of the queues if Redis answers."""
        yield from self._counts()
        yield from self._slots()
        if self._sources.vitals.is_ready:
            # Otherwise each scrape would wait for a server that does not answer.
            try:
                yield from queue_gauges(self._sources.inspector)
            except BananasTopologyError:
                return  # the loop says so in the log

    def _counts(self) -> Iterator[Metric]:
        source = self._sources
        by_type = sorted(source.tally.by_type.items())
        yield self._counter("jobs_completed", "Jobs that were completed", by_type, _completed)
        yield self._counter("jobs_failed", "Runs that failed", by_type, _failed)
        yield self._counter("jobs_buried", "Jobs that will not run again", by_type, _buried)
        enqueued = CounterMetricFamily(
            "bananas_jobs_enqueued", "Jobs that this process enqueued (schedules)", labels=["pool"]
        )
        enqueued.add_metric([source.pool], source.tally.enqueued)
        yield enqueued
        duration = _histogram("bananas_job_duration_seconds", "How long runs took")
        wait = _histogram("bananas_job_wait_seconds", "From a job's creation to its first run")
        for job_type, tally in by_type:
            _add(duration, [source.pool, job_type], tally.duration)
            _add(wait, [source.pool, job_type], tally.wait)
        yield duration
        yield wait

    def _counter(
        self,
        name: str,
        text: str,
        by_type: list[tuple[str, TypeTally]],
        count: Callable[[TypeTally], int],
    ) -> Metric:
        family = CounterMetricFamily(f"bananas_{name}", text, labels=["pool", "job_type"])
        for job_type, tally in by_type:
            family.add_metric([self._sources.pool, job_type], count(tally))
        return family

    def _slots(self) -> Iterator[Metric]:
        source = self._sources
        utilization, error_rate = self._rates()
        yield self._gauge("worker_active", "Slots that run a job", source.slots.running)
        yield self._gauge("worker_total", "Slots", source.concurrency)
        yield self._gauge("worker_stuck", "Slots lost to handlers in time-out", source.slots.stuck)
        yield self._gauge("worker_utilization", "Share of the slots' time in use", utilization)
        yield self._gauge("error_rate", "Share of runs that failed", error_rate)
        yield self._gauge("worker_ready", "Whether work is taken", int(source.vitals.is_ready))
        if source.has_scheduler:
            yield self._gauge("scheduler_up", "A scheduler runs here", int(source.vitals.is_ready))

    def _gauge(self, name: str, text: str, value: float) -> Metric:
        family = GaugeMetricFamily(f"bananas_{name}", text, labels=["pool"])
        family.add_metric([self._sources.pool], value)
        return family

    def _rates(self) -> tuple[float, float]:
        now = self._read()
        if now.at - self._last.at >= _WINDOW_S:
            self._before, self._last = self._last, now
        elapsed_s = max(1e-3, now.at - self._before.at)
        failed = now.failed - self._before.failed
        ended = now.completed - self._before.completed + failed
        capacity_s = max(1e-3, elapsed_s * self._sources.concurrency)
        busy_s = max(0.0, now.busy_s - self._before.busy_s)
        return min(1.0, busy_s / capacity_s), failed / max(1, ended)

    def _read(self) -> _Reading:
        tally, now = self._sources.tally, monotonic()
        busy_s = tally.busy_s + self._sources.slots.running_s(now)
        return _Reading(now, busy_s, tally.completed, tally.failed)


def _completed(tally: TypeTally) -> int:
    return tally.completed


def _failed(tally: TypeTally) -> int:
    return tally.retried + tally.buried


def _buried(tally: TypeTally) -> int:
    return tally.buried


def _histogram(name: str, text: str) -> HistogramMetricFamily:
    return HistogramMetricFamily(name, text, labels=["pool", "job_type"])


def _add(family: HistogramMetricFamily, labels: list[str], histogram: Histogram) -> None:
    bounds = [*map(str, map(float, BUCKETS_S)), "+Inf"]
    cumulated = accumulate(list(histogram.counts))
    family.add_metric(labels, list(zip(bounds, cumulated, strict=True)), histogram.total_s)


#: Seconds that a client may take over its request.
_REQUEST_S = 10

_TEXT = "text/plain; charset=utf-8"
_METRICS = "text/plain; version=0.0.4; charset=utf-8"


class HealthServer:
    """Serves until the process ends.

    Raises:
        InvalidSettings: nothing can be served at the port.
    """

    def __init__(self, port: int, sources: Sources) -> None:
        self._vitals = sources.vitals
        self._exporter = Exporter(sources)
        self._collecting = threading.Lock()
        handler = _handler(
            {
                "/livez": self._livez,
                "/readyz": self._readyz,
                "/metrics": self._metrics,
            }
        )
        try:
            self._server = ThreadingHTTPServer(("", port), handler)
        except OSError as error:
            raise InvalidSettings(
                [f"METRICS_PORT is {port}: cannot listen there: {error}"]
            ) from error
        self._server.daemon_threads = True
        #: Where it is served; another one than asked for if that was 0.
        self.port = int(self._server.server_address[1])
        serve = self._server.serve_forever
        threading.Thread(target=serve, name="health", daemon=True).start()

    def close(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()

    def _livez(self) -> tuple[HTTPStatus, str, bytes]:
        if self._vitals.lives:
            return HTTPStatus.OK, _TEXT, b"ok\n"
        return HTTPStatus.SERVICE_UNAVAILABLE, _TEXT, b"the worker's loop does not turn\n"

    def _readyz(self) -> tuple[HTTPStatus, str, bytes]:
        if self._vitals.is_ready and self._vitals.lives:
            return HTTPStatus.OK, _TEXT, b"ok\n"
        told = b"no work is taken: Redis is out of reach, or the worker starts or stops\n"
        return HTTPStatus.SERVICE_UNAVAILABLE, _TEXT, told

    def _metrics(self) -> tuple[HTTPStatus, str, bytes]:
        with self._collecting:
            return HTTPStatus.OK, _METRICS, self._exporter.text()


Route = Callable[[], tuple[HTTPStatus, str, bytes]]


def _handler(routes: dict[str, Route]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = _REQUEST_S

        def do_GET(self) -> None:
            route = routes.get(self.path.partition("?")[0])
            if route is None:
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            status, kind, body = route()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: probes come every few seconds."""

    return Handler
