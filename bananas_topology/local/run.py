"""Run a topology on this host: the server, the supervisor, its children and their output.

Connects the parts (spec, plan, server, supervisor); their logic stays in them. Knows nothing of the
command line: messages go to the `Screen` it is given.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bananas_topology.contract.names import API
from bananas_topology.contract.redis_url import redact
from bananas_topology.contract.worker import WorkerConfig
from bananas_topology.errors import ControlFailed
from bananas_topology.jobs.bundled_server import BundledServer
from bananas_topology.jobs.inspect import Inspector
from bananas_topology.local.apply import Applier
from bananas_topology.local.changes import Changes
from bananas_topology.local.commands import Commands
from bananas_topology.local.control import ControlServer
from bananas_topology.local.deployment import (
    Deployment,
    allow_processes,
    check_requirements,
    deploy,
    select,
    server_of,
)
from bananas_topology.local.drain import Drain
from bananas_topology.local.job_stream import JobStream
from bananas_topology.local.logs import LOG_DIRECTORY
from bananas_topology.local.notices import render_only
from bananas_topology.local.presence import Presence
from bananas_topology.local.reload import Reload
from bananas_topology.local.server import Server
from bananas_topology.local.settings import Settings
from bananas_topology.local.sockets import CONTROL, NOTIFY, socket_directory
from bananas_topology.local.status import Reporter
from bananas_topology.local.watch import Watcher, check_installed
from bananas_topology.spec.model import Api, Pool, Topology
from bananas_topology.supervisor.directories import has_data, state_directory, unused_data
from bananas_topology.supervisor.log_files import LogFiles
from bananas_topology.supervisor.output import SUPERVISOR, Output, Paint, StreamHandler
from bananas_topology.supervisor.plan import (
    ChildPlan,
    Host,
    plan_children,
)
from bananas_topology.supervisor.record import ExclusiveLock, Publication, RunRecord
from bananas_topology.supervisor.sink import Sink
from bananas_topology.supervisor.supervisor import RunResult, Supervisor
from bananas_topology.system.clock import format_timestamp, wall_now
from bananas_topology.system.notify import JOBS, METRICS, VARIABLE, Notifier, NotifySocket
from bananas_topology.system.processes import has_terminal, start_time_token
from bananas_topology.units import quantity
from bananas_topology.worker.logs import JsonFormatter, TextFormatter

#: Exit codes of a run, those of the command line: failed, and interrupted by Ctrl-C.
OK, FAILED, INTERRUPTED = 0, 1, 130

#: Seconds between progress lines of a drain when the output is not a terminal.
PROGRESS_S = 2.0


@dataclass(frozen=True, slots=True)
class Screen:
    """Where output goes: children's lines to descriptor `fd`, messages through `notice`."""

    fd: int
    notice: Callable[[str], None]
    paint: Paint
    is_colored: bool = False
    is_terminal: bool = False
    how_to_stop: str = "press Ctrl-C to stop"
    where_logs_are: str = "the log above"


def run(topology: Topology, settings: Settings, shell: Mapping[str, str], screen: Screen) -> int:
    """Start everything and run until the end; what starts first stops last.

    `shell` are the variables without those of files. Returns the exit code.

    Raises:
        ControlFailed: it already runs here, or something that it needs is missing.
        BundledServerFailed, RedisUnavailable, RedisUnsuitable: the server cannot be used.
    """
    pools, api = select(topology, settings)
    environ = {**settings.variables, **_inherited(shell)}
    named_url = _checked(topology, settings, environ, pools, api)
    folder = topology.path.absolute().parent
    directory = state_directory(folder, topology.name, settings.source, settings.adopt)
    with ExitStack() as stack:
        lock = stack.enter_context(ExclusiveLock(directory, topology.name))
        sockets = stack.enter_context(socket_directory(directory))
        url, on_poll = _redis(stack, named_url, directory, screen)
        host = _host(environ, url, settings, screen)
        deployment = deploy(topology, settings, host)
        workers = plan_children(topology, pools, host)
        server = _connect(stack, topology, workers, url, screen)
        plans = (*workers, *([deployment.plan(API, 0)] if api else []))
        _announce(topology, pools, api, screen)
        files = LogFiles(directory / LOG_DIRECTORY)
        output = stack.enter_context(_output(plans, screen, files, settings.log_level))
        drain = _drain(server.inspector, workers, output, screen) if settings.drain else None
        notify_socket = stack.enter_context(NotifySocket(sockets / NOTIFY))
        supervisor = Supervisor(
            plans,
            output,
            notify_socket=notify_socket,
            is_drained=drain.is_over if drain else None,
            on_poll=on_poll,
            stays=settings.watch,
        )
        _watch_reports(stack, supervisor, output, host, settings, server.inspector)
        record = _record(topology, url, sockets / CONTROL, directory)
        publication = Publication(record, _publishing_directories(directory, record, folder))
        control, applier = _serve(stack, supervisor, deployment, settings, publication, server)
        bound = (notify_socket, control)
        supervisor.serve(Presence(supervisor, lock, publication, bound, files, applier.source))
        # From here on other commands find this run, and can reach it.
        stack.enter_context(publication)
        result = supervisor.run()
    if output.sink.is_closed:
        return FAILED
    return _exit_code(result, drain, len(plans), screen)


def _checked(
    topology: Topology,
    settings: Settings,
    environ: Mapping[str, str],
    pools: Sequence[tuple[Pool, int]],
    api: Api | None,
) -> str | None:
    """Check that everything is there; returns the URL of the server, None for the bundled one."""
    url = server_of(topology, settings, environ)
    check_requirements(topology, url, api)
    allow_processes(sum(count for _, count in pools) + (api is not None))
    if settings.watch:
        check_installed()
    return url


def _announce(
    topology: Topology, pools: Sequence[tuple[Pool, int]], api: Api | None, screen: Screen
) -> None:
    """Summarize what is started, and what is not as in containers."""
    for text in render_only(pools, api):
        screen.notice(f"notice: {text}")
    processes = quantity(sum(count for _, count in pools), "worker process")
    threads = quantity(sum(pool.worker.concurrency * count for pool, count in pools), "thread")
    also = f", page and HTTP API at http://localhost:{api.config.port}" if api else ""
    screen.notice(f"starting {topology.name}: {processes}, {threads}{also}; {screen.how_to_stop}")


def _redis(
    stack: ExitStack, url: str | None, directory: Path, screen: Screen
) -> tuple[str, Callable[[], None] | None]:
    """Find or start the server; returns its URL and a function that keeps a bundled one alive."""
    if url is not None:
        screen.notice(f"redis: {redact(url)}")
        return url, None
    if not has_data(directory):
        for other, owner in unused_data(directory):
            file = f" ({owner.file})" if owner.file else ""
            screen.notice(
                f'note: the jobs of topology "{owner.name}"{file} are in {os.path.relpath(other)}; '
                f"`bananas up --adopt {owner.name}` continues with them"
            )
    server = stack.enter_context(BundledServer(directory))
    url = server.start()
    screen.notice(f"redis: bundled Valkey at {redact(url)}, data in {os.path.relpath(directory)}")
    return url, server.restart_if_dead


def _connect(
    stack: ExitStack, topology: Topology, workers: Sequence[ChildPlan], url: str, screen: Screen
) -> Server:
    server = stack.enter_context(Server(url, topology.redis.key_prefix))
    for warning in server.check([plan.name for plan in workers]):
        screen.notice(f"warning: {warning}")
    return server


def _host(environ: Mapping[str, str], url: str, settings: Settings, screen: Screen) -> Host:
    return Host(
        environ,
        url,
        settings.log_format,
        screen.is_colored,
        settings.log_level,
        shows_jobs=screen.is_terminal and not settings.is_quiet,
        serves_metrics=settings.metrics_port is not None,
    )


def _inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """What children inherit: reports to whoever started `up` come from `up`, not from them."""
    return {name: text for name, text in environ.items() if name != VARIABLE}


def _record(topology: Topology, url: str, control: Path, directory: Path) -> RunRecord:
    pid = os.getpid()
    return RunRecord(
        pid=pid,
        start_time_token=start_time_token(pid) or "",
        name=topology.name,
        topology=str(topology.path.absolute()),
        redis_url=url,
        key_prefix=topology.redis.key_prefix,
        started_at=format_timestamp(wall_now()),
        control=str(control),
        directory=str(directory),
    )


def _publishing_directories(directory: Path, record: RunRecord, folder: Path) -> list[Path]:
    """Where to write the state file: next to the topology file and in the working directory."""
    directories = [directory]
    if Path.cwd() != folder:
        # An unwritable working directory must not prevent the topology from running.
        with suppress(ControlFailed):
            here = state_directory(Path.cwd(), record.name)
            if os.access(here, os.W_OK):
                directories.append(here)
    return directories


def _serve(
    stack: ExitStack,
    supervisor: Supervisor,
    deployment: Deployment,
    settings: Settings,
    publication: Publication,
    redis: Server,
) -> tuple[ControlServer, Applier]:
    """Let the supervisor accept commands and signals, and report to its parent."""
    changes = Changes(supervisor, deployment.plan, deployment.names)
    applier = Applier(supervisor, changes, deployment, settings, publication, redis)
    commands = Commands(supervisor, changes, applier, publication)
    server = ControlServer(Path(publication.record.control), commands.by_name())
    supervisor.serve(stack.enter_context(server))
    reload = Reload(supervisor, applier)
    if not has_terminal():
        supervisor.handle_hangup(reload.request)
    # In this order: a reload that fails at once is reported, too.
    supervisor.serve(Reporter(supervisor, Notifier.from_environ(os.environ), reload))
    supervisor.serve(reload)
    if settings.watch:
        supervisor.serve(stack.enter_context(Watcher(supervisor, changes, applier)))
    return server, applier


@contextmanager
def _output(
    plans: Sequence[ChildPlan], screen: Screen, files: LogFiles, log_level: str | None
) -> Iterator[Output]:
    """Direct the output of the children and the supervisor's log to the screen."""
    sink = Sink(screen.fd, partial(_report_closed_output, screen))
    output = Output(sink, [plan.name for plan in plans], screen.paint, files)
    is_json = all(plan.env["LOG_FORMAT"] == "json" for plan in plans)
    handler = StreamHandler(
        output.stream(SUPERVISOR, SUPERVISOR, is_json=is_json, is_formatted=True)
    )
    source = WorkerConfig(worker_id=SUPERVISOR, pool=SUPERVISOR)
    handler.setFormatter(JsonFormatter(source) if is_json else TextFormatter(screen.is_colored))
    logger = logging.getLogger("bananas_topology")
    logger.setLevel((log_level or "info").upper())
    logger.addHandler(handler)
    try:
        yield output
    finally:
        logger.removeHandler(handler)


def _report_closed_output(screen: Screen) -> None:
    with suppress(OSError):  # messages may have the same reader
        screen.notice("error: the reader of the output has exited; stopping")


def _drain(
    inspector: Inspector, plans: Sequence[ChildPlan], output: Output, screen: Screen
) -> Drain:
    workers = [plan.name for plan in plans]
    if screen.is_terminal:
        return Drain(inspector, workers, output.sink.show_status, show_every_s=0.0)
    return Drain(inspector, workers, logging.getLogger(__name__).info, show_every_s=PROGRESS_S)


def _watch_reports(
    stack: ExitStack,
    supervisor: Supervisor,
    output: Output,
    host: Host,
    settings: Settings,
    inspector: Inspector,
) -> None:
    """Pass on what workers report about their jobs: to the terminal and the metrics port."""
    if host.shows_jobs:
        _show_jobs(supervisor, output, settings)
    if settings.metrics_port is not None:
        _serve_metrics(stack, supervisor, settings.metrics_port, inspector)


def _show_jobs(supervisor: Supervisor, output: Output, settings: Settings) -> None:
    """Show finished jobs, unless a drain shows its progress, which includes their number."""
    show_rate = (lambda text: None) if settings.drain else output.sink.show_status
    stream = JobStream(output.show, show_rate)
    supervisor.receive(JOBS, stream.take)
    supervisor.serve(stream)


def _serve_metrics(
    stack: ExitStack, supervisor: Supervisor, port: int, inspector: Inspector
) -> None:
    # Imported here: it costs memory that a run without a port does not need.
    from bananas_topology.local.metrics import RunMetrics, serve_metrics

    metrics = RunMetrics(supervisor, inspector)
    supervisor.receive(METRICS, metrics.take)
    stack.callback(serve_metrics(port, metrics).server_close)


def _exit_code(result: RunResult, drain: Drain | None, children: int, screen: Screen) -> int:
    if drain is not None:
        screen.notice(drain.summary() if result.drained else "stopped before draining finished")
    if result.given_up:
        names = ", ".join(result.given_up)
        children_given_up = "all processes" if len(result.given_up) == children > 1 else names
        screen.notice(f"error: gave up restarting {children_given_up}; see {screen.where_logs_are}")
        return FAILED
    if result.killed or (drain is not None and drain.died):
        return FAILED
    return OK if drain is None or result.drained else INTERRUPTED
