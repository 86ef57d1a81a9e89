"""`bananas enqueue NAME`: one job, and waiting for it."""

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
from bananas_topology.cli.enqueue.job_lines import raw_payload
from bananas_topology.cli.exit_codes import FAILED, OK
from bananas_topology.cli.server import Server, client_of, inspecting
from bananas_topology.client import Client, NewJob, check_job
from bananas_topology.errors import (
    InvalidJob,
    JobFailed,
    JobNotFound,
    RedisUnavailable,
    RedisUnsuitable,
)


def enqueue_one(job: NewJob, priority: str | None, server: Server, wait: bool) -> int:
    """Enqueue a job and print its id, or wait for it and print its result; the exit code."""
    job = replace(job, priority=priority or server.priority_of(job.job_type))
    with client_of(server) as client:
        [job_id] = client.enqueue_many([job])
        if wait:
            return _wait_for(client, server, job_id, job.job_type)
        print(job_id, flush=True)
        warn_of_unhandled(server, [job.job_type])
    return OK


def warn_of_unhandled(server: Server, job_types: Collection[str]) -> None:
    """Say it if jobs that were enqueued have nobody who would run them now."""
    try:
        with inspecting(server) as inspector:
            workers = inspector.workers()
    except (RedisUnavailable, RedisUnsuitable):
        # They are enqueued all the same; an error now would have somebody enqueue them twice.
        return
    handled = {job_type for worker in workers for job_type in worker.job_types}
    unhandled = sorted(set(job_types) - handled)
    if not workers:
        console.notice("no worker is running: it stays queued until `bananas up`")
    elif unhandled:
        names = ", ".join(f'"{each}"' for each in unhandled)
        near = difflib.get_close_matches(unhandled[0], handled, n=1)
        guess = f' (did you mean "{near[0]}"?)' if near else ""
        console.notice(
            f"no running worker handles {names}{guess}: it stays queued until one does; workers "
            "read their handlers when they start"
        )


def _wait_for(client: Client, server: Server, job_id: str, name: str) -> int:
    console.notice(f"{job_id}: waiting; Ctrl-C leaves it queued")
    warn_of_unhandled(server, [name])
    try:
        result = client.wait(job_id)
    except JobFailed as error:
        console.notice(f"error: job {job_id} failed: {_kind(client, job_id)}{error}")
        console.notice(f"`bananas job {job_id}` shows all that is known of it")
        return FAILED
    console.print_json(result)
    return OK


def _kind(client: Client, job_id: str) -> str:
    """The kind of error, which is often all that tells: the message of a KeyError is a key."""
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
    """Make the job that the command line describes; what is wrong with it is a fault of usage."""
    if delay is not None and at is not None:
        raise typer.BadParameter("--in and --at were both given; expected one", param_hint="--at")
    job = NewJob(
        job_type=name,
        payload=_read_payload(payload),
        priority=priority or "normal",
        id=id,
        delay=delay,
        at=_read_moment(at),
        max_retries=max_retries,
    )
    try:
        check_job(job)
    except InvalidJob as error:
        raise typer.BadParameter(str(error)) from error
    return job


def _read_payload(text: str | None) -> Any:
    """Read --payload."""
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


def _read_moment(text: str | None) -> datetime | None:
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
