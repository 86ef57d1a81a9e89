"""`bananas diff` and `bananas apply`: a changed topology, and what runs of it on this host."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bananas_topology.cli import console
from bananas_topology.cli.control import WAIT_TIMEOUT, WaitTimeout, change
from bananas_topology.cli.durations import seconds
from bananas_topology.cli.env_file import EnvFiles, env_files_of
from bananas_topology.cli.exit_codes import FAILED, OK
from bananas_topology.cli.options import AsFormat, Format, Overlays, Overrides
from bananas_topology.cli.topology import TopologyFiles, read_topology, topology_files, wanted_run
from bananas_topology.errors import ControlFailed
from bananas_topology.system.terminal import visible
from bananas_topology.units import quantity

if TYPE_CHECKING:
    from bananas_topology.supervisor.record import RunRecord

#: What is added, removed and changed. Yellow text would be hard to read on white.
_MARK_COLORS = {"+": "32", "-": "31", "~": "33"}

_File = Annotated[
    Path | None,
    typer.Argument(metavar="[FILE]", help="Topology file.  [default: the one that runs]"),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Force = Annotated[
    bool, typer.Option("--force", help="Apply it even if waiting jobs lose their workers.")
]


def diff(
    context: typer.Context,
    file: _File = None,
    overlays: Overlays = None,
    overrides: Overrides = None,
    format: AsFormat = Format.TEXT,
) -> None:
    """Show what `bananas apply` would change.

    Compares a topology with what runs: pools that are added, removed, scaled or changed, schedules,
    settings of jobs, and waiting jobs that would lose their workers. The exit code is 1 if there is
    a difference.

    Examples:

        bananas diff

        bananas diff specialized.yaml

        bananas diff --format json | jq .difference.pools
    """
    files = topology_files(overlays, overrides, file)
    described, stranded = _describe(_run(files), select(files, env_files_of(context)))
    if format is Format.JSON:
        console.print_json(_as_json(described, stranded))
    else:
        _print(described, stranded)
    raise typer.Exit(OK if described["is_empty"] else FAILED)


def apply(
    context: typer.Context,
    file: _File = None,
    overlays: Overlays = None,
    overrides: Overrides = None,
    yes: Yes = False,
    force: Force = False,
    wait_timeout: WaitTimeout = WAIT_TIMEOUT,
) -> None:
    """Change what runs to what a topology says, without interrupting a job.

    Shows the differences and asks. Then new processes are started; once they are ready, the old
    ones finish their running jobs and exit, those of a changed pool one by one. If a new process
    does not become ready, everything is rolled back. If waiting jobs would lose their workers,
    nothing is changed without --force.

    FILE may have another name than the topology that runs, if it is in the same folder: the jobs
    are kept.

    Examples:

        bananas apply

        bananas apply --yes

        bananas apply specialized.yaml
    """
    files = topology_files(overlays, overrides, file)
    selection = select(files, env_files_of(context))
    apply_to(_run(files), selection, wait_timeout, yes=yes, force=force)


def apply_to(
    record: RunRecord,
    selection: Mapping[str, Any],
    wait_timeout: str,
    *,
    yes: bool,
    force: bool = False,
) -> None:
    """Apply a topology to a run, after asking. `selection` has the arguments of `Commands.diff`.

    Raises:
        ControlFailed: it cannot be applied, or was rolled back.
        typer.Exit: the answer was no.
    """
    from bananas_topology.local.client import request

    timeout_s = seconds(wait_timeout, "--wait-timeout")
    described, stranded = _describe(record, selection)
    if described["is_empty"]:
        if described["topology"] != record.topology:
            # Another file with the same content, such as a renamed one, is the one to reload.
            request(record, "apply", **selection, force=force, ready_timeout_s=timeout_s)
        console.notice(
            f"{record.name} runs as {Path(described['topology']).name} says; nothing to change "
            "(`bananas restart` loads changed handlers)"
        )
        return
    _print(described, stranded)
    if stranded and not force:
        raise ControlFailed("nothing was changed; `bananas apply --force` applies it nevertheless")
    if not yes:
        _ask()
    change(
        record,
        "apply",
        **selection,
        force=force,
        ready_timeout_s=timeout_s,
    )


def _run(files: TopologyFiles) -> RunRecord:
    from bananas_topology.local.runs import find_run_to_change

    if files.reads_stdin:
        raise typer.BadParameter("expected a file that can be read again", param_hint="[FILE]")
    return find_run_to_change(wanted_run(files))


def select(
    files: TopologyFiles,
    env: EnvFiles,
    scale: Mapping[str, int] | None = None,
    only: tuple[str, ...] | None = None,
) -> dict[str, Any]:
    """The arguments that select a topology; null for what the run has itself.

    Exits if the topology has errors.
    """
    if files.is_given:
        read_topology(files, "changed")
    absolute = [str(path.absolute()) for path in (files.path, *files.overlays)]
    overrides = list(files.overrides)
    return {
        "file": absolute[0] if files.is_given else None,
        "overlays": absolute[1:] if files.is_given else None,
        "overrides": overrides if files.is_given or overrides else None,
        "env_files": env.paths,
        "variables": env.variables if env.paths == () else None,
        "scale": scale or {},
        "only": only,
    }


def _ask() -> None:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise typer.BadParameter("required where nobody can be asked", param_hint="--yes")
    sys.stdout.flush()
    if not typer.confirm("Apply?"):
        console.notice("nothing was changed")
        raise typer.Exit(FAILED)


def _describe(
    record: RunRecord, selection: Mapping[str, Any]
) -> tuple[dict[str, Any], Mapping[tuple[str, str], int]]:
    """Ask the run what would change, and count the jobs that would be stranded."""
    from bananas_topology.local.client import request, stranded_jobs

    described = request(record, "diff", **selection)
    url = described.pop("redis_url")
    console.warn_of_unset(described["unset"])
    return described, stranded_jobs(url, record.key_prefix, described)


def _as_json(described: dict[str, Any], stranded: Mapping[tuple[str, str], int]) -> dict[str, Any]:
    jobs = [
        {"priority": priority, "job_type": job_type, "jobs": number}
        for (priority, job_type), number in sorted(stranded.items())
    ]
    return {**described, "stranded": jobs}


def _print(described: dict[str, Any], stranded: Mapping[tuple[str, str], int]) -> None:
    from bananas_topology.local.takers import describe_stranded

    if described["is_empty"]:
        print("no differences")
        return
    for mark, text in _lines(described["difference"]):
        shown = console.styled(mark, _MARK_COLORS[mark], sys.stdout)
        print(f"{shown} {visible(text)}")
    if stranded:
        print(visible(f"! {describe_stranded(stranded)}"))


def _lines(difference: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if difference["name"]:
        yield "~", "name: {} → {}".format(*difference["name"])
    for pool in difference["pools"]:
        yield _pool_mark(pool), _pool_text(pool)
        for each in pool["settings"]:
            yield "~", f"  {each['name']}: {_change(each)}"
    for section in ("jobs", "schedules"):
        for each in difference[section]:
            mark = "+" if each["before"] is None else "-" if each["after"] is None else "~"
            yield mark, f"{section}.{each['name']}: {_change(each)}"


def _pool_mark(pool: dict[str, Any]) -> str:
    return "+" if pool["is_added"] else "-" if pool["is_removed"] else "~"


def _pool_text(pool: dict[str, Any]) -> str:
    name, before, after = f"pools.{pool['pool']}", pool["before"], pool["after"]
    if pool["is_added"]:
        return f"{name}: {quantity(after, 'process')} to start"
    if pool["is_removed"]:
        return f"{name}: {quantity(before, 'process')} to finish and stop"
    parts = [f"{before} → {after} processes"] if before != after else []
    if pool["replaced"] and after:
        parts.append(f"{quantity(min(pool['replaced'], before), 'process')} to replace")
    return f"{name}: {', '.join(parts)}"


def _change(each: dict[str, Any]) -> str:
    before, after = each["before"], each["after"]
    if before == "" or after == "":
        return "added" if before is None else "removed" if after is None else "changed"
    if before is None:
        return str(after)
    return before if after is None else f"{before} → {after}"
