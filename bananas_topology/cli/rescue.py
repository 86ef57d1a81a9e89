"""`bananas rescue`: requeue jobs that a dead worker of the Go implementation left behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from bananas_topology.cli import console
from bananas_topology.cli.durations import milliseconds
from bananas_topology.cli.options import AsFormat, Format, Limit, Overrides, RedisUrl, TopologyFile
from bananas_topology.cli.topology import topology_files
from bananas_topology.units import format_duration, quantity

if TYPE_CHECKING:
    from bananas_topology.jobs.stranded import ProcessingJob, Rescue
    from bananas_topology.spec.model import Topology

_OlderThan = Annotated[
    str | None,
    typer.Option(
        metavar="DURATION",
        help="Only jobs held for longer than this.  "
        "[default: the topology's longest timeout plus 5m; 1h without a topology]",
        show_default=False,
    ),
]
_Yes = Annotated[bool, typer.Option("--yes", help="Requeue them; otherwise only list them.")]


def rescue(
    older_than: _OlderThan = None,
    yes: _Yes = False,
    limit: Limit = 100,
    format: AsFormat = Format.TEXT,
    files: TopologyFile = None,
    overrides: Overrides = None,
    redis_url: RedisUrl = None,
) -> None:
    """Requeue jobs that dead workers of the Go implementation left in `queue:processing`.

    Those workers send no heartbeat, so a job counts as stranded once it has been held for longer
    than any job may run. Where its JSON does not say since when, its age counts from the first run
    of this command that saw it: run it again after that time. Without --yes nothing is requeued.
    Safe while Go workers run, provided that none of their jobs takes longer than --older-than.

    Examples:

        bananas rescue

        bananas rescue --older-than 2h --yes

        bananas rescue --format json | jq '.jobs[] | select(.action == "requeue") | .id'
    """
    from bananas_topology.cli.server import locate, stranded_jobs

    server = locate(redis_url, topology_files(files, overrides))
    older_than_ms = _older_than_ms(older_than, server.topology)
    with stranded_jobs(server) as stranded:
        jobs = stranded.observe(older_than_ms)
        outcome = stranded.rescue(jobs) if yes else None
    if format is Format.JSON:
        console.print_json(_as_json(jobs, older_than_ms, outcome))
        return
    shown = jobs[: limit or None]
    if shown:
        columns = ("id", "type", "priority", "status", "held for", "action")
        console.print_table(columns, [_row(job) for job in shown])
    if len(shown) < len(jobs):
        console.notice(f"showing {len(shown):,} of {len(jobs):,} jobs; use --limit 0 for all")
    console.notice(_summary(jobs, older_than_ms, outcome))


def _older_than_ms(older_than: str | None, topology: Topology | None) -> int:
    from bananas_topology.doctor.gather import stranded_after_ms

    if older_than is None:
        return stranded_after_ms(topology)
    older_than_ms = milliseconds(older_than, "--older-than")
    if topology is not None and older_than_ms < stranded_after_ms(topology):
        safe = format_duration(stranded_after_ms(topology))
        console.notice(f"warning: jobs younger than {safe} may still be running")
    return older_than_ms


def _row(job: ProcessingJob) -> tuple[str, ...]:
    held_for = console.age(job.since)
    return (
        job.job_id,
        job.job_type or "unknown",
        job.priority,
        job.status or "unknown",
        f"at least {held_for}" if job.is_observed else held_for,
        job.action.value,
    )


def _summary(jobs: list[ProcessingJob], older_than_ms: int, outcome: Rescue | None) -> str:
    if not jobs:
        return "no jobs in queue:processing"
    if outcome is not None:
        parts = [f"{quantity(outcome.requeued, 'job')} requeued"]
        parts += [f"{outcome.cleared:,} finished ones removed"] if outcome.cleared else []
        parts += [f"{outcome.left:,} left, changed meanwhile"] if outcome.left else []
        return ", ".join(parts)
    stranded = sum(job.action.value != "wait" for job in jobs)
    if stranded:
        return f"{quantity(stranded, 'stranded job')}; requeue with --yes"
    return f"no job has been held for longer than {format_duration(older_than_ms)}"


def _as_json(
    jobs: list[ProcessingJob], older_than_ms: int, outcome: Rescue | None
) -> dict[str, object]:
    from bananas_topology.system.clock import format_timestamp

    return {
        "older_than_ms": older_than_ms,
        "requeued": outcome.requeued if outcome else 0,
        "removed": outcome.cleared if outcome else 0,
        "jobs": [
            {
                "id": job.job_id,
                "name": job.job_type,
                "priority": job.priority,
                "status": job.status or None,
                "held_since": format_timestamp(job.since),
                "is_observed": job.is_observed,
                "action": job.action.value,
            }
            for job in jobs
        ],
    }
