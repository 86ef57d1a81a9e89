"""What Prometheus is told: requests as they are answered, queues as they are when it asks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from bananas_topology.errors import RedisUnavailable, RedisUnsuitable
from bananas_topology.jobs.inspect import Inspector
from bananas_topology.jobs.queue_metrics import queue_gauges


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

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not ask Redis."""
        return ()

    def collect(self) -> Iterator[Metric]:
        try:
            yield from queue_gauges(self._inspector)
        except (RedisUnavailable, RedisUnsuitable):
            return  # gauges that nobody can tell are left out; the request's own figures stay
