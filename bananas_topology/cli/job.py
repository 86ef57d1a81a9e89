"""`bananas job ID`: all that is known of one job."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from bananas_topology.cli import console
from bananas_topology.cli.options import AsFormat, Format, RedisUrl, TopologyFile

if TYPE_CHECKING:
    from bananas_topology.jobs.inspect import JobView

#: Characters of a payload that are shown to people.
PAYLOAD_SHOWN = 500

#: Lines at the end of a traceback that are shown to people.
TRACEBACK_SHOWN = 20

_Id = Annotated[str, typer.Argument(metavar="ID", help="What `bananas enqueue` printed.")]


def job(
    id: _Id, format: AsFormat = Format.TEXT, file: TopologyFile = None, redis_url: RedisUrl = None
) -> None:
    """Show one job: its status, times and result.

    Where it has failed, the error and the end of the traceback are shown.

    Examples:

        bananas job 6f1f0c9e-5d5b-4d8f-9a51-0a4c5d1f9f10

        bananas job nightly-report --format json | jq .result
    """
    from bananas_topology.cli.server import inspecting, locate
    from bananas_topology.jobs.views import job_json

    with inspecting(locate(redis_url, file)) as inspector:
        view = inspector.job(id)
    if format is Format.JSON:
        console.print_json(job_json(view))
    else:
        console.print_fields(_as_fields(view))


def _as_fields(view: JobView) -> Iterator[tuple[str, str]]:
    body = view.body or {}
    yield "id", view.job_id
    yield "type", str(body.get("name", "unknown"))
    yield "status", view.status + (f" by {view.worker_id}" if view.worker_id else "")
    yield "priority", str(body.get("priority", "unknown"))
    yield "created", console.moment(body.get("created_at"))
    if view.due_at is not None:
        yield "due", console.moment(view.due_at)
    if view.started_at is not None:
        yield "started", console.moment(view.started_at)
    if view.completed_at is not None:
        yield "done", console.moment(view.completed_at)
    if view.duration_ms is not None:
        yield "took", console.duration(view.duration_ms / 1000)
    yield "attempts", _attempts(view)
    yield "payload", _shortened(json.dumps(body.get("payload"), ensure_ascii=False))
    if view.status == "completed":
        yield "result", json.dumps(view.result, ensure_ascii=False, indent=2)
    yield from _failure(view)


def _attempts(view: JobView) -> str:
    """How often it has run, the run that goes on included where one does."""
    body = view.body or {}
    retries = body.get("max_retries")
    return str(body.get("attempts", 0)) + (f", {retries} retries at most" if retries else "")


def _failure(view: JobView) -> Iterator[tuple[str, str]]:
    """Why its last failed run failed; others may have left anything there."""
    failure = view.failure if isinstance(view.failure, dict) else {}
    message = str(failure.get("message", ""))
    if message:
        yield "error", f"{failure.get('type', 'error')}: {message}"
    if view.error and view.error not in message:
        yield "reason" if message else "error", view.error
    lines = str(failure.get("traceback", "")).splitlines()
    if lines:
        left_out = ["…"] if len(lines) > TRACEBACK_SHOWN else []
        yield "traceback", "\n".join(left_out + lines[-TRACEBACK_SHOWN:])


def _shortened(text: str) -> str:
    if len(text) <= PAYLOAD_SHOWN:
        return text
    return f"{text[:PAYLOAD_SHOWN]}… ({len(text):,} characters: see --format json)"
