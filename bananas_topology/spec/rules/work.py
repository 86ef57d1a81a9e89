"""Rules on who takes which jobs: nothing that is enqueued may lie for ever."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from bananas_topology.contract.values import PRIORITIES
from bananas_topology.spec.model import Pool
from bananas_topology.spec.rules.context import Finding, RuleContext

_FLOW = ("mode", "priorities", "job_types", "replicas", "autoscale")
_SCHEDULING = ("mode", "scheduler", "replicas")


def _accepting_pools(
    context: RuleContext, job_type: str | None, priority: str | None
) -> list[Pool]:
    """The pools that accept such a job; None means any."""
    return [
        pool
        for pool in context.workers()
        if pool.has_replicas
        and (job_type is None or not pool.worker.job_types or job_type in pool.worker.job_types)
        and (priority is None or priority in pool.worker.priorities)
    ]


def _missing_type(context: RuleContext, name: str) -> str:
    """How to mend that no pool takes a job type."""
    taken = {job_type for pool in context.workers() for job_type in pool.worker.job_types}
    near = difflib.get_close_matches(name, sorted(taken), n=1, cutoff=0.8)
    return f'did you mean "{near[0]}"?' if near else 'add it to the "job_types" of a pool'


def a_declared_job_type_is_taken_by_some_pool(context: RuleContext) -> Iterator[Finding]:
    """Each job type of `jobs:` has a pool that takes it."""
    for name in context.topology.jobs if context.is_sure_of(*_FLOW) else ():
        if not _accepting_pools(context, name, None):
            yield Finding(
                ("jobs", name),
                f'job "{name}" is taken by no pool',
                _missing_type(context, name),
                at_key=True,
            )


def a_scheduled_job_is_taken_by_some_pool(context: RuleContext) -> Iterator[Finding]:
    """Each schedule's job type has a pool that takes it."""
    for name, schedule in context.topology.schedules.items() if context.is_sure_of(*_FLOW) else ():
        if not _accepting_pools(context, schedule.job, None):
            yield Finding(
                ("schedules", name, "job"),
                f'job "{schedule.job}" of schedule "{name}" is accepted by no pool',
                _missing_type(context, schedule.job),
            )


def a_used_priority_is_taken_by_some_pool(context: RuleContext) -> Iterator[Finding]:
    """Each priority that a job or a schedule names has a pool that takes that job with it."""
    if not context.is_sure_of(*_FLOW):
        return
    used = [
        (("jobs", name), f'job "{name}"', name, job.priority)
        for name, job in context.topology.jobs.items()
        if job.priority is not None
    ]
    used += [
        (("schedules", name), f'schedule "{name}"', schedule.job, schedule.priority)
        for name, schedule in context.topology.schedules.items()
    ]
    for path, subject, job_type, priority in used:
        any_priority = _accepting_pools(context, job_type, None)
        if any_priority and not _accepting_pools(context, job_type, priority):
            at_key = not context.has((*path, "priority"))
            yield Finding(
                path if at_key else (*path, "priority"),
                f'{subject} has priority "{priority}", with which no pool takes it',
                f'add "{priority}" to the "priorities" of a pool',
                at_key,
                about=(("jobs", job_type, "priority"),),
            )


def every_priority_is_taken_by_some_pool(context: RuleContext) -> Iterator[Finding]:
    """A job with a priority that no pool takes would lie for ever."""
    if not context.is_sure_of(*_FLOW) or not list(context.workers()):
        return
    for priority in PRIORITIES:
        if not _accepting_pools(context, None, priority):
            yield Finding(
                ("pools",),
                f'priority "{priority}" is taken by no pool: jobs enqueued with it would wait '
                "for ever",
                f'add "{priority}" to the "priorities" of a pool',
                at_key=True,
            )


def _has_scheduler(context: RuleContext) -> bool:
    return any(
        pool.worker.enable_scheduler and pool.has_replicas for pool in context.topology.pools
    )


_ADD_SCHEDULER = 'add "scheduler: {}" at the top, or "scheduler: true" to a pool'


def schedules_need_a_scheduler(context: RuleContext) -> Iterator[Finding]:
    """Schedules are fired by a scheduler."""
    if (
        context.topology.schedules
        and context.is_sure_of(*_SCHEDULING)
        and not _has_scheduler(context)
    ):
        message = "there are schedules, but no scheduler anywhere to fire them"
        yield Finding(("schedules",), message, _ADD_SCHEDULER, at_key=True)


def retries_need_a_scheduler(context: RuleContext) -> Iterator[Finding]:
    """A job that is to run again waits among the scheduled, and a scheduler brings it back."""
    if not context.is_sure_of(*_SCHEDULING, "max_retries") or _has_scheduler(context):
        return
    pools = [
        (context.path_of(pool), f'pool "{pool.name}"')
        for pool in context.workers()
        if pool.worker.max_retries > 0
    ]
    jobs = [
        (("jobs", name), f'job "{name}"')
        for name, job in context.topology.jobs.items()
        if job.max_retries
    ]
    for path, subject in [*pools, *jobs][:1]:
        given = (*path, "max_retries")
        yield Finding(
            given if context.has(given) else path,
            f"{subject} has retries, but no scheduler anywhere brings them back",
            f"{_ADD_SCHEDULER}, or set max_retries: 0",
            at_key=True,
        )


def workers_need_handlers(context: RuleContext) -> Iterator[Finding]:
    """Someone has to run the jobs."""
    if context.topology.handlers or not list(context.workers()):
        return
    yield Finding(
        ("pools",),
        "the pools run jobs, but there are no handlers",
        "name the modules with your @job functions at the top, as in handlers: [shop.jobs]",
        at_key=True,
        about=(("handlers",),),
    )
