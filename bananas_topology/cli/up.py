"""`bananas up`: run a topology on this host. What that takes is in `local/`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from bananas_topology.cli import console
from bananas_topology.cli.apply import Yes, apply_to, select
from bananas_topology.cli.control import WAIT_TIMEOUT, WaitTimeout
from bananas_topology.cli.durations import seconds
from bananas_topology.cli.env_file import EnvFiles, env_files_of
from bananas_topology.cli.exit_codes import FAILED, OK
from bananas_topology.cli.options import FileArgument, LogLevel, Overlays, Overrides, RedisUrl
from bananas_topology.cli.scale import parse_scale
from bananas_topology.cli.topology import TopologyFiles, read_topology, topology_files
from bananas_topology.contract.redis_url import redact
from bananas_topology.system.clock import wall_now

if TYPE_CHECKING:
    from datetime import datetime

    from bananas_topology.local.detach import Outcome
    from bananas_topology.local.run import Screen
    from bananas_topology.local.settings import Settings
    from bananas_topology.spec.model import Api, Pool, Topology
    from bananas_topology.supervisor.record import RunRecord


class LogFormat(StrEnum):
    """Log formats; `auto` uses the topology's, or text if it sets none."""

    AUTO = "auto"
    TEXT = "text"
    JSON = "json"


_Scale = Annotated[
    list[str] | None,
    typer.Option("--scale", metavar="POOL=N", help="Override the replicas of a pool. Repeatable."),
]
_Only = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="POOL,POOL", help="Start only these pools."),
]
_Detach = Annotated[
    bool, typer.Option("--detach", "-d", help="Run in the background, once everything is ready.")
]
_Adopt = Annotated[
    str | None,
    typer.Option(
        "--adopt",
        metavar="NAME",
        help="Continue with the data of another topology in this folder.",
        show_default=False,
    ),
]
_Watch = Annotated[
    bool,
    typer.Option("--watch", help="Apply the file and restart workers when their sources change."),
]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Print what would be started and exit.")]
_Drain = Annotated[
    bool, typer.Option("--drain", help="Exit when no jobs are left; fail if any died.")
]
_LogFormat = Annotated[LogFormat, typer.Option("--log-format", help="Log format of the workers.")]
_LogLevel = Annotated[
    LogLevel | None,
    typer.Option(
        "--log-level",
        help="Least severe level to log.  [default: as in the topology]",
        show_default=False,
    ),
]
_MetricsPort = Annotated[
    int | None,
    typer.Option(
        "--metrics-port",
        metavar="PORT",
        min=1,
        max=65535,
        help="Serve the metrics of all processes at /metrics.",
        show_default=False,
    ),
]
_Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Do not show jobs as they finish on a terminal.")
]


def up(
    context: typer.Context,
    file: FileArgument = None,
    overlays: Overlays = None,
    overrides: Overrides = None,
    scale: _Scale = None,
    only: _Only = None,
    detach: _Detach = False,
    wait_timeout: WaitTimeout = WAIT_TIMEOUT,
    yes: Yes = False,
    adopt: _Adopt = None,
    watch: _Watch = False,
    dry_run: _DryRun = False,
    drain: _Drain = False,
    log_format: _LogFormat = LogFormat.AUTO,
    log_level: _LogLevel = None,
    quiet: _Quiet = False,
    metrics_port: _MetricsPort = None,
    redis_url: RedisUrl = None,
) -> None:
    """Run a topology on this host until Ctrl-C.

    Starts one worker process per pool replica and restarts any that exit. If neither `redis.url`
    nor REDIS_URL is set, also starts the bundled server, with its data in `.bananas` next to the
    topology file. Ctrl-C waits for running jobs to finish; a second Ctrl-C requeues them and
    stops immediately.

    `bananas ps`, `logs`, `scale`, `restart` and `down` control it. With -d it runs in the
    background; if a process does not become ready, its last lines are shown, the exit code is 1,
    and the others keep running. On a running topology it is `bananas apply`. A terminal shows
    each job as it finishes, or many as a rate.

    Examples:

        bananas up

        bananas up topologies/specialized.yaml --scale worker-high=5

        bananas up base.yaml -f staging.yaml --set pools.worker.concurrency=5

        bananas up --drain && echo "all jobs completed"
    """
    files = topology_files(overlays, overrides, file)
    topology = read_topology(files, "started")
    env = env_files_of(context)
    settings = _settings(files, env, scale or [], only or [], redis_url, drain, adopt, watch)
    settings = _with_output(settings, log_format, log_level, quiet, metrics_port)
    _check_can_detach(files, detach=detach, drain=drain)
    background = (files, wait_timeout, yes) if detach else None
    raise typer.Exit(_run(topology, settings, env, background, dry_run=dry_run))


def _run(
    topology: Topology,
    settings: Settings,
    env: EnvFiles,
    background: tuple[TopologyFiles, str, bool] | None,
    *,
    dry_run: bool,
) -> int:
    """Start the topology, in the background with the arguments for that; returns the exit code."""
    from bananas_topology.local.deployment import select, server_of
    from bananas_topology.local.run import run
    from bananas_topology.supervisor.plan import unset_variables

    selected = select(topology, settings)
    url = server_of(topology, settings, os.environ)
    if background is not None and not dry_run:
        files, wait_timeout, yes = background
        if (record := _running(topology, files)) is not None:
            return _apply(record, settings, env, files, wait_timeout, yes=yes)
    console.warn_of_unset(unset_variables(*selected, os.environ))
    if dry_run:
        _print_plan(url, *selected)
        return OK
    if background is not None:
        return _start_detached(topology, settings, env, background[1])
    return run(topology, settings, env.shell, _screen())


def _check_can_detach(files: TopologyFiles, *, detach: bool, drain: bool) -> None:
    if not detach:
        return
    if drain:
        raise typer.BadParameter("cannot be combined with --detach", param_hint="--drain")
    if files.reads_stdin:
        raise typer.BadParameter("requires a file that can be read again", param_hint="--detach")


def _print_plan(url: str | None, pools: Sequence[tuple[Pool, int]], api: Api | None) -> None:
    console.notice(f"redis: {redact(url) if url else 'bundled server'}")
    console.print_plan(pools, api)


def _settings(
    files: TopologyFiles,
    env: EnvFiles,
    scale: list[str],
    only: list[str],
    redis_url: str | None,
    drain: bool,
    adopt: str | None,
    watch: bool,
) -> Settings:
    from bananas_topology.local.settings import Settings

    return Settings(
        file=str(files.path),
        overlays=tuple(map(str, files.overlays)),
        overrides=files.overrides,
        env_files=env.paths,
        variables=env.variables,
        scale=dict(parse_scale(text, "--scale") for text in scale),
        only=tuple(name.strip() for text in only for name in text.split(",")),
        redis_url=redis_url,
        drain=drain,
        adopt=adopt,
        watch=watch,
    )


def _running(topology: Topology, files: TopologyFiles) -> RunRecord | None:
    from bananas_topology.supervisor.record import find

    path = topology.path.absolute()
    # One file with different overlays may run under several names.
    return find(path.parent, topology.name, None if files.is_merged else path)


def _apply(
    record: RunRecord,
    settings: Settings,
    env: EnvFiles,
    files: TopologyFiles,
    wait_timeout: str,
    *,
    yes: bool,
) -> int:
    """Apply the topology to what runs; returns the exit code."""
    console.notice(f"{record.name} is already running (process {record.pid})")
    if ignored := _options_of_start(settings):
        console.notice(
            f"warning: {', '.join(ignored)} ignored: set at the start only, after `bananas down`"
        )
    given = replace(files, is_given=True)
    selection = select(given, env, settings.scale, settings.only or None)
    apply_to(record, selection, wait_timeout, yes=yes)
    return OK


def _options_of_start(settings: Settings) -> list[str]:
    """The given options that cannot be applied to a running topology."""
    options = {
        "--redis-url": settings.redis_url,
        "--log-format": settings.log_format,
        "--log-level": settings.log_level,
        "--metrics-port": settings.metrics_port,
        "--adopt": settings.adopt,
        "--watch": settings.watch,
    }
    return [name for name, value in options.items() if value]


def _with_output(
    settings: Settings,
    log_format: LogFormat,
    log_level: LogLevel | None,
    quiet: bool,
    metrics_port: int | None,
) -> Settings:
    return replace(
        settings,
        log_format=None if log_format is LogFormat.AUTO else log_format.value,
        log_level=log_level.value if log_level else None,
        is_quiet=quiet,
        metrics_port=metrics_port,
    )


def _start_detached(
    topology: Topology, settings: Settings, env: EnvFiles, wait_timeout: str
) -> int:
    from bananas_topology.local.detach import start_detached

    timeout_s = seconds(wait_timeout, "--wait-timeout")
    started_at = wall_now()
    outcome = start_detached(settings, env.shell, timeout_s, console.notice)
    if outcome.is_ready:
        console.notice(f"{topology.name} is running; stop it with `bananas down`")
        return OK
    _report_failure(topology, outcome, started_at, wait_timeout)
    return FAILED


def _report_failure(
    topology: Topology, outcome: Outcome, started_at: datetime, wait_timeout: str
) -> None:
    """Say which processes are not ready and why, and show their last lines, equal ones once."""
    from bananas_topology.local.client import last_lines, processes_not_ready

    file = topology.path.absolute()
    is_running = outcome.exit_code is None
    reasons = outcome.failed or (processes_not_ready(file, topology.name) if is_running else {})
    alike: dict[tuple[str, ...], list[str]] = {}
    for name, reason in reasons.items():
        lines = last_lines(file, topology.name, name, started_at)
        alike.setdefault((reason, *lines), []).append(name)
    for (reason, *lines), names in alike.items():
        more = "; last lines:" if lines else ""
        console.notice(f"error: not ready: {', '.join(names)} ({reason}){more}")
        for line in lines:
            console.notice(f"  {line}")
    if is_running and not reasons:
        console.notice(f"error: not ready within {wait_timeout}")
    if is_running:
        console.notice(f"{topology.name} keeps running; stop it with `bananas down`")


def _screen() -> Screen:
    """Standard output for the children's lines, standard error for messages."""
    from bananas_topology.local.run import Screen

    return Screen(
        fd=sys.stdout.fileno(),
        notice=console.notice,
        paint=console.painter(sys.stdout),
        is_colored=console.is_colored(sys.stdout),
        is_terminal=console.is_terminal(sys.stdout),
    )
