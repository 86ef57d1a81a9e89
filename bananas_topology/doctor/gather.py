"""Gathering the facts: the file, this host, and a server observed for a few seconds. Read-only.

Costs the server two connections, one INFO, 20 pings, three readings of its clock and a survey every
half second; takes as long as the observation, plus at most the time-out of a call if the server
stops answering.
"""

from __future__ import annotations

import errno
import resource
import shutil
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from bananas_topology.doctor.examination import (
    Disk,
    Examination,
    HostFacts,
    LiveFacts,
    TopologyFacts,
)
from bananas_topology.errors import RedisUnavailable, RedisUnsuitable
from bananas_topology.jobs.connection import connect
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.server_facts import accepts_anyone, read_server
from bananas_topology.jobs.stranded import StrandedJobs
from bananas_topology.jobs.survey import Surveyor
from bananas_topology.spec.load import CheckResult
from bananas_topology.spec.model import Topology
from bananas_topology.system.clock import monotonic, sleep

#: Seconds between two surveys, at least; a long observation has `_MAX_SURVEYS` of them.
INTERVAL_S = 0.5
_MAX_SURVEYS = 120

#: Seconds that an API has to answer.
_LIVEZ_S = 5.0

#: Jobs of ``queue:processing`` that are read.
_PROCESSING_LIMIT = 100

#: Milliseconds added to the longest timeout before a job that a Go worker holds counts as stranded:
#: clocks differ, and handlers overrun.
_STRANDED_MARGIN_MS = 5 * 60_000

#: Milliseconds after which it does if no topology says how long jobs may run.
_STRANDED_UNKNOWN_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Target:
    """A server to examine, and for how many seconds to observe it; `url` None: none is known."""

    url: str | None
    key_prefix: str
    observe_s: float


def stranded_after_ms(topology: Topology | None) -> int:
    """The age in milliseconds from which a job held by a Go worker counts as stranded."""
    if topology is None:
        return _STRANDED_UNKNOWN_MS
    timeouts = [pool.worker.job_timeout_ms for pool in topology.pools if pool.worker.concurrency]
    timeouts += [job.timeout_ms for job in topology.jobs.values() if job.timeout_ms]
    return max(timeouts, default=_STRANDED_UNKNOWN_MS) + _STRANDED_MARGIN_MS


def examine(
    path: Path,
    checked: CheckResult | None,
    target: Target,
    environ: Mapping[str, str],
    *,
    is_up: bool,
) -> Examination:
    """Gather everything. `checked` is the result of checking the file, None if there is none."""
    file = (
        TopologyFacts(path, checked.diagnostics, checked.topology, checked.own_settings)
        if checked
        else None
    )
    topology = file.topology if file else None
    live, problem = _live_facts(target, topology)
    if live is None and target.url is None and file and topology is None:
        problem = "no Redis server known: the topology has errors"
    return Examination(
        file=file,
        live=live,
        host=read_host(path, topology, environ),
        no_live_facts=problem,
        is_configured=target.url is not None,
        is_up=is_up,
    )


def _live_facts(target: Target, topology: Topology | None) -> tuple[LiveFacts | None, str]:
    """What the server tells, or why it does not."""
    if target.url is None:
        return None, "no Redis server configured"
    schedules = tuple(topology.schedules) if topology else ()
    keys = Keys(target.key_prefix)
    try:
        with connect(target.url, key_prefix=target.key_prefix) as client:
            server = read_server(client)
            surveyor = Surveyor(client, keys, schedules)
            samples = [surveyor.survey()]
            deadline = monotonic() + target.observe_s
            interval_s = max(min(INTERVAL_S, target.observe_s), target.observe_s / _MAX_SURVEYS)
            while len(samples) < 2 or monotonic() < deadline:
                sleep(interval_s)
                samples.append(surveyor.survey())
            stranded = StrandedJobs(client, keys)
            processing = stranded.peek(stranded_after_ms(topology), _PROCESSING_LIMIT)
            live = LiveFacts(
                server,
                tuple(samples),
                tuple(processing),
                accepts_anyone=not server.is_protected and accepts_anyone(client),
            )
            return live, ""
    except (RedisUnavailable, RedisUnsuitable) as error:
        return None, str(error)


def read_host(path: Path, topology: Topology | None, environ: Mapping[str, str]) -> HostFacts:
    """Look at this host, as far as the topology needs something of it."""
    pools = topology.pools if topology else ()
    folders = [path.absolute().parent]
    loggers = [pool.worker for pool in pools if pool.worker.log_file_enabled]
    folders += [Path(worker.log_file_path).absolute().parent for worker in loggers]
    api = topology.api if topology else None
    wanted = {name for pool in pools for name in pool.shell_variables}
    wanted |= set(api.shell_variables) if api else set()
    port = api.config.port if api and _is_in_use(api.config.port) else None
    return HostFacts(
        memory_available=_memory_available(),
        max_open_files=_limit(resource.RLIMIT_NOFILE),
        max_processes=_limit(resource.RLIMIT_NPROC),
        disks=tuple(_disks(folders)),
        ports_in_use=frozenset({port} if port else ()),
        has_api=port is not None and _is_api(port),
        unset_variables=frozenset(name for name in wanted if not environ.get(name)),
    )


def _memory_available() -> int | None:
    """Bytes of memory that new processes can use; None where there is no /proc."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
    except OSError:
        return None
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    kibibytes = fields.get("MemAvailable", "").split()
    return int(kibibytes[0]) * 1024 if kibibytes else None


def _limit(kind: int) -> int | None:
    soft, _ = resource.getrlimit(kind)
    return None if soft == resource.RLIM_INFINITY else soft


def _disks(folders: Iterable[Path]) -> Iterable[Disk]:
    # A folder that will be created is on the disk of the one that it will be in.
    existing = (next(at for at in (each, *each.parents) if at.is_dir()) for each in folders)
    for folder in dict.fromkeys(existing):
        usage = shutil.disk_usage(folder)
        yield Disk(folder, usage.free, usage.total)


def _is_in_use(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def _is_api(port: int) -> bool:
    """Whether an API of Bananas answers at a port of this host."""
    connection = HTTPConnection("127.0.0.1", port, timeout=_LIVEZ_S)
    try:
        connection.request("GET", "/livez")
        return connection.getresponse().read(100) == b'{"status":"ok"}'
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()
