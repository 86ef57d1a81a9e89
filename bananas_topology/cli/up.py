"""`bananas up`: run a topology on this host. What that takes is in `local/`."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bananas_topology.cli import console
from bananas_topology.cli.options import DEFAULT_FILE, RedisUrl
from bananas_topology.cli.scale import parse_scale
from bananas_topology.cli.topology import read_topology

if TYPE_CHECKING:
    from bananas_topology.local.run import Screen


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
    from bananas_topology.cli.server import explicit_url
    from bananas_topology.local.run import Options, run
    from bananas_topology.supervisor.plan import select_api, select_pools

    topology = read_topology(file, "started")
    names = [name.strip() for text in only or () for name in text.split(",")]
    pools = select_pools(
        topology, dict(parse_scale(text, "--scale") for text in scale or ()), names
    )
    api = select_api(topology, names)
    if dry_run:
        console.print_plan(pools, api)
        return
    options = Options(
        pools=pools,
        api=api,
        redis_url=explicit_url(redis_url, os.environ),
        log_format=None if log_format is LogFormat.AUTO else log_format.value,
        drain=drain,
    )
    raise typer.Exit(run(topology, options, os.environ, _screen()))


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
