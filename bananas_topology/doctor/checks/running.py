"""Checks of the running system: whether it keeps up, and runs what the topology says."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import timedelta
from itertools import pairwise
from statistics import fmean

from bananas_topology.contract.values import Mode
from bananas_topology.doctor.check import Group, Verdict, check, failure, graded, ok, warning
from bananas_topology.doctor.examination import Examination, MissingFact
from bananas_topology.doctor.wording import listing, seconds
from bananas_topology.jobs.survey import WorkerStatus
from bananas_topology.units import quantity

#: The share of busy threads to aim at.
_WELL_USED = 0.7

#: Ready jobs from which a queue counts as deep.
DEEP = 1000

#: Seconds that a growing queue may take to drain at the present rate.
_DRAIN_S = 60

#: Finished runs below which shares and rates mean nothing.
_MIN_RUNS = 100

#: How recently a dead job must have died to count as growth.
_RECENT = timedelta(minutes=10)

#: Jobs per hour up to which one thin pool is meant.
_THIN_PER_HOUR = 1000


def _by_pool(workers: Iterable[WorkerStatus]) -> dict[str, list[WorkerStatus]]:
    pools: dict[str, list[WorkerStatus]] = defaultdict(list)
    for worker in workers:
        pools[worker.pool].append(worker)
    return pools


@check(
    "DR401", Group.RUNNING, "Pool sizes",
    "as many live workers as the pool's replicas, or its autoscaler's minimum",
    "bananas up, or bananas scale POOL=N where it runs; or look for crashes in the workers' logs",
)  # fmt: skip
def pools_have_workers(examination: Examination) -> Verdict:
    """A worker that is missing has crashed, hangs, or was never started.

    The most that were seen count: one that restarts is not missing.
    """
    wanted = examination.wanted_workers
    if examination.deployed is None and not examination.is_up:
        _ = examination.workers  # none run before the topology is deployed
    live: Counter[str] = Counter()
    for sample in examination.samples:
        live |= Counter(worker.pool for worker in sample.live_workers)
    few = {name: count for name, count in wanted.items() if live[name] < count}
    if few:
        measured = ", ".join(f'"{name}" has {live[name]} of {few[name]}' for name in few)
        remedy = None
        if examination.is_up:
            remedy = (
                f"{examination.start_command(few)}; if they crash: bananas logs {' '.join(few)}"
            )
        is_gone = any(not live[name] for name in few)
        return (failure if is_gone else warning)(f"pool {measured}", remedy)
    return ok(quantity(sum(live.values()), "live worker"))


@check(
    "DR402", Group.RUNNING, "Capacity",
    "runs per second times their average duration below 80 % of the threads",
    "raise `replicas` or `concurrency`: bananas scale POOL=N",
)  # fmt: skip
def capacity_suffices(examination: Examination) -> Verdict:
    """Arrivals in the observed time, and durations since the workers started."""
    workers = examination.workers
    finished = sum(worker.finished or 0 for worker in workers)
    busy_ms = sum(worker.busy_ms or 0 for worker in workers)
    if finished < _MIN_RUNS:
        raise MissingFact(f"fewer than {_MIN_RUNS} runs since the workers started")
    first, last = examination.samples[0], examination.now
    arrived = (last.finished - first.finished) + max(0, last.ready - first.ready)
    rate, duration_s = arrived / examination.observed_s, busy_ms / finished / 1000
    threads = sum(max(0, worker.concurrency - worker.stuck) for worker in workers)
    measured = (
        f"{rate:,.1f} jobs/s of {duration_s * 1000:,.0f} ms need {rate * duration_s:,.1f} threads "
        f"of {threads:,}"
    )
    return graded(rate * duration_s / max(1, threads), 0.8, 1, measured)


@check(
    "DR403", Group.RUNNING, "Utilization",
    "on average less than 80 % of each pool's threads busy (60 to 80 % is well used)",
    "raise `replicas` or `concurrency`: bananas scale POOL=N",
)  # fmt: skip
def threads_are_free(examination: Examination) -> Verdict:
    """Sampled: how many threads of each pool are not free."""
    shares: dict[str, float] = {}
    for name, workers in _by_pool(examination.workers).items():
        threads = sum(worker.concurrency for worker in workers)
        busy = [
            sum(each.busy for each in workers_of)
            for sample in examination.samples
            if (workers_of := _by_pool(sample.live_workers).get(name))
        ]
        if threads:
            shares[name] = fmean(busy) / threads
    if not shares:
        raise MissingFact("no worker runs jobs")
    measured = ", ".join(f'"{name}" {share:.0%}' for name, share in sorted(shares.items()))
    name, share = max(shares.items(), key=lambda item: item[1])
    if share < 0.8:
        return ok(measured)
    replicas = len(_by_pool(examination.workers)[name])
    needed = max(replicas + 1, math.ceil(replicas * share / _WELL_USED))
    return warning(measured, f"bananas scale {name}={needed}, or raise its concurrency")


@check(
    "DR404", Group.RUNNING, "Queue depth",
    f"no more than {DEEP:,} ready jobs per priority",
    "raise `replicas` or `concurrency`: bananas scale POOL=N",
)  # fmt: skip
def queues_are_short(examination: Examination) -> Verdict:
    """The shortest seen: a burst that drains meanwhile does not count."""
    depths: dict[str, int] = {}
    for sample in examination.samples:
        ready: Counter[str] = Counter()
        for each in sample.lists:
            ready[each.priority] += each.length
        depths = {name: min(depths.get(name, count), count) for name, count in ready.items()}
    measured = ", ".join(f"{name} {count:,}" for name, count in depths.items())
    return warning(measured) if max(depths.values(), default=0) > DEEP else ok(measured)


@check(
    "DR405", Group.RUNNING, "Queue growth",
    f"queues do not grow, or would drain within {_DRAIN_S} s",
    "raise `replicas` or `concurrency`: bananas scale POOL=N",
)  # fmt: skip
def queues_do_not_grow(examination: Examination) -> Verdict:
    """Growth throughout the observation, and more than the finished runs can catch up with.

    From one third of it to the next: jobs that arrive in batches, or one at a time, do not grow a
    queue from each sample to the next.
    """
    ready = [sample.ready for sample in examination.samples]
    grows = all(later > earlier for earlier, later in pairwise(_means_of_parts(ready)))
    finished = (examination.now.finished - examination.samples[0].finished) / examination.observed_s
    growth = (ready[-1] - ready[0]) / examination.observed_s
    measured = f"{growth:+,.1f} jobs/s, {finished:,.1f} finished/s"
    if grows and ready[-1] > finished * _DRAIN_S and ready[-1] >= _MIN_RUNS:
        return warning(f"{ready[-1]:,} ready, {measured}")
    return ok(measured)


def _means_of_parts(values: Sequence[int], parts: int = 3) -> list[float]:
    """The mean of each part, in order; of fewer values, the values."""
    count = min(parts, len(values))
    bounds = [len(values) * number // count for number in range(count + 1)]
    return [fmean(values[begin:end]) for begin, end in pairwise(bounds)]


@check(
    "DR406", Group.RUNNING, "Oldest waiting job",
    "ready for less than 5 min; a failure from 1 h on",
    "bananas queues shows what waits; raise the replicas of the pools that accept it",
)  # fmt: skip
def jobs_start_soon(examination: Examination) -> Verdict:
    """The job at the head of each queue that says since when it has been ready."""
    heads = [each for each in examination.now.lists if each.waiting_since is not None]
    if not heads:
        return ok("no job is known to wait")
    oldest = min(heads, key=lambda each: each.waiting_since or examination.now.at)
    waited_s = (examination.now.at - (oldest.waiting_since or examination.now.at)).total_seconds()
    what = oldest.priority + (f", {oldest.job_type}" if oldest.job_type else "")
    return graded(waited_s, 300, 3600, f"{seconds(waited_s)} ({what})")


@check(
    "DR407", Group.RUNNING, "Error rate",
    "less than 1 % of runs fail; a failure from 5 % on",
    "bananas dead list shows the errors",
)  # fmt: skip
def few_runs_fail(examination: Examination) -> Verdict:
    """Of the observed time if enough runs ended in it, else since the live workers started."""
    first, last = examination.samples[0], examination.now
    finished = last.finished - first.finished
    failed = finished - (last.completed - first.completed)
    when = "while observed"
    if finished < _MIN_RUNS:
        workers = examination.workers
        finished = sum(worker.finished or 0 for worker in workers)
        failed = sum(worker.failed or 0 for worker in workers)
        when = "since the workers started"
    if finished < _MIN_RUNS:
        raise MissingFact(f"fewer than {_MIN_RUNS} runs {when}")
    share = failed / finished
    return graded(share, 0.01, 0.05, f"{share:.2%} of {finished:,} runs {when}")


@check(
    "DR408", Group.RUNNING, "Dead jobs",
    f"no job died in the last {_RECENT.seconds // 60} min",
    "bananas dead list; fix the cause, then bananas dead retry",
)  # fmt: skip
def few_jobs_die(examination: Examination) -> Verdict:
    """Of the most recent dead jobs; those that died before are not counted."""
    since = examination.now.at - _RECENT
    recent = sum(1 for each in examination.now.recent_failures if each.at and each.at >= since)
    recent = max(recent, examination.now.failed - examination.samples[0].failed)
    measured = f"{examination.now.dead:,} dead, {recent:,} of them recently"
    return warning(measured) if recent else ok(f"{examination.now.dead:,} dead, none recently")


@check(
    "DR411", Group.RUNNING, "Uniform pools",
    "one version and one set of settings per pool",
    "finish the deployment, or bananas restart POOL",
)  # fmt: skip
def workers_are_alike(examination: Examination) -> Verdict:
    """Two kinds in one pool are a deployment that stopped halfway."""
    mixed: dict[str, str] = {}
    for name, workers in sorted(_by_pool(examination.workers).items()):
        for what, values in (
            ("versions", {each.version or "" for each in workers}),
            ("settings", {each.settings or "" for each in workers}),
            ("concurrency", {str(each.concurrency) for each in workers}),
            ("priorities", {",".join(each.priorities) for each in workers}),
            ("handlers", {",".join(sorted(each.job_types)) for each in workers}),
        ):
            if len(values) > 1:
                mixed[name] = f'pool "{name}" has different {what}'
                break
    if mixed:
        command = f"bananas restart {' '.join(mixed)}"
        return warning("; ".join(mixed.values()), f"finish the deployment, or {command}")
    return ok("one kind of worker per pool")


@check(
    "DR412", Group.RUNNING, "Worker clocks",
    "within 1 s of the server's clock",
    "synchronize clocks on that host: timedatectl set-ntp true",
)  # fmt: skip
def worker_clocks_agree(examination: Examination) -> Verdict:
    """The host's clock against the server's, at the worker's last heartbeat."""
    skews = {
        worker.worker_id: (worker.clock_ms - worker.seen_ms) / 1000
        for worker in examination.workers
        if worker.clock_ms is not None
    }
    if not skews:
        raise MissingFact("the workers do not report their clocks")
    name, skew = max(skews.items(), key=lambda item: abs(item[1]))
    return graded(abs(skew), 1, 60, f"{skew:+.3f} s ({name})")


@check(
    "DR413", Group.RUNNING, "Heartbeats",
    "no worker's last heartbeat is older than what is left of its lease",
    "give the host more CPU, or set a longer `lease` for the pool",
)  # fmt: skip
def leases_are_renewed(examination: Examination) -> Verdict:
    """A worker renews its lease when a third of it has passed."""
    now_ms = examination.now.now_ms
    late = [
        worker
        for worker in examination.workers
        if now_ms - worker.seen_ms > worker.lease_until_ms - now_ms
    ]
    if late:
        shown = ", ".join(f"{each.worker_id} ({each.host})" for each in late[:5])
        return warning(f"{quantity(len(late), 'worker')} late: {shown}")
    return ok(f"{quantity(len(examination.workers), 'worker')} on time")


@check(
    "DR414", Group.RUNNING, "Mode",
    f"a thin pool runs no more than {_THIN_PER_HOUR:,} jobs per hour",
    "use mode: default with replicas, and a scheduler: section",
)  # fmt: skip
def mode_fits_traffic(examination: Examination) -> Verdict:
    """Jobs per hour since the workers started, if that is at least ten minutes ago."""
    thin = {pool.name for pool in examination.topology.pools if pool.worker.mode is Mode.THIN}
    if not thin:
        return ok("no thin pool")
    per_hour, is_known = 0.0, False
    for worker in examination.workers:
        if worker.pool in thin and worker.started_at and worker.finished is not None:
            hours = (examination.now.at - worker.started_at).total_seconds() / 3600
            if hours >= 1 / 6:
                per_hour, is_known = per_hour + worker.finished / hours, True
    if not is_known:
        raise MissingFact("no worker has been running for ten minutes")
    measured = f"{per_hour:,.0f} jobs per hour"
    return warning(measured) if per_hour > _THIN_PER_HOUR else ok(measured)


@check(
    "DR415", Group.RUNNING, "Stuck slots",
    "no slot is held by a handler that has not ended although its job timed out",
    "look for `handler not ended` in the worker's log; bananas restart POOL frees the slots",
)  # fmt: skip
def no_slot_is_stuck(examination: Examination) -> Verdict:
    """Such a handler keeps its thread: the worker runs fewer jobs, and restarts with few left."""
    stuck = [each for each in examination.workers if each.stuck]
    if stuck:
        count = sum(each.stuck for each in stuck)
        names = listing([f"{each.worker_id} ({each.stuck})" for each in stuck])
        return warning(f"{quantity(count, 'slot')} held: {names}")
    return ok("none")
