"""Checks of the topology file. What `bananas validate` knows is taken from its diagnostics."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from bananas_topology.contract.jobs import JobSettings
from bananas_topology.contract.names import API
from bananas_topology.contract.values import Mode
from bananas_topology.doctor.check import Group, Verdict, check, failure, ok, warning
from bananas_topology.doctor.examination import Examination, max_log_mb
from bananas_topology.doctor.wording import listing
from bananas_topology.spec.diagnostics import Severity
from bananas_topology.spec.model import Pool
from bananas_topology.units import format_cpu, format_duration, quantity

#: Diagnostics that have a check of their own.
_ACCEPTED = ("BT201", "BT202", "BT203", "BT206", "BT301")
_SCHEDULED = ("BT204", "BT205")
_GRACE = ("BT302",)
_SECRETS = ("BT231", "BT320", "BT321")
_LOG_FILES = ("BT305",)
_PORTS = ("BT225",)
#: All diagnostics that a check other than DR101 reports.
REPORTED_CODES = (*_ACCEPTED, *_SCHEDULED, *_GRACE, *_SECRETS, *_LOG_FILES, *_PORTS)

#: Messages quoted in one verdict.
_QUOTED = 3


def _from_diagnostics(examination: Examination, codes: tuple[str, ...], passed: str) -> Verdict:
    """Judge by what `bananas validate` reports."""
    found = examination.diagnostics(*codes)
    if not found:
        return ok(passed)
    shown = [f"line {each.span.line}: {each.message} ({each.code})" for each in found[:_QUOTED]]
    more = [f"and {len(found) - _QUOTED} more"] if len(found) > _QUOTED else []
    measured = "; ".join([*shown, *more])
    hint = next((each.hint for each in found if each.hint), None)
    is_error = any(each.severity is Severity.ERROR for each in found)
    return failure(measured, hint) if is_error else warning(measured, hint)


def _from_rules(examination: Examination, codes: tuple[str, ...], passed: str) -> Verdict:
    """Judge by rules, which pass only what could be read as a topology."""
    if not examination.diagnostics(*codes):
        _ = examination.topology
    return _from_diagnostics(examination, codes, passed)


def _names(pools: Iterable[Pool]) -> str:
    return listing([pool.name for pool in pools])


@check(
    "DR101", Group.TOPOLOGY, "Validation",
    "no errors or warnings from `bananas validate`",
    "bananas validate",
)  # fmt: skip
def topology_is_valid(examination: Examination) -> Verdict:
    """All diagnostics that no other check reports."""
    codes = {each.code for each in examination.topology_file.diagnostics}
    rest = tuple(sorted(codes - set(REPORTED_CODES)))
    return _from_diagnostics(examination, rest, "no other errors or warnings")


@check(
    "DR102", Group.TOPOLOGY, "Coverage",
    "a pool accepts every priority, and every declared or scheduled job type",
    "add the priority or job type to a pool, or a pool with mode: default",
)  # fmt: skip
def everything_is_accepted(examination: Examination) -> Verdict:
    """Jobs that no pool accepts wait forever."""
    return _from_rules(examination, _ACCEPTED, "no job would wait without a pool")


@check(
    "DR103", Group.TOPOLOGY, "Scheduler in the topology",
    "at least one scheduler if there are schedules or retries",
    "add `scheduler: {}` to the topology",
)  # fmt: skip
def scheduling_has_a_scheduler(examination: Examination) -> Verdict:
    """Delayed jobs, retries and schedules need a scheduler."""
    return _from_rules(examination, _SCHEDULED, "a pool runs a scheduler")


@check(
    "DR104", Group.TOPOLOGY, "Grace period",
    "grace not shorter than the pool's longest timeout",
    "remove `grace` from the pool: it then follows the longest timeout",
)  # fmt: skip
def grace_covers_timeouts(examination: Examination) -> Verdict:
    """A stop that does not wait interrupts jobs at every deployment."""
    return _from_rules(examination, _GRACE, "grace covers the longest timeout of each pool")


@check(
    "DR105", Group.TOPOLOGY, "Timeouts",
    "job_timeout set by each pool or in defaults, or timeout by each declared job type",
    "set job_timeout under defaults, or timeout under jobs",
)  # fmt: skip
def timeouts_are_set(examination: Examination) -> Verdict:
    """A timeout that nobody chose is too long for some jobs and too short for others."""
    unset = _pools_leaving(examination, "job_timeout", lambda job: job.timeout_ms is not None)
    if not unset:
        longest = max((pool.worker.job_timeout_ms for pool in examination.job_pools()), default=0)
        return ok(f"longest pool timeout {format_duration(longest)}")
    return warning(f"no job_timeout set, so that 5m applies: {_names(unset)}")


@check(
    "DR106", Group.TOPOLOGY, "Retries",
    "max_retries set by each pool or in defaults, or by each declared job type",
    "set max_retries under jobs: 0 for a job type that must not run twice",
)  # fmt: skip
def retries_are_set(examination: Examination) -> Verdict:
    """Whether a job may run twice depends on its idempotency, which only its author knows."""
    unset = _pools_leaving(examination, "max_retries", lambda job: job.max_retries is not None)
    if not unset:
        return ok("max_retries is set")
    return warning(f"no max_retries set, so that 3 applies: {_names(unset)}")


def _pools_leaving(
    examination: Examination, setting: str, is_set: Callable[[JobSettings], bool]
) -> list[Pool]:
    """The pools that run jobs of production and leave a setting to its default.

    Not those that accept only job types, of the declared ones, for which it `is_set`.
    """
    own, jobs = examination.topology_file.own_settings, examination.topology.jobs

    def leaves(pool: Pool) -> bool:
        types = pool.worker.job_types or examination.declared_types
        return not types or not all(name in jobs and is_set(jobs[name]) for name in types)

    return [
        pool
        for pool in examination.job_pools()
        if pool.worker.mode is not Mode.THIN
        and setting not in own.get(pool.name, frozenset())
        and leaves(pool)
    ]


@check(
    "DR107", Group.TOPOLOGY, "Resource limits",
    "a memory limit for each pool that is not thin, and beside such pools for the api",
    "set resources: {limits: {memory: 1Gi}} on each, or limits for all pools under defaults",
)  # fmt: skip
def limits_are_set(examination: Examination) -> Verdict:
    """Without a limit one pool's leak takes the host's memory from all others."""
    topology = examination.topology
    pools = [pool for pool in topology.pools if pool.worker.mode is not Mode.THIN]
    if not pools:
        return ok("thin pools only")
    limits = {pool.name: pool.resources.limits for pool in pools}
    if topology.api is not None:
        limits[API] = topology.api.resources.limits
    unlimited = [name for name, each in limits.items() if each.memory_bytes is None]
    if unlimited:
        return warning(f"no memory limit: {listing(unlimited)}")
    now, most = (
        format_cpu(sum((pool.resources.requests.cpu_millis or 0) * count(pool) for pool in pools))
        for count in (_replicas, _most_replicas)
    )
    return ok(f"{quantity(len(pools), 'pool')} limited; requests {now} CPU, autoscaled {most}")


def _replicas(pool: Pool) -> int:
    return pool.replicas


def _most_replicas(pool: Pool) -> int:
    return pool.autoscale.max_replicas if pool.autoscale else pool.replicas


@check(
    "DR108", Group.TOPOLOGY, "Monitoring",
    "kubernetes.monitoring is not `none`",
    "set kubernetes: {monitoring: annotations}, or prometheus-operator to get alerts as well",
)  # fmt: skip
def monitoring_is_set_up(examination: Examination) -> Verdict:
    """Rendered pods are scraped only if they say so."""
    monitoring = examination.topology.kubernetes.monitoring
    measured = f"kubernetes.monitoring is {monitoring}"
    return warning(measured) if monitoring == "none" else ok(measured)


@check(
    "DR109", Group.TOPOLOGY, "Log output",
    "each pool logs to standard output or a file",
    "set logging: {console: true}",
)  # fmt: skip
def logs_go_somewhere(examination: Examination) -> Verdict:
    """A worker that logs nowhere cannot be diagnosed."""
    silent = [
        pool
        for pool in examination.topology.pools
        if not pool.worker.log_console and not pool.worker.log_file_enabled
    ]
    if silent:
        return failure(f"no log output: {_names(silent)}")
    return ok("every pool logs")


@check(
    "DR110", Group.TOPOLOGY, "Log rotation",
    "one file per process, and no more than 10 GB per worker",
    "lower logging.file.max_backups or max_size_mb, or log to standard output only",
)  # fmt: skip
def log_files_are_bounded(examination: Examination) -> Verdict:
    """Rotated files add up: size times backups, per worker."""
    if examination.diagnostics(*_LOG_FILES):
        return _from_diagnostics(examination, _LOG_FILES, "")
    largest = max((max_log_mb(pool.worker) for pool in examination.topology.pools), default=0)
    if not largest:
        return ok("no log files")
    measured = f"up to {largest:,} MB of log files per worker"
    return warning(measured) if largest > _MAX_LOG_MB else ok(measured)


_MAX_LOG_MB = 10_000


@check(
    "DR111", Group.TOPOLOGY, "Secrets in the file",
    "no password or secret value in the topology",
    "use `secrets: [NAME]`, and ${REDIS_URL} for redis.url",
)  # fmt: skip
def no_secrets_in_file(examination: Examination) -> Verdict:
    """Topology files are committed, and rendered into manifests that are too."""
    return _from_rules(examination, _SECRETS, "no secrets in the file")


@check(
    "DR112", Group.TOPOLOGY, "API ports",
    "api.publish has a port per replica",
    "set api: {publish: 8080-8089}, a range as long as api.replicas",
)  # fmt: skip
def api_replicas_have_ports(examination: Examination) -> Verdict:
    """In Compose, two containers cannot publish one port of the host."""
    return _from_rules(examination, _PORTS, "no conflict of published ports")


@check(
    "DR113", Group.TOPOLOGY, "Image tags",
    "images from a registry have a tag other than `latest`, or a digest",
    "set image: REGISTRY/NAME:VERSION",
)  # fmt: skip
def images_are_pinned(examination: Examination) -> Verdict:
    """With `latest`, replicas started at different times run different code."""
    topology = examination.topology
    parts = (*topology.pools, *([topology.api] if topology.api else ()))
    named = {part.image for part in parts}
    named |= {each.image for part in parts for each in part.container.init if each.image}
    images = {image for image in named if "/" in image}
    if not topology.redis.is_external:
        images.add(topology.redis.managed.image)
    loose = sorted(image for image in images if not _is_pinned(image))
    if loose:
        return warning(f"not pinned: {listing(loose)}")
    return ok("pinned, or built here")


def _is_pinned(image: str) -> bool:
    _, _, tag = image.rpartition("/")[2].partition(":")
    return "@" in image or tag not in ("", "latest")
