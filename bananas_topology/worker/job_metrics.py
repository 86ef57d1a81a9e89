"""Prometheus metrics of jobs by pool and job type: of one worker, or of all that `up` runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from bananas_topology.jobs.settlements import COUNTERS
from bananas_topology.worker.metrics import BUCKETS_S, Histogram, TypeTally

_LABELS = ("pool", "job_type")


def job_metrics(
    tallies: Mapping[tuple[str, str], TypeTally], enqueued: Mapping[str, float]
) -> Iterator[Metric]:
    """Yield counters and histograms of tallies by pool and job type.

    `enqueued` is the number of jobs enqueued by schedules, by pool.
    """
    by_labels = sorted(tallies.items())
    for counter in COUNTERS:
        family = CounterMetricFamily(f"bananas_{counter.name}", counter.description, labels=_LABELS)
        for labels, tally in by_labels:
            family.add_metric(labels, tally.settled.total(counter))
        yield family
    by_schedules = CounterMetricFamily(
        "bananas_jobs_enqueued", "Jobs enqueued by this worker's schedules", labels=["pool"]
    )
    for pool, count in sorted(enqueued.items()):
        by_schedules.add_metric([pool], count)
    yield by_schedules
    duration = _histogram("bananas_job_duration_seconds", "Duration of runs")
    wait = _histogram("bananas_job_wait_seconds", "Time from a job's creation to its first run")
    for labels, tally in by_labels:
        _add(duration, labels, tally.duration)
        _add(wait, labels, tally.wait)
    yield duration
    yield wait


def _histogram(name: str, text: str) -> HistogramMetricFamily:
    return HistogramMetricFamily(name, text, labels=_LABELS)


def _add(family: HistogramMetricFamily, labels: tuple[str, str], histogram: Histogram) -> None:
    bounds = [*map(str, map(float, BUCKETS_S)), "+Inf"]
    cumulative = accumulate(list(histogram.counts))
    family.add_metric(labels, list(zip(bounds, cumulative, strict=True)), histogram.total_s)
