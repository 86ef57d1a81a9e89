"""`bananas enqueue`: one job from the command line, or a batch of them from a file."""

from __future__ import annotations

from typing import Annotated

import typer

from bananas_topology.cli.options import RedisUrl, TopologyFile

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
    """Enqueue one job, or a batch of them.

    The job's id is printed, or with --wait its result. What the topology says of the job type's
    priority holds unless --priority is given.

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
    from bananas_topology.cli.enqueue.batch import enqueue_batch
    from bananas_topology.cli.enqueue.single import enqueue_one, read_job
    from bananas_topology.cli.server import locate

    if batch is None:
        if name is None:
            raise typer.BadParameter("expected the job's name, or --batch FILE", param_hint="NAME")
        job = read_job(name, payload, priority, id, delay, at, max_retries)
        raise typer.Exit(enqueue_one(job, priority, locate(redis_url, file), wait))
    if any((name, payload, priority, delay, at, max_retries is not None, id, wait)):
        raise typer.BadParameter("each line of it says its own", param_hint="--batch")
    raise typer.Exit(enqueue_batch(batch, locate(redis_url, file)))
