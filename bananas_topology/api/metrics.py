"""What Prometheus is told: requests as they are answered, queues as they are when it asks."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from bananas_topology.errors import RedisUnavailable, RedisUnsuitable
from bananas_topology.jobs.inspect import Inspector


class Metrics:
    """The api's own figures, and those of the queues behind it."""

    def __init__(self, inspector: Inspector) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_Queues(inspector))
        self.enqueued = Counter(
            "bananas_jobs_enqueued", "Jobs enqueued through this api.", registry=self.registry
        )
        self.requests = Counter(
            "bananas_http_requests",
            "Requests answered.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "bananas_http_request_duration_seconds",
            "How long a request took to answer.",
            ("method", "route"),
            registry=self.registry,
        )


class _Queues(Collector):
    def __init__(self, inspector: Inspector) -> None:
        self._inspector = inspector

    def describe(self) -> list[GaugeMetricFamily]:
        """Nothing: registering must not ask Redis."""
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        try:
            depths = self._inspector.depths()
            backlog = self._inspector.backlog()
        except (RedisUnavailable, RedisUnsuitable):
            return  # gauges that nobody can tell are left out; the request's own figures stay
        ready = GaugeMetricFamily("bananas_queue_depth", "Ready jobs.", labels=("priority",))
        for depth in depths:
            ready.add_metric((depth.priority,), depth.ready + sum(depth.parked.values()))
        yield ready
        yield GaugeMetricFamily(
            "bananas_processing_queue_depth", "Jobs that workers hold.", backlog.running
        )
        yield GaugeMetricFamily(
            "bananas_scheduled_queue_depth", "Jobs that are due later.", backlog.scheduled
        )
        yield GaugeMetricFamily("bananas_dead_letter_queue_depth", "Dead jobs.", backlog.dead)
