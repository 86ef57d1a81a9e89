"""`bananas enqueue`: enqueue one job, or a batch from a file."""

from __future__ import annotations

from typing import Annotated

import typer

from bananas_topology.cli.options import Overrides, RedisUrl, TopologyFile
from bananas_topology.cli.topology import STDIN, TopologyFiles, topology_files

_Name = Annotated[
    str | None,
    typer.Argument(metavar="NAME", help="Job type, as in @job(NAME).", show_default=False),
]
_Payload = Annotated[
    str | None,
    typer.Option(
        metavar="JSON|@FILE|-",
        help="Payload as JSON, from a file, or from standard input.  [default: null]",
        show_default=False,
    ),
]
_Priority = Annotated[
    str | None,
    typer.Option(
        metavar="high|normal|low",
        help="Priority.  [default: from the topology, or normal]",
        show_default=False,
    ),
]
_In = Annotated[
    str | None,
    typer.Option("--in", metavar="DURATION", help="Delay before the job runs: 30s, 5m, 1h30m."),
]
_At = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Time to run the job: 2030-01-31T18:00, local time unless it has a zone.",
    ),
]
_MaxRetries = Annotated[
    int | None, typer.Option(metavar="N", help="Maximum retries after a failure.")
]
_Id = Annotated[
    str | None,
    typer.Option(
        metavar="ID", help="Idempotency key: enqueueing an existing id again does nothing."
    ),
]
_Wait = Annotated[
    bool, typer.Option("--wait", help="Wait for the job and print its result; fail if it fails.")
]
_Batch = Annotated[
    str | None,
    typer.Option(metavar="FILE|-", help="Enqueue jobs from a JSON Lines file."),
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
    files: TopologyFile = None,
    overrides: Overrides = None,
    redis_url: RedisUrl = None,
) -> None:
    """Enqueue one job or a batch of jobs.

    Prints the job's id, or with --wait its result. Without --priority, the job type's priority in
    the topology applies.

    --batch reads JSON Lines with the fields "name" (required), "payload", "priority", "id",
    "delay", "at" and "max_retries". A file is checked first: if any line is invalid, nothing is
    enqueued. Lines from standard input are enqueued as they arrive, and invalid ones are reported
    and skipped. Job ids are printed unless standard output is a terminal.

    Examples:

        bananas enqueue send_email --payload '{"to": "a@example.com"}'

        bananas enqueue generate_report --priority low --in 5m

        bananas enqueue generate_report --payload @report.json --wait

        bananas enqueue --batch jobs.jsonl

        generate-jobs | bananas enqueue --batch -
    """
    from bananas_topology.cli.enqueue.batch import enqueue_batch
    from bananas_topology.cli.enqueue.single import enqueue_one, read_job
    from bananas_topology.cli.server import locate

    chosen = topology_files(files, overrides)
    _check_stdin_is_read_once(chosen, payload or batch)
    if batch is not None:
        of_one_job = (name, payload, priority, delay, at, max_retries is not None, id, wait)
        _check_batch_is_alone(any(of_one_job))
        raise typer.Exit(enqueue_batch(batch, locate(redis_url, chosen)))
    if name is None:
        raise typer.BadParameter("expected a job type, or --batch FILE", param_hint="NAME")
    job = read_job(name, payload, priority, id, delay, at, max_retries)
    raise typer.Exit(enqueue_one(job, priority, locate(redis_url, chosen), wait))


def _check_batch_is_alone(has_others: bool) -> None:
    if has_others:
        raise typer.BadParameter(
            "cannot be combined with NAME or options of a single job", param_hint="--batch"
        )


def _check_stdin_is_read_once(files: TopologyFiles, source: str | None) -> None:
    if files.reads_stdin and source == str(STDIN):
        raise typer.BadParameter("standard input can be read only once", param_hint="--file")
