"""The queues as Prometheus is told of them, by a worker and by the api alike.

Everybody who is asked tells the same of them, so whoever adds them up takes the highest.
"""

from __future__ import annotations

from prometheus_client.core import GaugeMetricFamily, Metric

from bananas_topology.jobs.inspect import Inspector


def queue_gauges(inspector: Inspector) -> list[Metric]:
    """How many jobs are where, read now.

    Raises:
        RedisUnavailable, RedisUnsuitable: nobody can tell.
    """
    ready = GaugeMetricFamily("bananas_queue_depth", "Jobs that are ready", labels=["priority"])
    for depth in inspector.depths():
        ready.add_metric([depth.priority], depth.ready + sum(depth.parked.values()))
    backlog = inspector.backlog()
    others = (
        ("processing_queue_depth", "Jobs that workers hold", backlog.running),
        ("scheduled_queue_depth", "Jobs that are due later", backlog.scheduled),
        ("dead_letter_queue_depth", "Jobs that will not run again", backlog.dead),
    )
    return [
        ready,
        *(GaugeMetricFamily(f"bananas_{name}", text, value) for name, text, value in others),
    ]
