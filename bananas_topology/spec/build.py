"""A document to a `Topology`: defaults are filled in and modes are resolved, here and nowhere else.

Expects that the shape was checked and that what failed was pruned: then it always succeeds, with
defaults in the place of what is wrong, so that the rules can look at the rest.
"""

from __future__ import annotations

from collections.abc import Mapping as Map
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path as FilePath

from bananas_topology.contract.names import SCHEDULER
from bananas_topology.contract.worker import (
    MAX_SCHEDULER_INTERVAL_MS,
    MIN_LEASE_MS,
    MIN_SCHEDULER_INTERVAL_MS,
    PRIORITIES,
)
from bananas_topology.spec.model import (
    JobSettings,
    ManagedRedis,
    Mode,
    Pool,
    Redis,
    Schedule,
    Topology,
)
from bananas_topology.spec.nodes import Scalar, child
from bananas_topology.spec.parts import (
    api_of,
    autoscale_of,
    compose_of,
    disruption_of,
    egress_of,
    kubernetes_of,
    logging_of,
    placement_of,
    resources_of,
    results_of,
)
from bananas_topology.spec.section import Section

#: A stop waits at least this long, in milliseconds, however short the jobs are.
MIN_GRACE_MS = 30_000


@dataclass(frozen=True, slots=True)
class Preset:
    """What a mode stands for; `has_scheduler` None: unless there is a `scheduler:` section."""

    concurrency: int
    has_scheduler: bool | None


PRESETS: Map[Mode, Preset] = {
    Mode.THIN: Preset(concurrency=5, has_scheduler=True),
    Mode.DEFAULT: Preset(concurrency=10, has_scheduler=None),
    Mode.SPECIALIZED: Preset(concurrency=10, has_scheduler=False),
    Mode.JOB_SPECIALIZED: Preset(concurrency=10, has_scheduler=False),
    Mode.SCHEDULER_ONLY: Preset(concurrency=0, has_scheduler=True),
}


def build(root: Section, path: FilePath, source: bytes) -> Topology:
    """Make the topology of a file whose top map is `root`, from `path` with the bytes `source`."""
    name = root.text("name") or "unnamed"
    image = root.text("image")
    jobs = {section.path[-1]: _job(section) for section in _entries(root, "jobs")}
    named_jobs = {str(job): settings for job, settings in jobs.items()}
    pools = [_pool(section, root, image, named_jobs) for section in _entries(root, "pools")]
    if root.has(SCHEDULER):
        pools.append(_scheduler(root.section(SCHEDULER), image))
    return Topology(
        path=path,
        digest=sha256(source).hexdigest(),
        name=name,
        image=image,
        build=root.optional_text("build"),
        handlers=root.texts("handlers"),
        redis=_redis(root.section("redis")),
        jobs=named_jobs,
        pools=tuple(pools),
        schedules=tuple(_schedule(each, named_jobs) for each in _entries(root, "schedules")),
        api=api_of(root.section("api"), image) if root.has("api") else None,
        kubernetes=kubernetes_of(root.section("kubernetes"), name),
        compose=compose_of(root.section("compose")),
    )


def _entries(root: Section, name: str) -> list[Section]:
    """The sections of a map of sections, in file order."""
    section = root.section(name)
    return [section.section(each) for each in section.names()]


def _job(section: Section) -> JobSettings:
    backoff = section.section("backoff")
    return JobSettings(
        name=str(section.path[-1]),
        priority=section.optional_text("priority"),
        timeout_ms=section.optional_duration_ms("timeout"),
        max_retries=section.optional_whole("max_retries"),
        backoff_base_ms=backoff.optional_duration_ms("base"),
        backoff_cap_ms=backoff.optional_duration_ms("cap"),
    )


def _pool(section: Section, root: Section, image: str, jobs: Map[str, JobSettings]) -> Pool:
    mode = Mode(section.text("mode"))
    preset = PRESETS[mode]
    is_worker = mode is not Mode.SCHEDULER_ONLY
    autoscale = autoscale_of(section.section("autoscale")) if section.has("autoscale") else None
    has_scheduler = preset.has_scheduler
    if has_scheduler is None:
        has_scheduler = not root.has(SCHEDULER)
    given = section.texts("priorities")
    priorities = tuple(each for each in PRIORITIES if each in given) or PRIORITIES
    job_types = section.texts("job_types") if mode is Mode.JOB_SPECIALIZED else ()
    job_timeout_ms = section.duration_ms("job_timeout")
    timeouts = _timeouts(jobs, priorities, job_types, job_timeout_ms) if is_worker else [0]
    grace_ms = section.optional_duration_ms("grace", at_least=0)
    return Pool(
        name=str(section.path[-1]),
        mode=mode,
        priorities=priorities if is_worker else (),
        job_types=job_types,
        concurrency=section.whole("concurrency", preset.concurrency) if is_worker else 0,
        replicas=section.whole("replicas", autoscale.min_replicas if autoscale else 1),
        enable_scheduler=section.flag("scheduler") if section.has("scheduler") else has_scheduler,
        scheduler_interval_ms=_interval_ms(section, "scheduler_interval"),
        job_timeout_ms=job_timeout_ms,
        max_retries=section.whole("max_retries"),
        grace_ms=max(MIN_GRACE_MS, *timeouts) if grace_ms is None else grace_ms,
        lease_ms=section.duration_ms("lease", at_least=MIN_LEASE_MS),
        max_crashes=section.whole("max_crashes"),
        image=section.optional_text("image") or image,
        env=section.text_map("env"),
        secrets=section.texts("secrets"),
        resources=resources_of(section.section("resources")),
        autoscale=autoscale,
        placement=placement_of(section),
        disruption=disruption_of(section),
        egress=egress_of(section),
        logging=logging_of(section.section("logging")),
        results=results_of(section.section("results")),
    )


def _timeouts(
    jobs: Map[str, JobSettings],
    priorities: tuple[str, ...],
    job_types: tuple[str, ...],
    job_timeout_ms: int,
) -> list[int]:
    """How long jobs of a pool may run, by what the topology says of them."""
    own = [
        job.timeout_ms
        for job in jobs.values()
        if job.timeout_ms is not None
        and (not job_types or job.name in job_types)
        and (job.priority is None or job.priority in priorities)
    ]
    # The pool's own timeout counts unless every type that it takes has one of its own.
    is_general = not job_types or len(own) < len(job_types)
    return [*own, job_timeout_ms] if is_general else own


def longest_timeout_ms(pool: Pool, jobs: Map[str, JobSettings]) -> int:
    """How long a job may run in a pool, at the most; 0 for a scheduler."""
    if pool.mode is Mode.SCHEDULER_ONLY:
        return 0
    return max(_timeouts(jobs, pool.priorities, pool.job_types, pool.job_timeout_ms))


def _scheduler(section: Section, image: str) -> Pool:
    # What the section has no fields for is as in any pool that says nothing.
    blank = Section(section.document, None, {"$ref": "#/$defs/pool"}, section.path, section.damaged)
    return Pool(
        name=SCHEDULER,
        mode=Mode.SCHEDULER_ONLY,
        priorities=(),
        job_types=(),
        concurrency=0,
        replicas=section.whole("replicas"),
        enable_scheduler=True,
        scheduler_interval_ms=_interval_ms(section, "interval"),
        job_timeout_ms=blank.duration_ms("job_timeout"),
        max_retries=blank.whole("max_retries"),
        grace_ms=MIN_GRACE_MS,
        lease_ms=blank.duration_ms("lease"),
        max_crashes=blank.whole("max_crashes"),
        image=section.optional_text("image") or image,
        env=section.text_map("env"),
        secrets=section.texts("secrets"),
        resources=resources_of(section.section("resources")),
        autoscale=None,
        placement=placement_of(section),
        disruption=disruption_of(section),
        egress=egress_of(section),
        logging=logging_of(section.section("logging")),
        results=results_of(blank.section("results")),
    )


def _interval_ms(section: Section, name: str) -> int:
    return section.duration_ms(name, MIN_SCHEDULER_INTERVAL_MS, MAX_SCHEDULER_INTERVAL_MS)


def _schedule(section: Section, jobs: Map[str, JobSettings]) -> Schedule:
    job = section.text("job")
    settings = jobs.get(job)
    usual = (settings.priority if settings else None) or "normal"
    return Schedule(
        name=str(section.path[-1]),
        cron=section.text("cron"),
        timezone=section.text("timezone"),
        job=job,
        payload=section.value("payload"),
        priority=section.optional_text("priority") or usual,
        catch_up=section.flag("catch_up"),
    )


def _redis(section: Section) -> Redis:
    node = child(section.node, "url")
    is_unset = isinstance(node, Scalar) and node.unset is not None
    url = section.optional_text("url") or None
    managed = section.section("managed")
    return Redis(
        url=url,
        key_prefix=section.text("key_prefix"),
        managed=ManagedRedis(
            image=managed.text("image"),
            storage_bytes=managed.memory_bytes("storage") or 0,
            memory_bytes=managed.memory_bytes("memory") or 0,
        ),
        is_external=url is not None or is_unset,
    )
