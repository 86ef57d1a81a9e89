"""The worker's lease: renewing it, recovering claims, and deregistering. The history goes along.

A lease is renewed by the loop, which needs the interpreter: one C call of a handler that holds it
longer than the lease, such as a regular expression, looks like a crash to the other workers. The
lease then grows, so that this does not repeat.
"""

from __future__ import annotations

import hashlib
import logging
import os
import socket
from collections.abc import Mapping
from dataclasses import replace

from bananas_topology import __version__
from bananas_topology.contract.settings import write_variables
from bananas_topology.contract.worker import WORKER_SETTINGS, WorkerConfig
from bananas_topology.errors import RedisFull, RequestRejected
from bananas_topology.jobs.broker import Broker
from bananas_topology.jobs.consumer import Consumer
from bananas_topology.jobs.job_types import encode_timeouts
from bananas_topology.system.clock import format_timestamp, monotonic, wall_now, wall_seconds
from bananas_topology.units import format_duration
from bananas_topology.worker.history import FLUSH_S, HistoryFlushes
from bananas_topology.worker.job_events import JobEvents
from bananas_topology.worker.metrics import Tally
from bananas_topology.worker.recycling import resident_bytes
from bananas_topology.worker.run import BoundHandler, describe, payload_schemas
from bananas_topology.worker.settlement import PendingSettlements
from bananas_topology.worker.slots import Slots

#: Milliseconds after another worker's lease expires until this worker checks on it.
_EXPIRY_MARGIN_MS = 20

#: How many times longer than the configured lease one may grow.
_MAX_GROWTH = 20

log = logging.getLogger(__name__)


class WorkerInfo:
    """What a worker publishes about itself under ``worker:<id>``, and logs once it is ready."""

    def __init__(
        self, config: WorkerConfig, handlers: Mapping[str, BoundHandler], incarnation: str
    ) -> None:
        job_types = ",".join(handlers)
        timeouts = {name: bound.timeout_ms for name, bound in handlers.items()}
        self.summary: dict[str, object] = {
            "mode": config.mode,
            "concurrency": config.concurrency,
            "priorities": ",".join(config.priorities),
            "job_types": job_types,
            "scheduler": config.enable_scheduler,
        }
        self._fields: dict[str, str | int] = {
            "incarnation": incarnation,
            "pool": config.pool,
            "mode": config.mode,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started_at": format_timestamp(wall_now()),
            "concurrency": config.concurrency,
            "priorities": ",".join(config.priorities),
            "job_types": job_types,
            "timeouts": encode_timeouts(config.job_timeout_ms, timeouts),
            "version": __version__,
            "settings": settings_digest(config),
            "schedules": len(config.schedules) if config.enable_scheduler else 0,
        }

    def fields(self, slots: Slots, tally: Tally) -> dict[str, str | int]:
        """The fields to store now, with the counts since the start."""
        return {
            **self._fields,
            "busy": len(slots.held),
            "stuck": slots.stuck,
            "memory_bytes": resident_bytes(),
            "clock_ms": round(wall_seconds() * 1000),
            "finished": tally.completed + tally.failed,
            "failed": tally.failed,
            "busy_ms": round(tally.settled_s * 1000),
        }


def settings_digest(config: WorkerConfig) -> str:
    """A digest that is equal for workers with equal settings, wherever they run.

    Logging settings, and those that a topology does not have, may differ within a pool.
    """
    shared = [
        each
        for each in WORKER_SETTINGS
        if each.path and not each.path.startswith("logging.") and not each.is_secret
    ]
    written = sorted(write_variables(config, shared).items())
    return hashlib.sha256(repr(written).encode()).hexdigest()[:12]


class Heartbeat:
    """Keeps this worker registered, and recovers what dead workers had claimed.

    Raises (every method):
        RedisUnavailable, RedisUnsuitable: as the broker.
    """

    def __init__(
        self,
        config: WorkerConfig,
        consumer: Consumer,
        incarnation: str,
        broker: Broker,
        slots: Slots,
        pending: PendingSettlements,
        tally: Tally,
        events: JobEvents,
        handlers: Mapping[str, BoundHandler],
    ) -> None:
        self._schemas = payload_schemas(handlers)
        self._consumer = consumer
        self._incarnation = incarnation
        self._broker = broker
        self._slots = slots
        self._pending = pending
        self._tally = tally
        self._events = events
        self._flushes = HistoryFlushes(tally.history, config.pool, incarnation)
        self._lease_ms = config.lease_ms
        self._renewed_at = monotonic()
        self.info = WorkerInfo(config, handlers, incarnation)
        #: Whether the worker is registered and has recovered its earlier claims.
        self.is_booted = False
        #: Set when another process has taken this worker's id.
        self.is_superseded = False

    def beat(self) -> float:
        """Renew the lease and reap expired workers; returns the seconds until the next beat."""
        return self._beat(was_connected=True)

    def recover(self, token: str) -> None:
        """Take the lease, and requeue claims under this worker's id that it does not work on.

        `token` is the next one for a claim.
        """
        self._beat(was_connected=False)
        known = {run.claim.job_id for run in (*self._slots.held, *self._pending.runs)}
        ids = [job_id.encode(errors="surrogateescape") for job_id in known]
        recovery = self._broker.recover(self._consumer, token, ids)
        if recovery.returned:
            extra = {"jobs": recovery.returned, "crashed": recovery.crashed}
            log.warning("claims recovered", extra=extra)
        self.is_booted = True

    def _beat(self, *, was_connected: bool) -> float:
        beat = self._broker.heartbeat(
            self._consumer,
            self._incarnation,
            self.info.fields(self._slots, self._tally),
            boot=not self.is_booted,
            schemas=self._schemas.digest,
            flush=self._flushes.if_due(),
        )
        self._flushes.confirm()
        if beat.flush_error is not None:
            log.warning("history not written: %s", beat.flush_error)
        silent_s = monotonic() - self._renewed_at
        self._renewed_at += silent_s
        self.is_superseded = beat.is_superseded
        self._events.share(beat.sharing)
        if beat.lost_claims and not beat.is_superseded:
            self._lost_claims(silent_s, was_connected)
        if beat.lacks_schemas:
            self._store_schemas()
        for worker_id, recovery in self._broker.reap(self._consumer, beat.expired).items():
            log.warning("worker reaped", extra={"reaped": worker_id, "jobs": recovery.returned})
        due_ms = min(self._lease_ms // 3, round(FLUSH_S * 1000))
        if beat.next_expiry_ms > 0:
            due_ms = min(due_ms, beat.next_expiry_ms + _EXPIRY_MARGIN_MS)
        return due_ms / 1000

    def _store_schemas(self) -> None:
        """Store the schemas, for the first time or again; without them a worker works as well."""
        try:
            self._broker.store_schemas(self._schemas, self._consumer.lease_ms)
        except (RedisFull, RequestRejected) as error:
            log.debug("schemas not stored: %s", error)

    def _lost_claims(self, silent_s: float, was_connected: bool) -> None:
        """Report that the lease expired, and let it grow unless the network was the reason."""
        lease_ms = self._consumer.lease_ms
        if was_connected:
            wanted_ms = min(round(2000 * silent_s), _MAX_GROWTH * self._lease_ms)
            lease_ms = max(lease_ms, wanted_ms)
            self._consumer = replace(self._consumer, lease_ms=lease_ms)
        runs = [*self._slots.held, *self._pending.runs]
        log.warning(
            "lease expired while the worker was alive: its jobs were requeued and may run twice",
            extra={
                "silent_s": round(silent_s, 1),
                "lease": format_duration(lease_ms),
                "running": len(runs),
                "jobs": describe(runs),
            },
        )

    def deregister(self, token: str) -> None:
        """Remove this worker, which holds no jobs any more, from Redis; `token` as in `recover`."""
        worker_id = self._consumer.worker_id
        flush = self._flushes.now()
        is_removed = self._broker.deregister(worker_id, self._incarnation, flush)
        self._flushes.confirm()
        if not is_removed and not self.is_superseded:
            # A wake-up that came while the listener was closing has claimed jobs.
            self._broker.recover(self._consumer, token, ())
            self._broker.deregister(worker_id, self._incarnation)
