"""Checks for known symptoms: jobs that do not run although everything seems to be up."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from bananas_topology.doctor.check import Group, Verdict, check, failure, ok, warning
from bananas_topology.doctor.examination import Examination
from bananas_topology.doctor.wording import listing
from bananas_topology.jobs.stranded import Action
from bananas_topology.jobs.survey import Survey, WaitingList, WorkerStatus
from bananas_topology.units import quantity

#: How recently a job must have timed out to be reported.
_RECENT = timedelta(hours=1)


def _handles(worker: WorkerStatus, waiting: WaitingList) -> bool:
    return waiting.priority in worker.priorities and (
        waiting.job_type is None or waiting.job_type in worker.job_types
    )


def _name(waiting: WaitingList) -> str:
    return f"{waiting.priority}: {waiting.job_type}" if waiting.job_type else waiting.priority


@check(
    "DR501", Group.TROUBLE, "Job processing",
    "while jobs wait, workers run, and no thread that accepts them stays idle",
    "read the workers' logs; bananas up starts workers",
)  # fmt: skip
def jobs_are_processed(examination: Examination) -> Verdict:
    """A head of a queue that nobody takes while a worker that could has a free thread."""
    now, samples = examination.now, examination.samples
    if now.ready and not any(sample.live_workers for sample in samples):
        return failure(f"{quantity(now.ready, 'ready job')}, no workers running")
    stuck = [
        _name(waiting)
        for waiting in now.lists
        if waiting.head is not None
        and not waiting.is_suspect
        and all(_is_idle_at(waiting, sample) for sample in samples)
    ]
    if stuck:
        return failure(f"not claimed though threads are free: {listing(stuck)}")
    return ok(f"{now.ready:,} ready, {quantity(len(now.live_workers), 'worker')}")


def _is_idle_at(waiting: WaitingList, sample: Survey) -> bool:
    """Whether this job was at the head of this list, and a worker that accepts it had room."""
    was_there = any(
        (each.priority, each.job_type, each.head)
        == (waiting.priority, waiting.job_type, waiting.head)
        for each in sample.lists
    )
    return was_there and any(
        worker.busy < worker.concurrency and _handles(worker, waiting)
        for worker in sample.live_workers
    )


@check(
    "DR502", Group.TROUBLE, "Priorities without workers",
    "a live worker accepts every priority in which jobs wait",
    "start the pool that accepts it: bananas up --only POOL, or bananas scale POOL=1 where "
    "`bananas up` runs",
)  # fmt: skip
def priorities_have_workers(examination: Examination) -> Verdict:
    """The shared queue of a priority that no live worker claims from."""
    workers = examination.workers
    accepted = {priority for worker in workers for priority in worker.priorities}
    waiting = {
        each.priority: each.length
        for each in examination.now.lists
        if each.job_type is None and each.length and each.priority not in accepted
    }
    if waiting:
        depths = [f"{priority} ({length:,})" for priority, length in waiting.items()]
        return failure(f"no worker accepts {listing(depths)}", _start(examination, waiting.keys()))
    return ok(f"workers accept {', '.join(sorted(accepted))}" if accepted else "none waiting")


def _start(examination: Examination, priorities: Collection[str]) -> str | None:
    """How to start the pools that accept jobs of these priorities, if the topology has any."""
    if examination.file is None or examination.file.topology is None:
        return None
    pools = [
        pool for pool in examination.job_pools() if set(priorities) & set(pool.worker.priorities)
    ]
    command = examination.start_command([pool.name for pool in pools])
    return command or "add the priority to a pool's priorities"


@check(
    "DR503", Group.TROUBLE, "Job types without handlers",
    "a live worker has a handler for every job type that waits",
    "add the handler's module to `handlers`, or the job type to a pool's job_types",
)  # fmt: skip
def waiting_types_have_handlers(examination: Examination) -> Verdict:
    """Jobs that every worker has parked, because none handles their type."""
    workers = examination.workers
    unhandled = [
        f"{_name(each)} ({each.length:,})"
        for each in examination.now.lists
        if each.job_type is not None
        and each.length
        and not any(_handles(worker, each) for worker in workers)
    ]
    if unhandled:
        return failure(f"no handler: {listing(unhandled)}")
    return ok("every waiting job type has a handler")


@check(
    "DR504", Group.TROUBLE, "Declared job types",
    "a live worker has a handler for each type under `jobs`, `job_types` and `schedules`",
    "add the handler's module to `handlers`",
)  # fmt: skip
def declared_types_have_handlers(examination: Examination) -> Verdict:
    """A type without a handler waits as soon as somebody enqueues it."""
    declared = examination.declared_types
    runners = [worker for worker in examination.workers if worker.concurrency]
    handled = {name for worker in runners for name in worker.job_types}
    missing = sorted(declared - handled)
    if missing:
        return warning(f"no handler: {listing(missing)}")
    return ok(f"{quantity(len(declared), 'declared job type')}, all handled")


@check(
    "DR505", Group.TROUBLE, "Timed-out jobs",
    "no job that died, or waits to be retried, timed out in the last hour",
    "bananas dead list --error timeout, or the workers' logs; raise `timeout` for the job type, or "
    "fix its handler",
)  # fmt: skip
def jobs_do_not_time_out(examination: Examination) -> Verdict:
    """Of the most recent dead jobs, and the delayed jobs that are due next."""
    since = examination.now.at - _RECENT
    dead, retried = (
        sum(each.type == "JobTimeout" and each.at is not None and each.at >= since for each in of)
        for of in (examination.now.recent_failures, examination.now.retry_failures)
    )
    if dead or retried:
        return warning(
            f"timed out in the last hour: {quantity(dead, 'dead job')}, {retried:,} to be retried"
        )
    return ok("no recent job timed out")


@check(
    "DR506", Group.TROUBLE, "Other schedulers",
    "no scheduler of the Go implementation fires the same schedules",
    "stop the Go scheduler: it does not share the guarantee that an occurrence fires once",
)  # fmt: skip
def schedulers_are_ours(examination: Examination) -> Verdict:
    """Any number of our schedulers is safe; a Go scheduler locks each schedule as it fires."""
    locked = sorted(
        {
            name
            for sample in examination.samples
            for name, each in sample.schedules.items()
            if each.is_locked
        }
    )
    return warning(f"locked by another scheduler: {listing(locked)}") if locked else ok("none seen")


@check(
    "DR507", Group.TROUBLE, "Worker crashes",
    "no jobs isolated after worker crashes, and no expired lease with claims",
    "bananas queues lists the isolated job types; read the logs of the workers that crashed",
)  # fmt: skip
def workers_do_not_crash(examination: Examination) -> Verdict:
    """Suspects run alone, and at most one job at a time: they also cost throughput."""
    now = examination.now
    suspects = [f"{_name(each)} ({each.length})" for each in now.lists if each.is_suspect]
    gone = [each for each in now.workers if not each.is_alive(now.now_ms) and each.running]
    if gone and not now.live_workers:
        held = sum(each.running for each in gone)
        return failure(
            f"{quantity(held, 'job')} held by workers that are gone, and none to recover them",
            "bananas up: any worker recovers them",
        )
    if suspects:
        # Without suspects, a quarantine is over that has not expired yet.
        drains = f"; worker {now.quarantine} is draining to run one" if now.quarantine else ""
        return warning(f"isolated after crashes: {listing(suspects)}{drains}")
    if gone:
        return warning(f"lease expired: {listing([each.worker_id for each in gone])}")
    return ok("no isolated jobs, no expired leases")


@check(
    "DR508", Group.TROUBLE, "Stranded jobs",
    "nothing in queue:processing for longer than the longest timeout plus 5 min",
    "bananas rescue, then bananas rescue --yes",
)  # fmt: skip
def nothing_is_stranded(examination: Examination) -> Verdict:
    """Workers of the Go implementation leave their jobs there when they die."""
    stranded = [job for job in examination.processing if job.action is not Action.WAIT]
    held = examination.now.processing
    if stranded:
        return warning(f"{quantity(len(stranded), 'job')} stranded, {held:,} in queue:processing")
    return ok(f"{held:,} in queue:processing")


@check(
    "DR509", Group.TROUBLE, "Registered workers",
    "if `bananas up` runs here, its workers are registered on the server examined",
    "bananas ps shows whether they run, bananas logs why not; if they do, compare --redis-url, "
    "REDIS_URL and redis.key_prefix with theirs",
)  # fmt: skip
def workers_are_here(examination: Examination) -> Verdict:
    """Jobs enqueued on another server, or under another prefix, are never seen by the workers."""
    live = examination.now.live_workers
    if not examination.is_up:
        return ok("`bananas up` does not run here")
    if live:
        return ok(quantity(len(live), "registered worker"))
    return failure("`bananas up` runs here, but no worker is registered")
