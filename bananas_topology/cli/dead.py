"""`bananas dead`: look at jobs that are dead, let them run again, forget them."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from bananas_topology.cli import console
from bananas_topology.cli.exit_codes import FAILED, OK
from bananas_topology.cli.options import AsFormat, Format, RedisUrl, TopologyFile

if TYPE_CHECKING:
    from bananas_topology.jobs.dead import DeadFilter, DeadJob

#: Ids that are named when what lies there cannot run again.
_IDS_SHOWN = 5

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Look at jobs that are dead, let them run again, forget them.",
)

_Ids = Annotated[
    list[str] | None, typer.Argument(metavar="[ID]...", help="These jobs.", show_default=False)
]
_Type = Annotated[
    str | None, typer.Option("--type", metavar="JOB_TYPE", help="Only jobs of this type.")
]
_Error = Annotated[
    str | None, typer.Option(metavar="TEXT", help="Only jobs whose error has this text in it.")
]
_OlderThan = Annotated[
    str | None, typer.Option(metavar="DURATION", help="Only jobs dead for longer: 30m, 24h.")
]
_All = Annotated[bool, typer.Option("--all", help="All of them.")]
_Limit = Annotated[int, typer.Option(metavar="N", min=0, help="Show so many; 0 for all.")]


@app.command("list")
def list_dead(
    ids: _Ids = None,
    job_type: _Type = None,
    error: _Error = None,
    older_than: _OlderThan = None,
    limit: _Limit = 100,
    format: AsFormat = Format.TEXT,
    file: TopologyFile = None,
    redis_url: RedisUrl = None,
) -> None:
    """List dead jobs, the latest first, and why they died.

    Examples:

        bananas dead list

        bananas dead list --type send_email --error timeout

        bananas dead list --older-than 24h --limit 0 --format json
    """
    from bananas_topology.cli.server import dead_jobs, locate
    from bananas_topology.jobs.views import dead_job_json

    chosen = _filter(ids, job_type, error, older_than)
    with dead_jobs(locate(redis_url, file)) as dead:
        found = list(islice(dead.list(chosen), limit + 1 if limit else None))
        shown = found[: limit or None]
        total = dead.count()
    if format is Format.JSON:
        console.print_json([dead_job_json(job) for job in shown])
    elif shown:
        columns = ("id", "type", "died", "attempts", "error")
        console.print_table(columns, [_row(job) for job in shown])
    if len(found) > len(shown):
        console.notice(f"the latest {limit:,} are shown, of {total:,} dead in all; --limit 0: all")
    elif not shown:
        console.notice("no job is dead" if not total else f"none of the {total:,} dead is meant")


@app.command()
def retry(
    ids: _Ids = None,
    job_type: _Type = None,
    error: _Error = None,
    older_than: _OlderThan = None,
    all_: _All = False,
    file: TopologyFile = None,
    redis_url: RedisUrl = None,
) -> None:
    """Let dead jobs run again, with fresh attempts.

    Examples:

        bananas dead retry 6f1f0c9e-5d5b-4d8f-9a51-0a4c5d1f9f10

        bananas dead retry --type send_email --error "connection refused"

        bananas dead retry --all
    """
    from bananas_topology.cli.server import dead_jobs, locate

    chosen = _selected(ids, job_type, error, older_than, all_)
    with dead_jobs(locate(redis_url, file)) as dead:
        revival = dead.retry(chosen)
    print(f"{_jobs(revival.jobs)} to run again")
    if revival.unreadable:
        names = ", ".join(revival.unreadable[:_IDS_SHOWN])
        more = ", …" if len(revival.unreadable) > _IDS_SHOWN else ""
        why = "not dead, or " if ids else ""
        console.notice(f"left as they are, being {why}no jobs that can be read: {names}{more}")
    raise typer.Exit(_judged(revival.jobs, ids))


@app.command()
def purge(
    ids: _Ids = None,
    job_type: _Type = None,
    error: _Error = None,
    older_than: _OlderThan = None,
    all_: _All = False,
    file: TopologyFile = None,
    redis_url: RedisUrl = None,
) -> None:
    """Forget dead jobs, for ever.

    Examples:

        bananas dead purge --older-than 24h

        bananas dead purge --type send_email --error "no such user"

        bananas dead purge --all
    """
    from bananas_topology.cli.server import dead_jobs, locate

    chosen = _selected(ids, job_type, error, older_than, all_)
    with dead_jobs(locate(redis_url, file)) as dead:
        purged = dead.purge(chosen)
    print(f"{_jobs(purged)} forgotten")
    raise typer.Exit(_judged(purged, ids))


def _filter(
    ids: list[str] | None, job_type: str | None, error: str | None, older_than: str | None
) -> DeadFilter:
    from bananas_topology.jobs.dead import DeadFilter
    from bananas_topology.units import parse_duration_ms

    try:
        older_than_ms = None if older_than is None else parse_duration_ms(older_than)
    except ValueError as problem:
        message = f'"{older_than}": {problem}'
        raise typer.BadParameter(message, param_hint="--older-than") from problem
    return DeadFilter(frozenset(ids) if ids else None, job_type, error, older_than_ms)


def _selected(
    ids: list[str] | None,
    job_type: str | None,
    error: str | None,
    older_than: str | None,
    all_: bool,
) -> DeadFilter:
    """The filter of a command that changes something: which jobs are meant has to be said."""
    is_narrowed = bool(ids) or any(each is not None for each in (job_type, error, older_than))
    if all_ and is_narrowed:
        raise typer.BadParameter("it cannot be given beside what narrows it", param_hint="--all")
    if not all_ and not is_narrowed:
        raise typer.BadParameter(
            "say which: by ID, --type, --error or --older-than, or --all of them",
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


def _judged(met: int, ids: list[str] | None) -> int:
    """The exit code: who names jobs wants to know when nothing was done to one of them."""
    missing = len(set(ids or ())) - met
    if missing <= 0:
        return OK
    console.notice(f"error: {missing:,} of the jobs that were named not found among the dead")
    return FAILED


def _jobs(count: int) -> str:
    return "1 job" if count == 1 else f"{count:,} jobs"
