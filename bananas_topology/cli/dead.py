"""`bananas dead`: list, retry and purge dead jobs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from bananas_topology.cli import console
from bananas_topology.cli.durations import milliseconds
from bananas_topology.cli.env_file import TopologyCommand
from bananas_topology.cli.exit_codes import FAILED, OK
from bananas_topology.cli.options import AsFormat, Format, Limit, Overrides, RedisUrl, TopologyFile
from bananas_topology.cli.topology import topology_files
from bananas_topology.units import quantity

if TYPE_CHECKING:
    from bananas_topology.jobs.dead import DeadFilter, DeadJob

#: Maximum ids listed in a message about jobs that were skipped.
_IDS_SHOWN = 5

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="List, retry or purge dead jobs.",
)

_Ids = Annotated[
    list[str] | None, typer.Argument(metavar="[ID]...", help="Job ids.", show_default=False)
]
_Type = Annotated[
    str | None, typer.Option("--type", metavar="JOB_TYPE", help="Only jobs of this type.")
]
_Error = Annotated[
    str | None, typer.Option(metavar="TEXT", help="Only jobs whose error contains this text.")
]
_OlderThan = Annotated[
    str | None, typer.Option(metavar="DURATION", help="Only jobs that died longer ago: 30m, 24h.")
]
_All = Annotated[bool, typer.Option("--all", help="All dead jobs.")]


@app.command("list", cls=TopologyCommand)
def list_dead(
    ids: _Ids = None,
    job_type: _Type = None,
    error: _Error = None,
    older_than: _OlderThan = None,
    limit: Limit = 100,
    format: AsFormat = Format.TEXT,
    files: TopologyFile = None,
    overrides: Overrides = None,
    redis_url: RedisUrl = None,
) -> None:
    """List dead jobs and their errors, most recent first.

    Examples:

        bananas dead list

        bananas dead list --type send_email --error timeout

        bananas dead list --older-than 24h --limit 0 --format json
    """
    from bananas_topology.cli.server import dead_jobs, locate
    from bananas_topology.jobs.views import dead_job_json

    selection = _filter(ids, job_type, error, older_than)
    with dead_jobs(locate(redis_url, topology_files(files, overrides))) as dead:
        found = list(islice(dead.list(selection), limit + 1 if limit else None))
        shown = found[: limit or None]
        total = dead.count()
    if format is Format.JSON:
        console.print_json([dead_job_json(job) for job in shown])
    elif shown:
        columns = ("id", "type", "died", "attempts", "error")
        console.print_table(columns, [_row(job) for job in shown])
    if len(found) > len(shown):
        in_total = quantity(total, "dead job")
        console.notice(f"showing the latest {limit:,} ({in_total} in total); --limit 0 shows all")
    elif not shown:
        console.notice(
            f"none of {quantity(total, 'dead job')} matches" if total else "no dead jobs"
        )


@app.command(cls=TopologyCommand)
def retry(
    ids: _Ids = None,
    job_type: _Type = None,
    error: _Error = None,
    older_than: _OlderThan = None,
    all_: _All = False,
    files: TopologyFile = None,
    overrides: Overrides = None,
    redis_url: RedisUrl = None,
) -> None:
    """Retry dead jobs.

    They are requeued under the same id, with the attempt count reset.

    Examples:

        bananas dead retry 6f1f0c9e-5d5b-4d8f-9a51-0a4c5d1f9f10

        bananas dead retry --type send_email --error "connection refused"

        bananas dead retry --all
    """
    from bananas_topology.cli.server import dead_jobs, locate

    selection = _required_filter(ids, job_type, error, older_than, all_)
    with dead_jobs(locate(redis_url, topology_files(files, overrides))) as dead:
        revival = dead.retry(selection)
    print(f"{quantity(revival.jobs, 'job')} requeued")
    _report_skipped("not dead, or unreadable" if ids else "unreadable", revival.unreadable)
    for reason in dict.fromkeys(revival.rejected.values()):
        names = [name for name, own in revival.rejected.items() if own == reason]
        _report_skipped(reason, names)
    code = _exit_code(revival.jobs, ids)
    raise typer.Exit(FAILED if revival.rejected else code)


@app.command(cls=TopologyCommand)
def purge(
    ids: _Ids = None,
    job_type: _Type = None,
    error: _Error = None,
    older_than: _OlderThan = None,
    all_: _All = False,
    files: TopologyFile = None,
    overrides: Overrides = None,
    redis_url: RedisUrl = None,
) -> None:
    """Delete dead jobs permanently.

    Examples:

        bananas dead purge --older-than 24h

        bananas dead purge --type send_email --error "no such user"

        bananas dead purge --all
    """
    from bananas_topology.cli.server import dead_jobs, locate

    selection = _required_filter(ids, job_type, error, older_than, all_)
    with dead_jobs(locate(redis_url, topology_files(files, overrides))) as dead:
        purged = dead.purge(selection)
    print(f"{quantity(purged, 'job')} deleted")
    raise typer.Exit(_exit_code(purged, ids))


def _filter(
    ids: list[str] | None, job_type: str | None, error: str | None, older_than: str | None
) -> DeadFilter:
    from bananas_topology.jobs.dead import DeadFilter

    older_than_ms = None if older_than is None else milliseconds(older_than, "--older-than")
    return DeadFilter(frozenset(ids) if ids else None, job_type, error, older_than_ms)


def _required_filter(
    ids: list[str] | None,
    job_type: str | None,
    error: str | None,
    older_than: str | None,
    all_: bool,
) -> DeadFilter:
    """The filter of a command that changes jobs, for which a selection is required."""
    has_filters = bool(ids) or any(each is not None for each in (job_type, error, older_than))
    if all_ and has_filters:
        raise typer.BadParameter("cannot be combined with ids or filters", param_hint="--all")
    if not all_ and not has_filters:
        raise typer.BadParameter(
            "expected ids, --type, --error or --older-than, or --all",
            param_hint="[ID]...",
        )
    return _filter(ids, job_type, error, older_than)


def _row(job: DeadJob) -> tuple[str, ...]:
    return (
        job.job_id,
        job.job_type or "unknown",
        console.age(job.died_at) + " ago" if job.died_at else "unknown",
        str(job.attempts),
        job.error.partition("\n")[0],
    )


def _report_skipped(reason: str, ids: Sequence[str]) -> None:
    if ids:
        more = ", …" if len(ids) > _IDS_SHOWN else ""
        console.notice(f"skipped ({reason}): {', '.join(ids[:_IDS_SHOWN])}{more}")


def _exit_code(changed: int, ids: list[str] | None) -> int:
    """Fail if any job that was given by id has not been changed."""
    given = len(set(ids or ()))
    if changed >= given:
        return OK
    console.notice(f"error: {given - changed:,} of {quantity(given, 'given job')} not found")
    return FAILED
