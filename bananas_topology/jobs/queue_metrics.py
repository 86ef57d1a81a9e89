"""Prometheus gauges of the queues, exported by workers and by the API.

Every process exports the same values: aggregate them with ``max``, not ``sum``.
"""

from __future__ import annotations

from prometheus_client.core import GaugeMetricFamily, Metric

from bananas_topology.jobs.inspect import Inspector


def queue_gauges(inspector: Inspector) -> list[Metric]:
    """Read the number of jobs in each state.

    Raises:
        RedisUnavailable, RedisUnsuitable: they cannot be read.
    """
    overview = inspector.overview()
    ready = GaugeMetricFamily("bananas_queue_depth", "Ready jobs", labels=["priority"])
    for depth in overview.depths:
        ready.add_metric([depth.priority], depth.total)
    backlog = overview.backlog
    others = (
        ("processing_queue_depth", "Jobs claimed by workers", backlog.running),
        ("scheduled_queue_depth", "Delayed jobs", backlog.scheduled),
        ("dead_letter_queue_depth", "Dead jobs", backlog.dead),
    )
    return [
        ready,
        *(GaugeMetricFamily(f"bananas_{name}", text, value) for name, text, value in others),
    ]
