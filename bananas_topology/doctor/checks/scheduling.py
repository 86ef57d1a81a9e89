"""Checks of the schedulers: whether what is due is promoted and fired."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from bananas_topology.doctor.check import Group, Verdict, check, failure, ok, warning
from bananas_topology.doctor.examination import Examination
from bananas_topology.doctor.wording import listing, seconds
from bananas_topology.units import quantity

if TYPE_CHECKING:
    # Also checks of the API, which imports nothing that reads a topology.
    from bananas_topology.spec.model import Topology

#: How late an occurrence of a schedule may be.
_LATE = timedelta(seconds=60)

_START = (
    "bananas up --only scheduler, or bananas scale scheduler=1 where `bananas up` runs; or look "
    "for crashes in its log"
)


@check(
    "DR409", Group.RUNNING, "Scheduler",
    "a live worker of a pool with a scheduler, and no delayed job overdue by 30 s",
    _START,
)  # fmt: skip
def a_scheduler_runs(examination: Examination) -> Verdict:
    """Without one, delayed jobs, retries and schedules stand still."""
    overdue = examination.now.overdue
    if overdue and examination.samples[0].overdue:
        remedy = _how_to_start_a_scheduler(examination)
        return failure(f"{quantity(overdue, 'delayed job')} overdue", remedy)
    if examination.deployed is not None:
        return _schedules_have_a_scheduler(examination)
    pools = _schedulers(examination.topology)
    if not pools:
        return ok("the topology has no scheduler")
    running = [worker.worker_id for worker in examination.workers if worker.pool in pools]
    if running:
        return ok(f"{quantity(len(running), 'scheduler')}, nothing overdue")
    remedy = _how_to_start_a_scheduler(examination)
    return failure(f"no live worker of {', '.join(pools)}", remedy)


def _schedulers(topology: Topology) -> list[str]:
    return [pool.name for pool in topology.pools if pool.worker.enable_scheduler]


def _how_to_start_a_scheduler(examination: Examination) -> str | None:
    """None if one runs, or no topology says which pools have one."""
    if examination.file is None or examination.file.topology is None:
        return None
    pools = _schedulers(examination.topology)
    if any(worker.pool in pools for worker in examination.now.live_workers):
        return None
    command = examination.start_command(pools)
    return command and f"{command}, or look for crashes in its log"


def _schedules_have_a_scheduler(examination: Examination) -> Verdict:
    """Where no topology says which pools have a scheduler."""
    seen = {
        worker.worker_id
        for each in examination.samples
        for worker in each.live_workers
        if worker.schedules
    }
    if examination.schedules and not seen:
        return failure(f"no live worker runs the schedules: {listing(examination.schedules)}")
    return ok(f"{quantity(len(seen), 'scheduler')}, nothing overdue")


@check(
    "DR410", Group.RUNNING, "Schedules",
    "no schedule's next run is more than 60 s ago",
    _START,
)  # fmt: skip
def schedules_fire(examination: Examination) -> Verdict:
    """The schedulers keep each schedule's next run; one that has passed was missed."""
    names = examination.schedules
    states = examination.now.schedules
    latest = examination.now.at - _LATE
    missed = [
        f"{name} ({seconds((examination.now.at - next_run).total_seconds())} ago)"
        for name in names
        if name in states and (next_run := states[name].next_run) and next_run < latest
    ]
    if missed:
        remedy = _how_to_start_a_scheduler(examination)
        return failure(f"missed: {', '.join(missed)}", remedy)
    unknown = [name for name in names if name not in states or states[name].next_run is None]
    if unknown and examination.now.live_workers:
        remedy = _how_to_start_a_scheduler(examination)
        return warning(f"never seen by a scheduler: {', '.join(unknown)}", remedy)
    return ok(f"{quantity(len(names), 'schedule')} on time" if names else "no schedules")
