"""A document to a `Topology`, with all defaults filled in and modes resolved.

Expects a checked shape, with everything invalid pruned. Then it always succeeds, with defaults in
the place of invalid values, so that the rules can check the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bananas_topology.contract.jobs import KEEP_FIELDS, JobSettings, Keep, Schedule
from bananas_topology.contract.names import SCHEDULER
from bananas_topology.contract.settings import POOL
from bananas_topology.contract.values import PRESETS, Mode
from bananas_topology.contract.worker import SCHEDULER_ONLY, WORKER_SETTINGS, WorkerConfig
from bananas_topology.spec.container_parts import container_of
from bananas_topology.spec.model import ManagedRedis, Pool, Redis, SecretKey, Topology
from bananas_topology.spec.nodes import ScalarNode, child
from bananas_topology.spec.parts import (
    api_of,
    autoscale_of,
    compose_of,
    disruption_of,
    egress_of,
    kubernetes_of,
    log_format_of,
    placement_of,
    resources_of,
)
from bananas_topology.spec.section import SectionReader

#: How long the scheduler's container may take to start; as that of a pool, in milliseconds.
DEFAULT_STARTUP_MS = 300_000


def build(root: SectionReader, path: Path) -> Topology:
    """Make the topology of a file whose top-level map is `root`."""
    name = root.string("name") or "unnamed"
    image = root.string("image")
    jobs = {name: _job(section) for name, section in root.section("jobs").entries()}
    pools = []
    for pool_name, section in root.section("pools").entries():
        worker = _worker(section, jobs, has_scheduler_section=root.has(SCHEDULER))
        pools.append(_pool(pool_name, section, worker, image))
    if root.has(SCHEDULER):
        section = root.section(SCHEDULER)
        given = section.settings(WORKER_SETTINGS, SCHEDULER)
        pools.append(_pool(SCHEDULER, section, _scheduler_only(given), image))
    return Topology(
        path=path,
        name=name,
        image=image,
        build=root.optional_string("build"),
        handlers=root.strings("handlers"),
        redis=_redis(root.section("redis")),
        jobs=jobs,
        pools=tuple(pools),
        schedules={
            name: _schedule(section, jobs) for name, section in root.section("schedules").entries()
        },
        api=api_of(root.section("api"), image) if root.has("api") else None,
        kubernetes=kubernetes_of(root.section("kubernetes"), name),
        compose=compose_of(root.section("compose")),
    )


def _job(section: SectionReader) -> JobSettings:
    backoff, keep = section.section("backoff"), section.section("keep")
    return JobSettings(
        priority=section.optional_string("priority"),
        timeout_ms=section.optional_duration_ms("timeout"),
        max_retries=section.optional_integer("max_retries"),
        backoff_base_ms=backoff.optional_duration_ms("base"),
        backoff_cap_ms=backoff.optional_duration_ms("cap"),
        keep=Keep(
            **{
                field: keep.optional_duration_ms(name, at_least=0)
                for name, field in KEEP_FIELDS.items()
            }
        ),
    )


def _pool(name: str, section: SectionReader, worker: WorkerConfig, image: str) -> Pool:
    autoscale = autoscale_of(section.section("autoscale")) if section.has("autoscale") else None
    return Pool(
        name=name,
        worker=worker,
        log_format=log_format_of(section),
        replicas=section.integer("replicas", autoscale.min_replicas if autoscale else 1),
        image=section.optional_string("image") or image,
        env=section.string_map("env"),
        secrets=section.strings("secrets"),
        resources=resources_of(section.section("resources")),
        autoscale=autoscale,
        placement=placement_of(section),
        disruption=disruption_of(section),
        egress=egress_of(section),
        container=container_of(section),
        startup_ms=(
            section.duration_ms("startup", at_least=1_000)
            if section.has_field("startup")
            else DEFAULT_STARTUP_MS
        ),
    )


def _worker(
    section: SectionReader, jobs: Mapping[str, JobSettings], has_scheduler_section: bool
) -> WorkerConfig:
    given = section.settings(WORKER_SETTINGS, POOL)
    mode = given.setdefault("mode", Mode.DEFAULT)
    if mode is Mode.SCHEDULER_ONLY:
        return _scheduler_only(given)
    if mode is not Mode.JOB_SPECIALIZED:
        given.pop("job_types", None)
    preset = PRESETS[mode]
    given.setdefault("concurrency", preset.concurrency)
    has_scheduler = preset.has_scheduler
    if has_scheduler is None:
        has_scheduler = not has_scheduler_section
    given.setdefault("enable_scheduler", has_scheduler)
    worker = WorkerConfig(**given)
    if "grace_ms" in given:
        return worker
    return replace(worker, grace_ms=max(worker.grace_ms, longest_timeout_ms(worker, jobs)))


def _scheduler_only(given: Mapping[str, Any]) -> WorkerConfig:
    return WorkerConfig(**{**given, "mode": Mode.SCHEDULER_ONLY, **SCHEDULER_ONLY})


def longest_timeout_ms(worker: WorkerConfig, jobs: Mapping[str, JobSettings]) -> int:
    """The longest time that a job may run in a worker; `jobs` are the topology's job types."""
    own = [
        job.timeout_ms
        for job_type, job in jobs.items()
        if job.timeout_ms is not None
        and (not worker.job_types or job_type in worker.job_types)
        and (job.priority is None or job.priority in worker.priorities)
    ]
    # The pool's own timeout applies unless each of its job types sets one.
    if worker.job_types and len(own) == len(worker.job_types):
        return max(own)
    return max(*own, worker.job_timeout_ms, 0)


def _schedule(section: SectionReader, jobs: Mapping[str, JobSettings]) -> Schedule:
    job = section.string("job")
    settings = jobs.get(job)
    default = (settings.priority if settings else None) or "normal"
    return Schedule(
        cron=section.string("cron"),
        job=job,
        timezone=section.string("timezone"),
        payload=section.value("payload"),
        priority=section.optional_string("priority") or default,
        catch_up=section.boolean("catch_up"),
    )


def _redis(section: SectionReader) -> Redis:
    node = child(section.node, "url")
    is_unset = isinstance(node, ScalarNode) and node.unset is not None
    url = section.optional_string("url") or None
    managed, secret = section.section("managed"), section.section("secret")
    has_secret = section.has("secret")
    return Redis(
        url=url,
        secret=SecretKey(secret.string("name"), secret.string("key")) if has_secret else None,
        key_prefix=section.string("key_prefix"),
        managed=ManagedRedis(
            image=managed.string("image"),
            storage_bytes=managed.memory_bytes("storage") or 0,
            memory_bytes=managed.memory_bytes("memory") or 0,
        ),
        is_external=url is not None or is_unset or has_secret,
    )
