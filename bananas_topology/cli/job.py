"""`bananas job ID`: everything known about one job."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from bananas_topology.cli import completion, console
from bananas_topology.cli.options import AsFormat, Format, Overrides, RedisUrl, TopologyFile
from bananas_topology.cli.topology import topology_files

if TYPE_CHECKING:
    from bananas_topology.jobs.inspect import JobView
    from bananas_topology.jobs.runs import JobRun

#: Characters of the payload shown in text output.
MAX_PAYLOAD_CHARACTERS = 500

#: Lines at the end of the traceback shown in text output.
MAX_TRACEBACK_LINES = 20

_Id = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="Job id, as printed by `bananas enqueue`.",
        autocompletion=completion.job_ids,
    ),
]


def job(
    id: _Id,
    format: AsFormat = Format.TEXT,
    files: TopologyFile = None,
    overrides: Overrides = None,
    redis_url: RedisUrl = None,
) -> None:
    """Show the status, times and result of a job.

    For a job that has failed, every run is shown with its worker, and the error and the end of the
    traceback of the last one.

    Examples:

        bananas job 6f1f0c9e-5d5b-4d8f-9a51-0a4c5d1f9f10

        bananas job nightly-report --format json | jq .result
    """
    from bananas_topology.cli.server import inspecting, locate
    from bananas_topology.jobs.views import job_json

    with inspecting(locate(redis_url, topology_files(files, overrides))) as inspector:
        view = inspector.job(id)
    if format is Format.JSON:
        console.print_json(job_json(view))
    else:
        console.print_fields(as_fields(view))


def as_fields(view: JobView) -> Iterator[tuple[str, str]]:
    """Describe a job as names and values."""
    body = view.body or {}
    yield "id", view.job_id
    yield "type", str(body.get("name", "unknown"))
    yield "status", view.status + (f" (worker {view.worker_id})" if view.worker_id else "")
    yield "priority", str(body.get("priority", "unknown"))
    yield "created", console.moment(body.get("created_at"))
    if view.due_at is not None:
        yield "due", console.moment(view.due_at)
    if view.started_at is not None:
        yield "started", console.moment(view.started_at)
    if view.completed_at is not None:
        yield "completed", console.moment(view.completed_at)
    if view.duration_ms is not None:
        yield "duration", console.duration(view.duration_ms / 1000)
    yield "attempts", _attempts(view)
    if any(run.outcome not in ("running", "completed") for run in view.runs):
        yield "runs", "\n".join(map(_run, view.runs))
    yield "payload", _truncate(json.dumps(body.get("payload"), ensure_ascii=False))
    if view.status == "completed":
        yield "result", json.dumps(view.result, ensure_ascii=False, indent=2)
    yield from _failure(view)


def _attempts(view: JobView) -> str:
    """Attempts so far, including the one in progress."""
    body = view.body or {}
    retries = body.get("max_retries")
    return str(body.get("attempts", 0)) + (f" (max retries: {retries})" if retries else "")


def _run(run: JobRun) -> str:
    """Describe one run on one line."""
    parts = [f"{run.attempt}: {run.outcome}"]
    if run.worker_id:
        parts.append(f"on {run.worker_id}")
    if run.started_at:
        parts.append(f"at {console.moment(run.started_at)}")
    if run.duration_ms is not None:
        parts.append(f"after {console.duration(run.duration_ms / 1000)}")
    error = (run.error or "").partition("\n")[0]
    return " ".join(parts) + (f": {error}" if error else "")


def _failure(view: JobView) -> Iterator[tuple[str, str]]:
    """Describe the last failed attempt; other programs may have stored any value there."""
    failure = view.failure if isinstance(view.failure, dict) else {}
    message = str(failure.get("message", ""))
    if message:
        yield "error", f"{failure.get('type', 'error')}: {message}"
    if view.error and view.error not in message:
        yield "reason" if message else "error", view.error
    lines = str(failure.get("traceback", "")).splitlines()
    if lines:
        ellipsis = ["…"] if len(lines) > MAX_TRACEBACK_LINES else []
        yield "traceback", "\n".join(ellipsis + lines[-MAX_TRACEBACK_LINES:])


def _truncate(text: str) -> str:
    if len(text) <= MAX_PAYLOAD_CHARACTERS:
        return text
    return f"{text[:MAX_PAYLOAD_CHARACTERS]}… ({len(text):,} characters; use --format json for all)"
