"""`bananas up`: everything that a topology describes, on this host.

Puts the parts together (spec, plan, server, supervisor) and keeps none of their knowledge.
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

if TYPE_CHECKING:
    import redis

    from bananas_topology.cli.drain import Drain
    from bananas_topology.spec.model import Api, Pool, Topology
    from bananas_topology.supervisor.output import Output
    from bananas_topology.supervisor.plan import ChildPlan
    from bananas_topology.supervisor.supervisor import RunResult

#: Seconds between two progress lines of a drain where they cannot replace each other.
PROGRESS_S = 2.0

#: What the extra `api` installs.
_API_NEEDS = ("fastapi", "uvicorn")


class LogFormat(StrEnum):
    """What the lines look like; `auto` leaves it to the topology, and to text if it says none."""

    AUTO = "auto"
    TEXT = "text"
    JSON = "json"


_File = Annotated[Path, typer.Argument(metavar="[FILE]", help="The topology file.")]
_Scale = Annotated[
    list[str] | None,
    typer.Option("--scale", metavar="POOL=N", help="Start N replicas of a pool. May be repeated."),
]
_Only = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="POOL,POOL", help="Start these pools and no others."),
]
_DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show what would be started, and start nothing.")
]
_Drain = Annotated[
    bool, typer.Option("--drain", help="Stop when no job is left; fail if one has died meanwhile.")
]
_LogFormat = Annotated[
    LogFormat, typer.Option("--log-format", help="What the workers' lines look like.")
]


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

    Every replica of every pool becomes a worker process; one that dies is started again. With
    neither `redis.url` nor REDIS_URL, a server of our own is started too, with its data in
    `.bananas` beside the topology file. Ctrl-C lets running jobs finish, and a second one hands
    them back at once.

    Examples:

        bananas up

        bananas up topologies/specialized.yaml --scale worker-high=5

        bananas up --only worker-high,scheduler

        bananas up --dry-run

        bananas up --drain && echo "all done"
    """
    from bananas_topology.supervisor.plan import select_api, select_pools

    topology = read_topology(file, "started")
    names = [name.strip() for text in only or () for name in text.split(",")]
    pools = select_pools(topology, dict(_scaling(text) for text in scale or ()), names)
    api = select_api(topology, names)
    if dry_run:
        console.print_plan(pools, api)
        return
    asked = None if log_format is LogFormat.AUTO else log_format.value
    raise typer.Exit(_run(topology, pools, _Options(redis_url, asked, drain, api)))


def _scaling(text: str) -> tuple[str, int]:
    """Read ``pool=3``."""
    name, _, count = text.partition("=")
    try:
        return name, int(count)
    except ValueError as error:
        raise typer.BadParameter(
            f'"{text}" is not a pool and a number; expected POOL=N, such as worker-high=3',
            param_hint="--scale",
        ) from error


def _run(topology: Topology, pools: Sequence[tuple[Pool, int]], options: _Options) -> int:
    """Start it all and see it through; what was started first is stopped last."""
    from bananas_topology.cli.server import named_url
    from bananas_topology.jobs.connection import check_server, connect, redact
    from bananas_topology.supervisor.plan import Host, plan_api, plan_children
    from bananas_topology.supervisor.record import exclusive_lock, state_directory
    from bananas_topology.supervisor.supervisor import Supervisor

    url = named_url(options.redis_url, os.environ) or topology.redis.url
    if not url and topology.redis.is_external:
        # An empty server of our own instead would hide that the jobs lie elsewhere.
        raise ControlFailed(
            f"redis.url in {topology.path} names a variable that is not set: "
            "set it, or give --redis-url"
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
            url, on_poll = _embedded(stack, directory)
        client = stack.enter_context(connect(url, key_prefix=topology.redis.key_prefix))
        for warning in check_server(client):
            console.notice(f"warning: {warning}")
        host = Host(os.environ, url, options.log_format, console.is_colored(sys.stdout))
        workers = plan_children(topology, pools, host)
        plans = (*workers, *([plan_api(topology, options.api, host)] if options.api else []))
        _write_record(stack, directory, topology, url)
        console.notice(f"starting {_extent(topology, pools, options.api)}; Ctrl-C stops it")
        output = stack.enter_context(_output(plans))
        drain = _drain(topology, workers, client, output) if options.drain else None
        is_drained = drain.is_over if drain else None
        result = Supervisor(plans, output, is_drained=is_drained, on_poll=on_poll).run()
    return _exit_code(result, drain, len(plans))


def _check_api_is_installed() -> None:
    if any(importlib.util.find_spec(name) is None for name in _API_NEEDS):
        raise ControlFailed(
            "the topology has an api, which needs more than is installed: "
            "pip install 'bananas-topology[api]', or name the pools to start: --only POOL,POOL"
        )


def _extent(topology: Topology, pools: Sequence[tuple[Pool, int]], api: Api | None) -> str:
    """How much is started, in words."""
    processes = sum(count for _, count in pools)
    threads = sum(pool.concurrency * count for pool, count in pools)
    also = f", api on port {api.port}" if api else ""
    return f"{topology.name}: worker processes: {processes}, threads: {threads}{also}"


def _embedded(stack: ExitStack, directory: Path) -> tuple[str, Callable[[], None]]:
    """Start the embedded server: its URL, and what keeps it alive."""
    from bananas_topology.jobs.embedded import EmbeddedServer

    server = stack.enter_context(EmbeddedServer(directory))
    url = server.start()
    console.notice(f"redis: embedded Valkey on {url}, data in {os.path.relpath(directory)}")
    return url, server.restart_if_dead


def _write_record(stack: ExitStack, directory: Path, topology: Topology, url: str) -> None:
    """Let other commands find us: beside the topology file, and where we were started."""
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
        # A folder that cannot be written to is no reason not to work.
        with suppress(ControlFailed, OSError):
            here = state_directory(Path.cwd() / DEFAULT_FILE, topology.name)
            stack.enter_context(published_record(here, record))


@contextmanager
def _output(plans: Sequence[ChildPlan]) -> Iterator[Output]:
    """Standard output for the children's lines, with the supervisor's own among them."""
    from bananas_topology.contract.worker import WorkerConfig
    from bananas_topology.supervisor.output import SUPERVISOR, Output, StreamHandler
    from bananas_topology.supervisor.sink import Sink
    from bananas_topology.worker.logs import JsonFormatter, TextFormatter

    output = Output(
        Sink(sys.stdout.fileno()), [plan.name for plan in plans], console.painter(sys.stdout)
    )
    is_json = all(plan.env["LOG_FORMAT"] == "json" for plan in plans)
    handler = StreamHandler(output.stream(SUPERVISOR, SUPERVISOR, is_json=is_json))
    us = WorkerConfig(worker_id=SUPERVISOR, pool=SUPERVISOR)
    colored = console.is_colored(sys.stdout)
    handler.setFormatter(JsonFormatter(us) if is_json else TextFormatter(colored))
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
    if console.can_rewrite(sys.stdout):
        return Drain(inspector, workers, output.sink.show_status, show_every_s=0.0)
    return Drain(inspector, workers, logging.getLogger(__name__).info, show_every_s=PROGRESS_S)


def _exit_code(result: RunResult, drain: Drain | None, children: int) -> int:
    if drain is not None:
        console.notice(drain.summary() if result.drained else "not drained: stopped before that")
    if result.given_up:
        every = len(result.given_up) == children
        who = "every worker was" if every else ", ".join(result.given_up)
        console.notice(f"error: {who} given up: the lines above say why")
        return FAILED
    if result.killed or (drain is not None and drain.died):
        return FAILED
    return OK if drain is None or result.drained else INTERRUPTED
