"""Rules on single pools, and on pools beside each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from bananas_topology.contract.names import API, REDIS, SCHEDULER
from bananas_topology.contract.settings import POOL
from bananas_topology.contract.values import Mode
from bananas_topology.contract.worker import WORKER_SETTINGS
from bananas_topology.spec.build import longest_timeout_ms
from bananas_topology.spec.model import Pool
from bananas_topology.spec.nodes import plain
from bananas_topology.spec.rules.context import RuleContext, Violation, rule
from bananas_topology.spec.schema import schema
from bananas_topology.units import format_duration

#: Fields that a scheduler-only pool cannot set.
_ONLY_FOR_JOBS = (
    *(each.path_in(POOL)[0] for each in WORKER_SETTINGS if each.is_for_jobs),
    "autoscale",
)


@rule("BT210", "Specialized pool without priorities", example="mode: specialized")
def specialized_pools_need_priorities(context: RuleContext) -> Iterator[Violation]:
    """A specialized pool is specialized in priorities."""
    for pool in context.topology.pools:
        path = context.path_of(pool)
        if pool.worker.mode is Mode.SPECIALIZED and not context.has((*path, "priorities")):
            yield Violation(
                path,
                f'pool "{pool.name}" is specialized, but has no priorities',
                "set them, as in priorities: [high]; or remove the mode",
                at_key=True,
                depends_on=((*path, "priorities"), (*path, "mode")),
            )


@rule("BT211", "Job-specialized pool without job types", example="mode: job-specialized")
def job_specialized_pools_need_job_types(context: RuleContext) -> Iterator[Violation]:
    """A job-specialized pool is specialized in job types."""
    for pool in context.topology.pools:
        path = context.path_of(pool)
        if pool.worker.mode is Mode.JOB_SPECIALIZED and not pool.worker.job_types:
            yield Violation(
                path,
                f'pool "{pool.name}" is job-specialized, but has no job types: '
                "job-specialized mode requires at least one job type to be specified",
                "set them, as in job_types: [send_email]; or remove the mode",
                at_key=True,
                depends_on=((*path, "job_types"), (*path, "mode")),
            )


@rule("BT212", "Job types in a mode that accepts all", example="{mode: thin, job_types: [a]}")
def job_types_need_mode_job_specialized(context: RuleContext) -> Iterator[Violation]:
    """Other modes would ignore them, and no field is silently ignored."""
    for pool in context.workers():
        path = (*context.path_of(pool), "job_types")
        if pool.worker.mode is not Mode.JOB_SPECIALIZED and context.has(path):
            yield Violation(
                path,
                f'pool "{pool.name}" has job types, but mode "{pool.worker.mode}" accepts all',
                "set mode: job-specialized, or remove job_types",
                at_key=True,
                depends_on=((*path[:-1], "mode"),),
            )


@rule(
    "BT213",
    "Worker-only field in a scheduler-only pool",
    example="{mode: scheduler-only, grace: 5m}",
)
def schedulers_have_no_worker_fields(context: RuleContext) -> Iterator[Violation]:
    """A pool in mode scheduler-only has no threads and accepts no jobs."""
    for pool in context.topology.pools:
        path = context.path_of(pool)
        if pool.worker.mode is not Mode.SCHEDULER_ONLY or path == (SCHEDULER,):
            continue
        for name in _ONLY_FOR_JOBS:
            node = context.node((*path, name))
            if node is None or (name == "scheduler" and plain(node) is True):
                continue
            yield Violation(
                (*path, name),
                f'pool "{pool.name}" is scheduler-only and runs no jobs, but sets "{name}"',
                "remove it",
                at_key=True,
                depends_on=((*path, "mode"),),
            )


@rule("BT214", "Backoff cap below base", example="backoff: {base: 1m, cap: 1s}")
def a_backoff_cap_is_not_below_its_base(context: RuleContext) -> Iterator[Violation]:
    """The longest delay is not shorter than the first."""
    for name, job in context.topology.jobs.items():
        base_ms, cap_ms = job.backoff_base_ms, job.backoff_cap_ms
        if base_ms is not None and cap_ms is not None and cap_ms < base_ms:
            yield Violation(
                ("jobs", name, "backoff", "cap"),
                f'the backoff of job "{name}" has cap {format_duration(cap_ms)} below base '
                f"{format_duration(base_ms)}",
                "swap base and cap",
            )


@rule("BT215", "Reserved pool name", example="pools: {redis: {}}")
def pool_names_are_not_reserved(context: RuleContext) -> Iterator[Violation]:
    """Rendered services and objects are named after pools."""
    reserved = {REDIS: "rendered output uses it for the server"}
    if context.has((API,)):
        reserved[API] = 'the "api:" section uses it'
    if context.has((SCHEDULER,)):
        reserved[SCHEDULER] = 'the "scheduler:" section uses it'
    for name, reason in reserved.items():
        if context.has(("pools", name)):
            message = f'the pool name "{name}" is reserved: {reason}'
            yield Violation(("pools", name), message, "choose another name", at_key=True)


@rule(
    "BT302",
    "Grace period shorter than a job timeout",
    example="{job_timeout: 10m, grace: 30s}",
)
def grace_is_not_shorter_than_a_job(context: RuleContext) -> Iterator[Violation]:
    """A shorter grace period interrupts jobs that would have finished in time."""
    for pool in context.workers():
        path = (*context.path_of(pool), "grace")
        grace_ms = pool.worker.grace_ms
        longest_ms = longest_timeout_ms(pool.worker, context.topology.jobs)
        if context.has(path) and grace_ms < longest_ms:
            yield Violation(
                path,
                f'"grace" of pool "{pool.name}" is {format_duration(grace_ms)}, shorter than its '
                f"longest job timeout, {format_duration(longest_ms)}: a stop interrupts such jobs, "
                "and they start over",
                f"set {format_duration(longest_ms)}, or remove it",
                depends_on=((*path[:-1], "job_timeout"), ("jobs",)),
            )


@rule("BT303", "Identical pools", example="pools: {a: {}, b: {}}")
def pools_differ(context: RuleContext) -> Iterator[Violation]:
    """Two identical pools are one pool with more replicas."""
    if not context.are_valid(*schema()["$defs"]["pool"]["properties"]):
        return
    seen: list[tuple[Pool, Pool]] = []
    for pool in context.topology.pools:
        nameless = replace(pool, name="", replicas=0)
        twin = next((first for first, other in seen if other == nameless), None)
        if twin is not None:
            yield Violation(
                context.path_of(pool),
                f'pools "{twin.name}" and "{pool.name}" are identical except for their names',
                f"use one pool with replicas: {twin.replicas + pool.replicas}",
                at_key=True,
            )
        seen.append((pool, nameless))


@rule("BT304", "Thin pool beside other pools", example="pools: {a: {mode: thin}, b: {}}")
def a_thin_pool_stands_alone(context: RuleContext) -> Iterator[Violation]:
    """A thin pool is a whole deployment; beside others it accepts jobs that are meant for them."""
    workers = list(context.workers())
    if not context.are_valid("mode", "priorities", "job_types"):
        return
    for thin in (pool for pool in workers if pool.worker.mode is Mode.THIN):
        others = [
            pool.name
            for pool in workers
            if pool is not thin and set(pool.worker.priorities) & set(thin.worker.priorities)
        ]
        if others:
            names = ", ".join(f'"{name}"' for name in others)
            yield Violation(
                context.path_of(thin),
                f'pool "{thin.name}" is thin, and accepts the same jobs as {names}',
                "thin is for deployments with a single pool; use mode: default",
                at_key=True,
            )


@rule(
    "BT305",
    "Log file shared by processes",
    example="{replicas: 2, logging: {file: {enabled: true}}}",
)
def processes_share_no_log_file(context: RuleContext) -> Iterator[Violation]:
    """Processes that rotate the same file lose each other's lines."""
    paths: dict[str, str] = {}
    for pool in context.topology.pools:
        file = pool.worker.log_file_path
        if not pool.worker.log_file_enabled:
            continue
        path = context.path_of(pool)
        has_many = pool.replicas > 1 or (
            pool.autoscale is not None and pool.autoscale.max_replicas > 1
        )
        other = paths.setdefault(file, pool.name)
        if has_many or other != pool.name:
            sharers = "its replicas share" if has_many else f'it shares with pool "{other}"'
            yield Violation(
                (*path, "logging", "file", "enabled"),
                f'pool "{pool.name}" logs to {file}, which {sharers}: on one host or volume, lines '
                "are lost when the file is rotated",
                "log to the console, and let a log collector write files",
                depends_on=((*path, "replicas"),),
            )
