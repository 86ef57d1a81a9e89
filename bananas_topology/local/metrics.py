"""Serves the metrics of all processes of a run on one port: `up --metrics-port`.

Workers report their counts once a second (see system/notify.py), so a scrape contacts none of them.
The counts are added up by pool, over restarts, under the names that a single worker serves.
Imported only if a port is set: prometheus_client and the HTTP server cost memory.
"""

from __future__ import annotations

import json
import os
import threading
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from http import HTTPStatus
from http.server import ThreadingHTTPServer

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from bananas_topology.contract.names import API
from bananas_topology.errors import BananasTopologyError, ControlFailed
from bananas_topology.jobs.inspect import Inspector
from bananas_topology.jobs.queue_metrics import queue_gauges
from bananas_topology.supervisor.output import SUPERVISOR
from bananas_topology.supervisor.state import ChildState
from bananas_topology.supervisor.supervisor import Supervisor
from bananas_topology.system.clock import monotonic
from bananas_topology.system.http_server import METRICS_TEXT, Route, serve
from bananas_topology.system.processes import usage_of
from bananas_topology.worker.job_metrics import job_metrics
from bananas_topology.worker.metrics import TypeTally
from bananas_topology.worker.usage import Usage, UsageWindow

#: Seconds that the api may take to answer.
_API_TIMEOUT_S = 1.0

#: What numbers belong to: the pool, and the job type; None for those of the workers themselves.
_Key = tuple[str, str | None]


class Totals:
    """Numbers that workers reported, added up by pool, those of exited processes included.

    Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: By process name and key: the process id, and its latest numbers.
        self._latest: dict[tuple[str, _Key], tuple[int, list[float]]] = {}
        self._ended: dict[_Key, list[float]] = {}

    def take(self, name: str, pool: str, pid: int, text: str) -> None:
        """Take in a report of a process; one that cannot be read is ignored."""
        try:
            report = json.loads(text)
            numbers: dict[str | None, list[float]] = {None: report["worker"], **report["types"]}
            read = {key: [float(value) for value in values] for key, values in numbers.items()}
        except (ValueError, KeyError, TypeError):
            return
        with self._lock:
            for job_type, values in read.items():
                key = (pool, job_type)
                before = self._latest.get((name, key))
                if before is not None and before[0] != pid:
                    self._ended[key] = _sum(self._ended.get(key), before[1])
                self._latest[name, key] = (pid, values)

    def read(self) -> dict[_Key, list[float]]:
        """Return the current totals."""
        with self._lock:
            totals = dict(self._ended)
            for (_, key), (_, values) in self._latest.items():
                totals[key] = _sum(totals.get(key), values)
            return totals


class RunMetrics(Collector):
    """Computes the metrics on every scrape."""

    def __init__(self, supervisor: Supervisor, inspector: Inspector) -> None:
        self._totals = Totals()
        self._supervisor = supervisor
        self._inspector = inspector
        self._windows: dict[str, UsageWindow] = {}
        self._begun_at = monotonic()
        self._scraping = threading.Lock()
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def take(self, state: ChildState, text: str) -> None:
        """Take in a report of a child."""
        self._totals.take(state.name, state.pool, state.child.pid or 0, text)

    def text(self) -> bytes:
        """The metrics in Prometheus's text format."""
        with self._scraping:
            return generate_latest(self._registry)

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering does not read Redis."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics; those of the queues only if Redis answers."""
        children = list(self._supervisor.children)
        totals = self._totals.read()
        tallies: dict[tuple[str, str], TypeTally] = {}
        for (pool, job_type), values in totals.items():
            if job_type is not None:
                with suppress(ValueError):  # of a worker of another version
                    tallies[pool, job_type] = TypeTally.of(values)
        enqueued = {pool: values[0] for (pool, kind), values in totals.items() if kind is None}
        yield from _with_api(job_metrics(tallies, enqueued), _scrape_api(children))
        yield from self._workers(children, totals, tallies)
        yield from _processes(children, self._supervisor.exits)
        if any(state.is_ready for state in children):
            # Otherwise every scrape might wait for a server that does not answer.
            with suppress(BananasTopologyError):  # logged by the workers
                yield from queue_gauges(self._inspector)

    def _workers(
        self,
        children: list[ChildState],
        totals: Mapping[_Key, list[float]],
        tallies: Mapping[tuple[str, str], TypeTally],
    ) -> Iterator[Metric]:
        """Yield what workers report about themselves, added up by pool."""
        active = _gauge("worker_active", "Slots running a job")
        total = _gauge("worker_total", "Slots")
        stuck = _gauge("worker_stuck", "Slots held by timed-out handlers")
        utilization = _gauge("worker_utilization", "Fraction of slot time in use")
        error_rate = _gauge("error_rate", "Fraction of runs that failed")
        ready = _gauge("worker_ready", "Workers that take jobs")
        scheduler = _gauge("scheduler_up", "Whether a scheduler runs")
        for pool in dict.fromkeys(state.pool for state in children if state.pool != API):
            states = [state for state in children if state.pool == pool]
            slots = sum(state.report.slots for state in states)
            window = self._windows.setdefault(pool, UsageWindow(Usage(self._begun_at, 0.0, 0, 0)))
            busy, failing = window.rates(_usage(pool, totals, tallies), slots)
            active.add_metric([pool], sum(state.report.busy for state in states))
            total.add_metric([pool], slots)
            stuck.add_metric([pool], sum(state.report.stuck for state in states))
            utilization.add_metric([pool], busy)
            error_rate.add_metric([pool], failing)
            ready.add_metric([pool], sum(state.is_ready for state in states))
            if any(state.child.plan.env.get("ENABLE_SCHEDULER") == "true" for state in states):
                scheduler.add_metric([pool], any(state.is_ready for state in states))
        yield from (active, total, stuck, utilization, error_rate, ready, scheduler)


def serve_metrics(port: int, metrics: RunMetrics) -> ThreadingHTTPServer:
    """Serve until the server is closed, from threads of its own.

    Raises:
        ControlFailed: cannot listen on the port.
    """
    routes: dict[str, Route] = {
        "/metrics": lambda query: (HTTPStatus.OK, METRICS_TEXT, metrics.text())
    }
    try:
        return serve(port, routes, "metrics")
    except OSError as error:
        raise ControlFailed(f"cannot serve metrics on port {port}: {error.strerror}") from error


def _processes(
    children: list[ChildState], exits: Mapping[tuple[str, str], int]
) -> Iterator[Metric]:
    """Yield what the supervisor knows about its children and itself."""
    labels = ["pool", "process"]
    is_ready = GaugeMetricFamily("bananas_process_ready", "Whether it is ready", labels=labels)
    restarts = CounterMetricFamily("bananas_process_restarts", "Restarts by `up`", labels=labels)
    memory = GaugeMetricFamily("bananas_process_memory_bytes", "Resident memory", labels=labels)
    cpu = CounterMetricFamily("bananas_process_cpu_seconds", "Processor time", labels=labels)
    pids = [(SUPERVISOR, SUPERVISOR, os.getpid())]
    for state in children:
        is_ready.add_metric([state.pool, state.name], state.is_ready)
        restarts.add_metric([state.pool, state.name], max(0, state.starts - 1))
        if (pid := state.child.pid) is not None:
            pids.append((state.pool, state.name, pid))
    for pool, name, pid in pids:
        if (usage := usage_of(pid)) is not None:
            memory.add_metric([pool, name], usage.memory_bytes)
            cpu.add_metric([pool, name], usage.cpu_s)
    ended = CounterMetricFamily(
        "bananas_process_exits", "Exits of processes", labels=["pool", "reason"]
    )
    for key, count in sorted(exits.items()):
        ended.add_metric(key, count)
    yield from (is_ready, restarts, memory, cpu, ended)


def _scrape_api(children: Iterable[ChildState]) -> list[Metric]:
    """Return the api's own metrics, if it runs; those of the queues are read here."""
    for state in children:
        if state.pool == API and state.is_ready:
            url = f"http://127.0.0.1:{state.child.plan.env['API_PORT']}/metrics"
            with suppress(OSError, ValueError):
                with urllib.request.urlopen(url, timeout=_API_TIMEOUT_S) as response:
                    found = list(text_string_to_metric_families(response.read().decode()))
                return [
                    each
                    for each in found
                    if each.name.startswith("bananas_") and each.name.partition("_queue_")[1] == ""
                ]
    return []


def _with_api(metrics: Iterable[Metric], of_api: list[Metric]) -> Iterator[Metric]:
    """Yield metrics, merged with those of the api: a name must not occur twice."""
    rest = {each.name: each for each in of_api}
    for metric in metrics:
        for sample in rest.pop(metric.name).samples if metric.name in rest else ():
            metric.add_sample(sample.name, {**sample.labels, "pool": API}, sample.value)
        yield metric
    yield from rest.values()


def _usage(
    pool: str,
    totals: Mapping[_Key, list[float]],
    tallies: Mapping[tuple[str, str], TypeTally],
) -> Usage:
    settled = [tally for (of_pool, _), tally in tallies.items() if of_pool == pool]
    completed = sum(tally.completed for tally in settled)
    failed = sum(tally.failed for tally in settled)
    return Usage(monotonic(), totals.get((pool, None), [0.0, 0.0])[1], completed, failed)


def _gauge(name: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"bananas_{name}", text, labels=["pool"])


def _sum(first: list[float] | None, second: list[float]) -> list[float]:
    return second if first is None else [a + b for a, b in zip(first, second, strict=False)]
