"""`bananas enqueue NAME`: enqueue one job and optionally wait for it."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import typer

from bananas_topology.cli import console
from bananas_topology.cli.enqueue.json_lines import raw_payload
from bananas_topology.cli.exit_codes import FAILED, OK
from bananas_topology.cli.server import Server, client_of, inspecting
from bananas_topology.client import Client, NewJob, check_job
from bananas_topology.errors import (
    InvalidJob,
    JobFailed,
    JobNotFound,
    RedisUnavailable,
    RedisUnsuitable,
    ResultNotFound,
)
from bananas_topology.system.terminal import visible


def enqueue_one(job: NewJob, priority: str | None, server: Server, wait: bool) -> int:
    """Enqueue a job and print its id, or wait and print its result; returns the exit code."""
    job = replace(job, priority=priority or server.priority_of(job.job_type))
    with client_of(server) as client:
        [job_id] = client.enqueue_many([job])
        if wait:
            return _wait_for(client, server, job_id, job.job_type)
        print(visible(job_id) if console.is_terminal(sys.stdout) else job_id, flush=True)
        warn_if_unhandled(server, [job.job_type])
    return OK


def warn_if_unhandled(server: Server, job_types: Collection[str]) -> None:
    """Print a message if no running worker handles the jobs that were enqueued."""
    try:
        with inspecting(server) as inspector:
            workers = inspector.workers()
    except (RedisUnavailable, RedisUnsuitable):
        # The jobs are enqueued; an error here would invite enqueueing them again.
        return
    handled = {job_type for worker in workers for job_type in worker.job_types}
    unhandled = sorted(set(job_types) - handled)
    if not workers:
        console.notice("no workers running; queued until one starts (`bananas up`)")
    elif unhandled:
        names = ", ".join(f'"{name}"' for name in unhandled)
        near = difflib.get_close_matches(unhandled[0], handled, n=1)
        hint = f' (did you mean "{near[0]}"?)' if near else ""
        console.notice(
            f"no running worker handles {names}{hint}; queued until one does. Workers load their "
            "handlers at startup"
        )


def _wait_for(client: Client, server: Server, job_id: str, name: str) -> int:
    console.notice(f"waiting for job {job_id}; it stays queued if you press Ctrl-C")
    warn_if_unhandled(server, [name])
    try:
        result = client.wait(job_id)
    except JobFailed as error:
        console.notice(f"error: job {job_id} failed: {_error_type(client, job_id)}{error}")
        console.notice(f"run `bananas job {job_id}` for details")
        return FAILED
    except ResultNotFound as error:
        console.notice(str(error))
        return OK
    console.print_json(result)
    return OK


def _error_type(client: Client, job_id: str) -> str:
    """The exception type as a prefix: without it, the message of a KeyError is just a key."""
    with suppress(JobNotFound):
        failure = client.get(job_id).failure
        if isinstance(failure, dict) and failure.get("type"):
            return f"{failure['type']}: "
    return ""


def read_job(
    name: str,
    payload: str | None,
    priority: str | None,
    id: str | None,
    delay: str | None,
    at: str | None,
    max_retries: int | None,
) -> NewJob:
    """Build the job described by the command line.

    Raises:
        typer.BadParameter: a value is not valid.
    """
    if delay is not None and at is not None:
        raise typer.BadParameter("cannot be combined with --in", param_hint="--at")
    job = NewJob(
        job_type=name,
        payload=_parse_payload(payload),
        priority=priority or "normal",
        id=id,
        delay=delay,
        at=_parse_time(at),
        max_retries=max_retries,
    )
    try:
        check_job(job)
    except InvalidJob as error:
        raise typer.BadParameter(str(error)) from error
    return job


def _parse_payload(text: str | None) -> Any:
    """Parse --payload."""
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
            hint = """; a JSON string needs its own quotes, as in '"text"'"""
        return raw_payload(content)
    except ValueError as error:
        raise typer.BadParameter(
            f"not valid JSON: {error}{hint}", param_hint="--payload"
        ) from error


def _parse_time(text: str | None) -> datetime | None:
    """Parse --at; without a zone, it is local time."""
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(
            f'expected a time such as 2030-01-31T18:00 or 2030-01-31T17:00Z, got "{text}"',
            param_hint="--at",
        ) from error
