"""Rules on which pools accept which jobs: every job that is enqueued must run some day."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from bananas_topology.contract.values import PRIORITIES
from bananas_topology.spec.model import Pool
from bananas_topology.spec.rules.context import RuleContext, Violation, rule

#: Fields of pools that decide which jobs they accept.
_ROUTING = ("mode", "priorities", "job_types", "replicas", "autoscale")
#: Fields of pools that decide whether there is a scheduler.
_SCHEDULING = ("mode", "scheduler", "replicas")

_ADD_SCHEDULER = 'add "scheduler: {}" at the top level, or "scheduler: true" to a pool'


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


def _add_job_type(context: RuleContext, name: str) -> str:
    """The hint for a job type that no pool accepts."""
    accepted = {job_type for pool in context.workers() for job_type in pool.worker.job_types}
    if name in accepted:
        return 'set the "replicas" of a pool with this job type to 1 or more'
    near = difflib.get_close_matches(name, sorted(accepted), n=1, cutoff=0.8)
    return f'did you mean "{near[0]}"?' if near else 'add it to the "job_types" of a pool'


@rule("BT201", "No pool accepts a job at its priority", example="jobs: {a: {priority: low}}")
def jobs_are_accepted_at_their_priority(context: RuleContext) -> Iterator[Violation]:
    """Whatever priority a job or schedule sets, some pool accepts the job with it."""
    if not context.are_valid(*_ROUTING):
        return
    jobs = [
        (("jobs", name), f'job "{name}"', name, job.priority)
        for name, job in context.topology.jobs.items()
        if job.priority is not None
    ]
    jobs += [
        (("schedules", name), f'the job of schedule "{name}"', schedule.job, schedule.priority)
        for name, schedule in context.topology.schedules.items()
    ]
    for path, subject, job_type, priority in jobs:
        at_any_priority = _accepting_pools(context, job_type, None)
        if at_any_priority and not _accepting_pools(context, job_type, priority):
            at_key = not context.has((*path, "priority"))
            yield Violation(
                path if at_key else (*path, "priority"),
                f'no pool accepts {subject} at its priority "{priority}"',
                f'add "{priority}" to the "priorities" of a pool',
                at_key,
                depends_on=(("jobs", job_type, "priority"),),
            )


@rule("BT202", "No pool accepts a declared job type", example="jobs: {a: {}}")
def declared_job_types_are_accepted(context: RuleContext) -> Iterator[Violation]:
    """Some pool accepts each job type in `jobs:`."""
    if not context.are_valid(*_ROUTING):
        return
    for name in context.topology.jobs:
        if not _accepting_pools(context, name, None):
            hint = _add_job_type(context, name)
            yield Violation(("jobs", name), f'no pool accepts job "{name}"', hint, at_key=True)


@rule("BT203", "No pool accepts a scheduled job type", example="nightly: {job: a, cron: …}")
def scheduled_job_types_are_accepted(context: RuleContext) -> Iterator[Violation]:
    """Some pool accepts the job of each schedule."""
    if not context.are_valid(*_ROUTING):
        return
    for name, schedule in context.topology.schedules.items():
        if not _accepting_pools(context, schedule.job, None):
            yield Violation(
                ("schedules", name, "job"),
                f'no pool accepts job "{schedule.job}" of schedule "{name}"',
                _add_job_type(context, schedule.job),
            )


@rule("BT301", "No pool accepts a priority", example="{mode: specialized, priorities: [high]}")
def priorities_are_accepted(context: RuleContext) -> Iterator[Violation]:
    """Clients may enqueue jobs with any priority."""
    if not context.are_valid(*_ROUTING) or not list(context.workers()):
        return
    for priority in PRIORITIES:
        if not _accepting_pools(context, None, priority):
            yield Violation(
                ("pools",),
                f'no pool accepts priority "{priority}": jobs enqueued with it would never run',
                f'add "{priority}" to the "priorities" of a pool',
                at_key=True,
            )


def _has_scheduler(context: RuleContext) -> bool:
    pools = context.topology.pools
    return any(pool.worker.enable_scheduler and pool.has_replicas for pool in pools)


@rule("BT204", "Schedules without a scheduler", example="schedules: {…}")
def schedules_need_a_scheduler(context: RuleContext) -> Iterator[Violation]:
    """A scheduler fires schedules."""
    has_schedules = bool(context.topology.schedules)
    if has_schedules and context.are_valid(*_SCHEDULING) and not _has_scheduler(context):
        message = "there are schedules, but no scheduler to fire them"
        yield Violation(("schedules",), message, _ADD_SCHEDULER, at_key=True)


@rule("BT205", "Retries without a scheduler", example="max_retries: 3")
def retries_need_a_scheduler(context: RuleContext) -> Iterator[Violation]:
    """A job to be retried is delayed, and a scheduler promotes it."""
    if not context.are_valid(*_SCHEDULING, "max_retries") or _has_scheduler(context):
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
        yield Violation(
            given if context.has(given) else path,
            f"{subject} has retries, but there is no scheduler to promote them",
            f"{_ADD_SCHEDULER}, or set max_retries: 0",
            at_key=True,
        )


@rule("BT206", "Pools without handlers", example="pools: {worker: {}}")
def workers_need_handlers(context: RuleContext) -> Iterator[Violation]:
    """Handlers run the jobs."""
    if context.topology.handlers or not list(context.workers()):
        return
    yield Violation(
        ("pools",),
        "the pools run jobs, but there are no handlers",
        "list the modules with your @job functions at the top level, as in handlers: [shop.jobs]",
        at_key=True,
        depends_on=(("handlers",),),
    )
