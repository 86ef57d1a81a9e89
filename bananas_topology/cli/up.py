"""`bananas up`: run a topology on this host.

Connects the parts (spec, plan, server, supervisor); their logic stays in them.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bananas_topology.cli import console
from bananas_topology.cli.exit_codes import FAILED, INTERRUPTED, OK
from bananas_topology.cli.options import DEFAULT_FILE, RedisUrl
from bananas_topology.cli.topology import read_topology
from bananas_topology.errors import ControlFailed
from bananas_topology.units import quantity

if TYPE_CHECKING:
    import redis

    from bananas_topology.cli.drain import Drain
    from bananas_topology.spec.model import Api, Pool, Topology
    from bananas_topology.supervisor.output import Output
    from bananas_topology.supervisor.plan import ChildPlan
    from bananas_topology.supervisor.supervisor import RunResult

#: Seconds between progress lines of a drain when the output is not a terminal.
PROGRESS_S = 2.0

#: Modules installed by the extra `api`.
_API_MODULES = ("fastapi", "uvicorn")


class LogFormat(StrEnum):
    """Log formats; `auto` uses the topology's, or text if it sets none."""

    AUTO = "auto"
    TEXT = "text"
    JSON = "json"


_File = Annotated[Path, typer.Argument(metavar="[FILE]", help="Topology file.")]
_Scale = Annotated[
    list[str] | None,
    typer.Option("--scale", metavar="POOL=N", help="Override the replicas of a pool. Repeatable."),
]
_Only = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="POOL,POOL", help="Start only these pools."),
]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would be started and exit.")]
_Drain = Annotated[
    bool, typer.Option("--drain", help="Exit when no jobs are left; fail if any died.")
]
_LogFormat = Annotated[LogFormat, typer.Option("--log-format", help="Log format of the workers.")]


@dataclass(frozen=True, slots=True)
class _Options:
    redis_url: str | None
    log_format: str | None
    drain: bool
    api: Api | None


def up(
    file: _File = DEFAULT_FILE,
    scale: _Scale = None,
    only: _Only = None,
    dry_run: _DryRun = False,
    drain: _Drain = False,
    log_format: _LogFormat = LogFormat.AUTO,
    redis_url: RedisUrl = None,
) -> None:
    """Run a topology on this host until Ctrl-C.

    Starts one worker process per pool replica and restarts any that exit. If neither `redis.url`
    nor REDIS_URL is set, also starts the bundled server, with its data in `.bananas` next to the
    topology file. Ctrl-C waits for running jobs to finish; a second Ctrl-C requeues them and
    stops immediately.

    Examples:

        bananas up

        bananas up topologies/specialized.yaml --scale worker-high=5

        bananas up --only worker-high,scheduler

        bananas up --dry-run

        bananas up --drain && echo "all jobs completed"
    """
    from bananas_topology.supervisor.plan import select_api, select_pools

    topology = read_topology(file, "started")
    names = [name.strip() for text in only or () for name in text.split(",")]
    pools = select_pools(topology, dict(_parse_scale(text) for text in scale or ()), names)
    api = select_api(topology, names)
    if dry_run:
        console.print_plan(pools, api)
        return
    format = None if log_format is LogFormat.AUTO else log_format.value
    raise typer.Exit(_run(topology, pools, _Options(redis_url, format, drain, api)))


def _parse_scale(text: str) -> tuple[str, int]:
    """Parse ``pool=3``."""
    name, _, count = text.partition("=")
    try:
        return name, int(count)
    except ValueError as error:
        raise typer.BadParameter(
            f'expected POOL=N such as worker-high=3, got "{text}"',
            param_hint="--scale",
        ) from error


def _run(topology: Topology, pools: Sequence[tuple[Pool, int]], options: _Options) -> int:
    """Start everything and run until the end; what starts first stops last."""
    from bananas_topology.cli.server import explicit_url
    from bananas_topology.jobs.connection import check_server, connect, redact
    from bananas_topology.supervisor.plan import Host, plan_api, plan_children
    from bananas_topology.supervisor.record import exclusive_lock, state_directory
    from bananas_topology.supervisor.supervisor import Supervisor

    url = explicit_url(options.redis_url, os.environ) or topology.redis.url
    if not url and topology.redis.is_external:
        # Falling back to an empty bundled server would hide that the jobs are elsewhere.
        raise ControlFailed(
            f"redis.url in {topology.path} refers to a variable that is not set; "
            "set it or use --redis-url"
        )
    if options.api is not None:
        _check_api_is_installed()
    directory = state_directory(topology.path, topology.name)
    with ExitStack() as stack:
        stack.enter_context(exclusive_lock(directory, topology.name))
        on_poll = None
        if url:
            console.notice(f"redis: {redact(url)}")
        else:
            url, on_poll = _start_bundled_server(stack, directory)
        client = stack.enter_context(connect(url, key_prefix=topology.redis.key_prefix))
        for warning in check_server(client):
            console.notice(f"warning: {warning}")
        host = Host(os.environ, url, options.log_format, console.is_colored(sys.stdout))
        workers = plan_children(topology, pools, host)
        plans = (*workers, *([plan_api(topology, options.api, host)] if options.api else []))
        _write_record(stack, directory, topology, url)
        console.notice(f"starting {_summary(topology, pools, options.api)}; press Ctrl-C to stop")
        output = stack.enter_context(_output(plans))
        drain = _drain(topology, workers, client, output) if options.drain else None
        is_drained = drain.is_over if drain else None
        result = Supervisor(plans, output, is_drained=is_drained, on_poll=on_poll).run()
    return _exit_code(result, drain, len(plans))


def _check_api_is_installed() -> None:
    if any(importlib.util.find_spec(name) is None for name in _API_MODULES):
        raise ControlFailed(
            "the api requires additional packages: run pip install 'bananas-topology[api]', "
            "or start only the pools with --only POOL,POOL"
        )


def _summary(topology: Topology, pools: Sequence[tuple[Pool, int]], api: Api | None) -> str:
    """Summarize what is started."""
    processes = quantity(sum(count for _, count in pools), "worker process")
    threads = quantity(sum(pool.worker.concurrency * count for pool, count in pools), "thread")
    also = f", api on port {api.config.port}" if api else ""
    return f"{topology.name}: {processes}, {threads}{also}"


def _start_bundled_server(stack: ExitStack, directory: Path) -> tuple[str, Callable[[], None]]:
    """Start the bundled server; returns its URL and a function that restarts it if it exits."""
    from bananas_topology.jobs.bundled_server import BundledServer

    server = stack.enter_context(BundledServer(directory))
    url = server.start()
    console.notice(f"redis: bundled Valkey at {url}, data in {os.path.relpath(directory)}")
    return url, server.restart_if_dead


def _write_record(stack: ExitStack, directory: Path, topology: Topology, url: str) -> None:
    """Write the state file, next to the topology file and in the working directory."""
    from bananas_topology.supervisor.record import (
        RunRecord,
        published_record,
        state_directory,
        write,
    )
    from bananas_topology.system.clock import format_timestamp, wall_now
    from bananas_topology.system.processes import start_time_token

    pid = os.getpid()
    record = RunRecord(
        pid=pid,
        start_time_token=start_time_token(pid) or "",
        name=topology.name,
        topology=str(topology.path.absolute()),
        redis_url=url,
        key_prefix=topology.redis.key_prefix,
        started_at=format_timestamp(wall_now()),
    )
    write(directory, record)
    if Path.cwd() != topology.path.absolute().parent:
        # An unwritable working directory must not prevent the topology from running.
        with suppress(ControlFailed, OSError):
            here = state_directory(Path.cwd() / DEFAULT_FILE, topology.name)
            stack.enter_context(published_record(here, record))


@contextmanager
def _output(plans: Sequence[ChildPlan]) -> Iterator[Output]:
    """Direct the output of the children and the supervisor's log to standard output."""
    from bananas_topology.contract.worker import WorkerConfig
    from bananas_topology.supervisor.output import SUPERVISOR, Output, StreamHandler
    from bananas_topology.supervisor.sink import Sink
    from bananas_topology.worker.logs import JsonFormatter, TextFormatter

    output = Output(
        Sink(sys.stdout.fileno()), [plan.name for plan in plans], console.painter(sys.stdout)
    )
    is_json = all(plan.env["LOG_FORMAT"] == "json" for plan in plans)
    handler = StreamHandler(output.stream(SUPERVISOR, SUPERVISOR, is_json=is_json))
    source = WorkerConfig(worker_id=SUPERVISOR, pool=SUPERVISOR)
    colored = console.is_colored(sys.stdout)
    handler.setFormatter(JsonFormatter(source) if is_json else TextFormatter(colored))
    logger = logging.getLogger("bananas_topology")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield output
    finally:
        logger.removeHandler(handler)


def _drain(
    topology: Topology, plans: Sequence[ChildPlan], client: redis.Redis, output: Output
) -> Drain:
    from bananas_topology.cli.drain import Drain
    from bananas_topology.jobs.inspect import Inspector
    from bananas_topology.jobs.keys import Keys

    inspector = Inspector(client, Keys(topology.redis.key_prefix))
    workers = [plan.name for plan in plans]
    if console.is_terminal(sys.stdout):
        return Drain(inspector, workers, output.sink.show_status, show_every_s=0.0)
    return Drain(inspector, workers, logging.getLogger(__name__).info, show_every_s=PROGRESS_S)


def _exit_code(result: RunResult, drain: Drain | None, children: int) -> int:
    if drain is not None:
        console.notice(drain.summary() if result.drained else "stopped before draining finished")
    if result.given_up:
        names = ", ".join(result.given_up)
        children_given_up = "all processes" if len(result.given_up) == children > 1 else names
        console.notice(f"error: gave up restarting {children_given_up}; see the log above")
        return FAILED
    if result.killed or (drain is not None and drain.died):
        return FAILED
    return OK if drain is None or result.drained else INTERRUPTED
