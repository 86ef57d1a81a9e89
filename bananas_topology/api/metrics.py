"""Metrics for Prometheus: HTTP requests as they complete, queues read at scrape time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from bananas_topology.errors import RedisUnavailable, RedisUnsuitable
from bananas_topology.jobs.inspect import Inspector
from bananas_topology.jobs.queue_metrics import queue_gauges


class Metrics:
    """Metrics of the api and of the queues."""

    def __init__(self, inspector: Inspector) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_Queues(inspector))
        self.enqueued = Counter(
            "bananas_jobs_enqueued", "Jobs enqueued through this API.", registry=self.registry
        )
        self.requests = Counter(
            "bananas_http_requests",
            "HTTP requests completed.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "bananas_http_request_duration_seconds",
            "Duration of HTTP requests.",
            ("method", "route"),
            registry=self.registry,
        )


class _Queues(Collector):
    def __init__(self, inspector: Inspector) -> None:
        self._inspector = inspector

    def describe(self) -> Iterable[Metric]:
        """Describe nothing: registration must not connect to Redis."""
        return ()

    def collect(self) -> Iterator[Metric]:
        try:
            yield from queue_gauges(self._inspector)
        except (RedisUnavailable, RedisUnsuitable):
            return  # omit the queue gauges; the request metrics stay available
