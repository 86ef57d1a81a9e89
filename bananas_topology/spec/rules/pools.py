"""Rules on single pools, and on pools side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from bananas_topology.contract.names import SCHEDULER
from bananas_topology.contract.settings import POOL
from bananas_topology.contract.values import Mode
from bananas_topology.contract.worker import WORKER_SETTINGS
from bananas_topology.spec.build import longest_timeout_ms
from bananas_topology.spec.model import Pool
from bananas_topology.spec.nodes import plain
from bananas_topology.spec.rules.context import Finding, RuleContext
from bananas_topology.spec.schema import schema
from bananas_topology.units import format_duration

#: Fields that mean nothing to workers that run no jobs.
_ONLY_FOR_JOBS = (
    *(each.path_in(POOL)[0] for each in WORKER_SETTINGS if each.is_for_jobs),
    "autoscale",
)


def specialized_needs_priorities(context: RuleContext) -> Iterator[Finding]:
    """What a specialized pool is specialized in has to be said."""
    for pool in context.topology.pools:
        path = context.path_of(pool)
        if pool.worker.mode is Mode.SPECIALIZED and not context.has((*path, "priorities")):
            yield Finding(
                path,
                f'pool "{pool.name}" is specialized, but has no priorities',
                "say which, as in priorities: [high]; or leave out the mode",
                at_key=True,
                about=((*path, "priorities"), (*path, "mode")),
            )


def job_specialized_needs_job_types(context: RuleContext) -> Iterator[Finding]:
    """What a job-specialized pool is specialized in has to be said."""
    for pool in context.topology.pools:
        path = context.path_of(pool)
        if pool.worker.mode is Mode.JOB_SPECIALIZED and not pool.worker.job_types:
            yield Finding(
                path,
                f'pool "{pool.name}" is job-specialized, but has no job types: '
                "job-specialized mode requires at least one job type to be specified",
                "say which, as in job_types: [send_email]; or leave out the mode",
                at_key=True,
                about=((*path, "job_types"), (*path, "mode")),
            )


def job_types_need_job_specialized(context: RuleContext) -> Iterator[Finding]:
    """In other modes job types would be ignored, and nothing is parsed and ignored."""
    for pool in context.workers():
        path = (*context.path_of(pool), "job_types")
        if pool.worker.mode is not Mode.JOB_SPECIALIZED and context.has(path):
            yield Finding(
                path,
                f'pool "{pool.name}" has job types, which mode "{pool.worker.mode}" takes all of',
                "set mode: job-specialized, or leave the job types out",
                at_key=True,
                about=((*path[:-1], "mode"),),
            )


def a_scheduler_runs_no_jobs(context: RuleContext) -> Iterator[Finding]:
    """A pool in mode scheduler-only has no threads and takes nothing."""
    for pool in context.topology.pools:
        path = context.path_of(pool)
        if pool.worker.mode is not Mode.SCHEDULER_ONLY or path == (SCHEDULER,):
            continue
        for name in _ONLY_FOR_JOBS:
            node = context.node((*path, name))
            if node is None or (name == "scheduler" and plain(node) is True):
                continue
            yield Finding(
                (*path, name),
                f'pool "{pool.name}" is scheduler-only and runs no jobs, but has "{name}"',
                "leave it out",
                at_key=True,
                about=((*path, "mode"),),
            )


def a_backoff_ends_above_its_beginning(context: RuleContext) -> Iterator[Finding]:
    """The longest wait is not shorter than the first."""
    for name, job in context.topology.jobs.items():
        base_ms, cap_ms = job.backoff_base_ms, job.backoff_cap_ms
        if base_ms is not None and cap_ms is not None and cap_ms < base_ms:
            yield Finding(
                ("jobs", name, "backoff", "cap"),
                f'the backoff of job "{name}" ends at {format_duration(cap_ms)}, '
                f"below its beginning at {format_duration(base_ms)}",
                "exchange base and cap",
            )


def a_pool_has_a_name_of_its_own(context: RuleContext) -> Iterator[Finding]:
    """Rendered services and objects are called like pools: redis, api and scheduler are taken."""
    taken = {"redis": "the server is called so in rendered output, so a pool cannot be"}
    if context.has(("api",)):
        taken["api"] = 'the "api:" section is called so, so a pool cannot be'
    if context.has((SCHEDULER,)):
        taken[SCHEDULER] = 'the "scheduler:" section is a pool of this name already'
    for name, reason in taken.items():
        if context.has(("pools", name)):
            message = f'no pool can be called "{name}": {reason}'
            yield Finding(("pools", name), message, "choose another name", at_key=True)


def a_stop_waits_for_the_longest_job(context: RuleContext) -> Iterator[Finding]:
    """A grace shorter than a job's timeout hands back jobs that would have ended in time."""
    for pool in context.workers():
        path = (*context.path_of(pool), "grace")
        grace_ms = pool.worker.grace_ms
        longest_ms = longest_timeout_ms(pool.worker, context.topology.jobs)
        if context.has(path) and grace_ms < longest_ms:
            yield Finding(
                path,
                f'"grace" of pool "{pool.name}" is {format_duration(grace_ms)}, less than its '
                f"longest job timeout, {format_duration(longest_ms)}: a stop interrupts such jobs, "
                "and they start over",
                f"set {format_duration(longest_ms)}, or leave it out",
                about=((*path[:-1], "job_timeout"), ("jobs",)),
            )


def pools_differ_in_something(context: RuleContext) -> Iterator[Finding]:
    """Two pools of one kind are one pool with more replicas."""
    if not context.is_sure_of(*schema()["$defs"]["pool"]["properties"]):
        return
    seen: list[tuple[Pool, Pool]] = []
    for pool in context.topology.pools:
        blank = replace(pool, name="", replicas=0)
        twin = next((first for first, its_blank in seen if its_blank == blank), None)
        if twin is not None:
            yield Finding(
                context.path_of(pool),
                f'pools "{twin.name}" and "{pool.name}" differ in nothing but their names',
                f"one pool with replicas: {twin.replicas + pool.replicas} is the same",
                at_key=True,
            )
        seen.append((pool, blank))


def thin_stands_alone(context: RuleContext) -> Iterator[Finding]:
    """A thin pool is a whole deployment; beside others it takes what they are there for."""
    workers = list(context.workers())
    if not context.is_sure_of("mode", "priorities", "job_types"):
        return
    for thin in (pool for pool in workers if pool.worker.mode is Mode.THIN):
        others = [
            pool.name
            for pool in workers
            if pool is not thin and set(pool.worker.priorities) & set(thin.worker.priorities)
        ]
        if others:
            names = ", ".join(f'"{name}"' for name in others)
            yield Finding(
                context.path_of(thin),
                f'pool "{thin.name}" is thin, and takes the same jobs as {names}',
                "thin is for a deployment of one pool; use mode: default",
                at_key=True,
            )


def replicas_share_no_log_file(context: RuleContext) -> Iterator[Finding]:
    """Processes that rotate one file lose each other's lines."""
    paths: dict[str, str] = {}
    for pool in context.topology.pools:
        file_path = pool.worker.log_file_path
        if not pool.worker.log_file_enabled:
            continue
        path = (*context.path_of(pool), "logging", "file", "enabled")
        is_many = pool.replicas > 1 or (
            pool.autoscale is not None and pool.autoscale.max_replicas > 1
        )
        other = paths.setdefault(file_path, pool.name)
        if is_many or other != pool.name:
            with_whom = "its own replicas" if is_many else f'pool "{other}"'
            yield Finding(
                path,
                f'pool "{pool.name}" writes {file_path} together with {with_whom}: on one host or '
                "volume they rotate it under each other, and lines are lost",
                "log to the console, and leave the files to what collects it",
                about=((*path[:1], path[1], "replicas"),),
            )
