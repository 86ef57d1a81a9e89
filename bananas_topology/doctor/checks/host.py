"""Checks of this host: what `bananas up` needs of it."""

from __future__ import annotations

from bananas_topology.doctor.check import Group, Verdict, check, failure, graded, ok, warning
from bananas_topology.doctor.examination import Examination, max_log_mb
from bananas_topology.doctor.wording import listing, size
from bananas_topology.units import quantity

_MIB = 2**20
_GIB = 2**30

#: Memory of an idle worker process, as measured; handlers and what they import come on top.
_PER_WORKER_BYTES = 45 * _MIB

#: Open files of a worker besides those of its handlers: connections, pipes, modules.
_FILES_PER_WORKER = 64

#: Open files allowed for per running job: a handler's connection and a file.
_FILES_PER_JOB = 2


@check(
    "DR301", Group.HOST, "Open files",
    "the limit on open files covers 64 per worker and 2 per running job",
    "ulimit -n 65536; permanently in /etc/security/limits.conf, or LimitNOFILE in a systemd unit",
)  # fmt: skip
def files_may_be_opened(examination: Examination) -> Verdict:
    """The limit is per process."""
    limit = examination.host.max_open_files
    largest = max((pool.worker.concurrency for pool in examination.topology.pools), default=0)
    needed = _FILES_PER_WORKER + _FILES_PER_JOB * largest
    if limit is None:
        return ok("no limit")
    measured = f"limit {limit:,}, {needed:,} needed by the largest worker"
    return ok(measured) if limit >= needed else failure(measured)


@check(
    "DR302", Group.HOST, "Processes and threads",
    "the limit on processes covers every thread of the topology",
    "ulimit -u 65536; permanently in /etc/security/limits.conf, or TasksMax in a systemd unit",
)  # fmt: skip
def threads_may_be_started(examination: Examination) -> Verdict:
    """The limit counts threads, of all processes of the user."""
    limit, topology = examination.host.max_processes, examination.topology
    needed = topology.total_threads + sum(pool.replicas for pool in topology.pools)
    if limit is None:
        return ok(f"no limit, {needed:,} needed")
    measured = f"limit {limit:,}, {needed:,} needed"
    return ok(measured) if limit >= needed else failure(measured)


@check(
    "DR303", Group.HOST, "Disk space",
    "1 GiB free, and room for the log files that the topology allows",
    "free space, or lower logging.file.max_backups and max_size_mb",
)  # fmt: skip
def disks_have_space(examination: Examination) -> Verdict:
    """A full disk stops the append-only file, and with it every enqueue."""
    logs = sum(
        pool.replicas * max_log_mb(pool.worker) * _MIB for pool in examination.topology.pools
    )
    if not examination.host.disks:
        return ok("unknown")
    tightest = min(examination.host.disks, key=lambda disk: disk.free)
    measured = f"{size(tightest.free)} free at {tightest.path}"
    if logs > tightest.free:
        measured += f", log files may take {size(logs)}"
    return graded(-tightest.free, -max(_GIB, logs), -_GIB / 10, measured)


@check(
    "DR304", Group.HOST, "Port",
    "the API's port is free, or if `bananas up` runs, served by it",
    "set another api.port, or stop what uses it: ss -ltnp",
)  # fmt: skip
def ports_are_free(examination: Examination) -> Verdict:
    """`bananas up` cannot start the API on a port that is taken, nor does it serve a free one."""
    api = examination.topology.api
    if api is None:
        return ok("no port needed")
    if api.config.port not in examination.host.ports_in_use:
        if examination.is_up:
            return warning(
                f"nothing listens at port {api.config.port} although `bananas up` runs",
                "bananas logs api shows why; if the api is new in the topology, bananas apply",
            )
        return ok(f"port {api.config.port} is free")
    if not examination.is_up:
        return failure(f"port {api.config.port} is in use by another process")
    if not examination.host.has_api:
        return failure(f"port {api.config.port} is in use, but no API answers there")
    return ok(f"port {api.config.port} is served by `bananas up`")


@check(
    "DR305", Group.HOST, "Secret variables",
    "every variable in `secrets`, and every required reference in `env`, is set here",
    "export the variable, or put it into the unit's or container's environment",
)  # fmt: skip
def secrets_are_set(examination: Examination) -> Verdict:
    """`bananas up` passes them on; in a cluster they come from the Secret."""
    topology = examination.topology
    names = {name for pool in topology.pools for name in pool.shell_variables}
    names |= set(topology.api.shell_variables) if topology.api else set()
    unset = sorted(names & examination.host.unset_variables)
    if unset:
        return warning(f"not set: {listing(unset)}")
    return ok(f"{quantity(len(names), 'variable')} set" if names else "no secrets")


@check(
    "DR306", Group.HOST, "Memory for workers",
    "45 MiB available per worker process that `bananas up` would start",
    "lower `replicas`, or use more concurrency in fewer processes",
)  # fmt: skip
def workers_fit_into_memory(examination: Examination) -> Verdict:
    """Idle processes only: what handlers need comes on top."""
    available = examination.host.memory_available
    processes = sum(pool.replicas for pool in examination.topology.pools)
    if available is None or examination.is_up:
        return ok(f"{quantity(processes, 'process')}")
    measured = f"{quantity(processes, 'process')}, {size(available)} available"
    return warning(measured) if processes * _PER_WORKER_BYTES > available else ok(measured)
