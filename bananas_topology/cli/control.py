"""Commands for what `bananas up` runs on this host: `ps`, `scale`, `restart` and `down`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bananas_topology.cli import completion, console
from bananas_topology.cli.durations import seconds
from bananas_topology.cli.options import AsFormat, Format, Overrides, TopologyFile
from bananas_topology.cli.scale import parse_scale
from bananas_topology.cli.topology import TopologyFiles, topology_files, wanted_run
from bananas_topology.errors import ControlFailed
from bananas_topology.system.clock import parse_timestamp, sleep
from bananas_topology.system.terminal import visible

if TYPE_CHECKING:
    from bananas_topology.supervisor.record import RunRecord

#: Seconds between two refreshes of `ps --watch`.
WATCH_S = 1.0

#: Seconds on top of the processes' grace periods that a stop may take: the server saves its data.
STOP_MARGIN_S = 30.0

#: How long a process may take to become ready, unless the command line says otherwise.
WAIT_TIMEOUT = "60s"

_COLUMNS = ("process", "pid", "state", "uptime", "restarts", "busy", "jobs", "memory", "cpu")


_Watch = Annotated[bool, typer.Option("--watch", "-w", help="Refresh every second until Ctrl-C.")]
_Scales = Annotated[
    list[str],
    typer.Argument(
        metavar="POOL=N...", help="Replicas by pool.", autocompletion=completion.scaled_pools
    ),
]
_Pools = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[POOL]...",
        help="Pools; all if none are given.",
        autocompletion=completion.pools,
    ),
]
WaitTimeout = Annotated[
    str,
    typer.Option(
        "--wait-timeout",
        metavar="DURATION",
        help="Maximum time for processes to become ready.",
    ),
]
_Timeout = Annotated[
    str | None,
    typer.Option(
        "--timeout",
        metavar="DURATION",
        help="Requeue jobs still running after this time.  [default: the grace period]",
        show_default=False,
    ),
]
_Now = Annotated[bool, typer.Option("--now", help="Requeue running jobs and stop immediately.")]


def ps(
    format: AsFormat = Format.TEXT,
    watch: _Watch = False,
    files: TopologyFile = None,
    overrides: Overrides = None,
) -> None:
    """Show the processes of a running `bananas up`.

    Works for a foreground `up` too. `jobs` counts completed jobs since `up` started; `busy` is
    running jobs of all slots; memory and CPU are those of the process itself.

    Examples:

        bananas ps

        bananas ps --watch

        bananas ps --format json | jq '.processes[] | select(.state != "ready")'
    """
    from bananas_topology.local.client import request

    while True:
        described = request(_run(topology_files(files, overrides)), "ps")
        if watch:
            console.clear_screen()
        if format is Format.JSON:
            console.print_json(described)
        else:
            _print_run(described)
        if not watch:
            return
        sys.stdout.flush()
        sleep(WATCH_S)


def scale(
    replicas: _Scales,
    wait_timeout: WaitTimeout = WAIT_TIMEOUT,
    files: TopologyFile = None,
    overrides: Overrides = None,
) -> None:
    """Change the number of processes of running pools.

    Returns once new processes are ready and surplus ones are gone. These claim no more jobs and
    exit when their running jobs are done, however long that takes. The topology file is not
    changed: the next `bananas up` starts what it says.

    Examples:

        bananas scale worker-high=5

        bananas scale worker-high=5 worker-low=0
    """
    wanted = dict(parse_scale(text, "POOL=N") for text in replicas)
    record = _run(topology_files(files, overrides))
    change(
        record, "scale", replicas=wanted, ready_timeout_s=seconds(wait_timeout, "--wait-timeout")
    )


def restart(
    pools: _Pools = None,
    wait_timeout: WaitTimeout = WAIT_TIMEOUT,
    files: TopologyFile = None,
    overrides: Overrides = None,
) -> None:
    """Restart processes one by one, without interrupting a job.

    Loads changed handlers. In each pool one more process is started first, so that there are never
    fewer ready ones than before; each of the others finishes its running jobs before it is
    replaced. If a new process does not become ready, the remaining old ones keep running.

    Examples:

        bananas restart

        bananas restart worker-high worker-low
    """
    record = _run(topology_files(files, overrides))
    change(
        record,
        "restart",
        pools=pools or [],
        ready_timeout_s=seconds(wait_timeout, "--wait-timeout"),
    )


def down(
    timeout: _Timeout = None,
    now: _Now = False,
    files: TopologyFile = None,
    overrides: Overrides = None,
) -> None:
    """Stop a running `bananas up`.

    Running jobs have the grace periods of their pools to finish; those that take longer are
    requeued without counting an attempt. The bundled server is stopped last and keeps its data.

    Examples:

        bananas down

        bananas down --timeout 5m

        bananas down --now
    """
    from bananas_topology.local.client import request, wait_until_gone

    record = _run(topology_files(files, overrides))
    limit_s = None if timeout is None else seconds(timeout, "--timeout")
    with console.status_line() as show:
        request(record, "down", show, timeout_s=0.0 if now else limit_s)
        is_gone = wait_until_gone(record, STOP_MARGIN_S)
    if not is_gone:
        raise ControlFailed(f"process {record.pid} has stopped its workers but is still running")
    console.notice(f"stopped {record.name}")


def _run(files: TopologyFiles) -> RunRecord:
    from bananas_topology.local.runs import find_run

    return find_run(wanted_run(files))


def change(record: RunRecord, command: str, **arguments: Any) -> None:
    """Let a run carry out a change, show how it gets on, and print its summary.

    Raises:
        ControlFailed: it has failed.
    """
    from bananas_topology.local.client import request

    with console.status_line() as show:
        done = request(record, command, show, **arguments)
    if "summary" not in done:
        raise ControlFailed("the running `up` ended meanwhile")
    console.notice(done["summary"])


def _print_run(described: dict[str, Any]) -> None:
    processes = described["processes"]
    is_terminal = console.is_terminal(sys.stdout)
    if not is_terminal:
        rows = [(*_row(each), each["last_exit"] or "") for each in processes]
        console.print_table((*_COLUMNS, "last exit"), rows)
        return
    change = f", {described['change']}" if described["change"] else ""
    uptime = console.age(parse_timestamp(described["started_at"]))
    print(f"{described['name']}: {described['state']} for {uptime}, pid {described['pid']}{change}")
    print()
    console.print_table(_COLUMNS, [_row(each) for each in processes], gap=2)
    exits = [each for each in processes if each["last_exit"]]
    if exits:
        print()
    for each in exits:
        when = console.age(parse_timestamp(each["last_exit_at"]))
        print(visible(f"{each['name']}: {each['last_exit']}, {when} ago"))


def _row(each: dict[str, Any]) -> tuple[str, ...]:
    memory, cpu, uptime = each["memory_bytes"], each["cpu_percent"], each["uptime_s"]
    return (
        each["name"],
        "" if each["pid"] is None else str(each["pid"]),
        each["state"],
        "" if uptime is None else console.duration(uptime),
        str(each["restarts"]),
        _slots(each),
        f"{each['completed']:,}",
        "" if memory is None else f"{memory / 2**20:,.0f} MiB",
        "" if cpu is None else f"{cpu:.0f}%",
    )


def _slots(each: dict[str, Any]) -> str:
    """Busy slots of all, and how many are lost to jobs that have timed out and do not end."""
    if not each["slots"]:
        return ""
    stuck = f" ({each['stuck']} stuck)" if each["stuck"] else ""
    return f"{each['busy']}/{each['slots']}{stuck}"
