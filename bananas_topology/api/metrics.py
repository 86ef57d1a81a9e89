"""Metrics for Prometheus: HTTP requests as they complete, queues read at scrape time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from http import HTTPMethod, HTTPStatus

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bananas_topology.api.connections import STREAMING
from bananas_topology.errors import RedisUnavailable, RedisUnsuitable
from bananas_topology.jobs.inspect import Inspector
from bananas_topology.jobs.queue_metrics import queue_gauges
from bananas_topology.system.clock import monotonic

#: Methods counted under their own name; any other is counted as "other".
_METHODS = frozenset(HTTPMethod)


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


class Measuring:
    """Counts and times every request. An ASGI middleware."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = monotonic()
        # An unexpected exception passes through here and becomes a response in an outer layer.
        status = int(HTTPStatus.INTERNAL_SERVER_ERROR)

        async def send_noting_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_noting_status)
        finally:
            # Label with the route's template, not the path: every id would create a series.
            route = getattr(scope.get("route"), "path", "none")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.requests.labels(method, route, status).inc()
            if STREAMING not in scope:  # its duration depends on the client only
                self._metrics.seconds.labels(method, route).observe(monotonic() - started)


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
