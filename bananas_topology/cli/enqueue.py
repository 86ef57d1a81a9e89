"""`bananas enqueue`: one job from the command line, or a batch of them from a file."""

from __future__ import annotations

import sys
from collections.abc import Collection
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bananas_topology.cli import present
from bananas_topology.cli.exit_codes import FAILED, OK
from bananas_topology.cli.options import RedisUrl, TopologyFile

if TYPE_CHECKING:
    from bananas_topology.cli.server import Server
    from bananas_topology.client import Client

_Name = Annotated[
    str | None,
    typer.Argument(metavar="NAME", help="The job type, as in @job(NAME).", show_default=False),
]
_Payload = Annotated[
    str | None,
    typer.Option(
        metavar="JSON|@FILE|-",
        help="The payload as JSON, from a file, or from standard input.  [default: null]",
        show_default=False,
    ),
]
_Priority = Annotated[
    str | None,
    typer.Option(
        metavar="high|normal|low",
        help="How urgent it is.  [default: what the topology says of the job type, or normal]",
        show_default=False,
    ),
]
_In = Annotated[
    str | None,
    typer.Option("--in", metavar="DURATION", help="Run it so much later: 30s, 5m, 1h30m."),
]
_At = Annotated[
    str | None,
    typer.Option(
        metavar="TIME", help="Run it then: 2030-01-31T18:00, of local time unless it has a zone."
    ),
]
_MaxRetries = Annotated[
    int | None, typer.Option(metavar="N", help="How often it may run again after a failure.")
]
_Id = Annotated[
    str | None,
    typer.Option(
        metavar="ID", help="An id of your own: while it is kept, nothing is enqueued twice."
    ),
]
_Wait = Annotated[
    bool, typer.Option("--wait", help="Wait until it is done and print its result; fail if it did.")
]
_Batch = Annotated[
    str | None,
    typer.Option(metavar="FILE|-", help="Enqueue the jobs of a file of JSON Lines instead."),
]


def enqueue(
    name: _Name = None,
    payload: _Payload = None,
    priority: _Priority = None,
    delay: _In = None,
    at: _At = None,
    max_retries: _MaxRetries = None,
    id: _Id = None,
    wait: _Wait = False,
    batch: _Batch = None,
    file: TopologyFile = None,
    redis_url: RedisUrl = None,
) -> None:
    """Enqueue one job and print its id, or with --wait its result.

    --batch takes JSON Lines of {"name", "payload", "priority", "id", "delay", "at",
    "max_retries"}, of which only the name is required. A file is checked as a whole first: with
    a bad line in it, nothing is enqueued. From standard input the good lines are enqueued as they
    come, and the bad ones reported. The ids are printed where standard output is no terminal.

    Examples:

        bananas enqueue send_email --payload '{"to": "a@example.com"}'

        bananas enqueue generate_report --priority low --in 5m

        bananas enqueue generate_report --payload @report.json --wait

        bananas enqueue --batch jobs.jsonl

        generate-jobs | bananas enqueue --batch -
    """
    from bananas_topology.cli.server import locate

    if batch is not None:
        beside = (name, payload, priority, delay, at, max_retries, id, wait or None)
        if any(value is not None for value in beside):
            raise typer.BadParameter("each line of it says its own", param_hint="--batch")
        from bananas_topology.cli.batch import enqueue_batch

        raise typer.Exit(enqueue_batch(batch, locate(redis_url, file)))
    if name is None:
        raise typer.BadParameter("expected the job's name, or --batch FILE", param_hint="NAME")
    if delay is not None and at is not None:
        raise typer.BadParameter("--in and --at were both given; expected one", param_hint="--at")
    value, moment = _payload_value(payload), _moment(at)
    server = locate(redis_url, file)
    from bananas_topology.cli.server import client_of

    with client_of(server) as client:
        job_id = client.enqueue(
            name,
            value,
            priority=priority or server.priority_of(name),
            id=id,
            delay=delay,
            at=moment,
            max_retries=max_retries,
        )
        if wait:
            raise typer.Exit(_wait(client, server, job_id, name))
        print(job_id, flush=True)
        warn_of_unhandled(server, [name])


def warn_of_unhandled(server: Server, job_types: Collection[str]) -> None:
    """Say it if jobs that were enqueued have nobody who would run them now."""
    from bananas_topology.cli.server import inspecting

    with inspecting(server) as inspector:
        workers = inspector.workers()
    handled = {job_type for worker in workers for job_type in worker.job_types}
    unhandled = sorted(set(job_types) - handled)
    if not workers:
        present.notice("no worker is running: it stays queued until `bananas up`")
    elif unhandled:
        names = ", ".join(f'"{each}"' for each in unhandled)
        present.notice(f"no running worker handles {names}: it stays queued until one does")


def _wait(client: Client, server: Server, job_id: str, name: str) -> int:
    from bananas_topology.errors import JobFailed

    present.notice(f"{job_id}: waiting; Ctrl-C leaves it queued")
    warn_of_unhandled(server, [name])
    try:
        result = client.wait(job_id)
    except JobFailed as error:
        present.notice(f"error: job {job_id} failed: {error}")
        return FAILED
    present.print_json(result)
    return OK


def _payload_value(text: str | None) -> Any:
    """Read --payload."""
    from bananas_topology.cli.job_lines import raw_payload

    if text is None:
        return None
    hint = ""
    try:
        if text == "-":
            content = sys.stdin.read()
        elif text.startswith("@"):
            content = Path(text[1:]).read_text("utf-8")
        else:
            content = text
            hint = """; text needs quotes of its own, as in '"text"'"""
        return raw_payload(content)
    except ValueError as error:
        raise typer.BadParameter(f"no JSON: {error}{hint}", param_hint="--payload") from error


def _moment(text: str | None) -> datetime | None:
    """Read --at; without a zone it is local time."""
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(
            f'"{text}" is no time; expected one such as 2030-01-31T18:00 or 2030-01-31T17:00Z',
            param_hint="--at",
        ) from error
