"""The routes of dead jobs: list them, and retry or purge many at once."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated

import anyio.to_thread
from fastapi import APIRouter, Query, Request, Response

from bananas_topology.api.answers import BODY_FAILURES, answers, content, reference
from bananas_topology.api.body import read_body
from bananas_topology.api.dead_bodies import DeadSelection, dead_filter, read_selection
from bananas_topology.api.encoding import json_response
from bananas_topology.api.service import Service, service_of
from bananas_topology.jobs.dead import DeadFilter
from bananas_topology.jobs.stored import printable
from bananas_topology.jobs.views import DeadChangeJson, DeadPageJson, dead_page_json

router = APIRouter(tags=["dead jobs"])

_TYPE = Query(alias="type", description="Only jobs of this type.")
_ERROR = Query(description="Only jobs with this text in their error.", max_length=200)
_OLDER_THAN = Query(description="Only jobs that died longer ago, such as `24h`.")
_LIMIT = Query(description="Jobs on a page.", ge=1, le=200)
_CURSOR = Query(description="`next` of the page before.", ge=0, le=2**53)


#: Changes the selected jobs, or says what it would change.
_Change = Callable[[Service, DeadFilter], DeadChangeJson]

_CHANGED = answers(content(reference(DeadChangeJson)), *BODY_FAILURES)
_SELECTION = {"requestBody": {"required": True} | content(reference(DeadSelection))}


@router.get(
    "/dead", responses=answers(content(reference(DeadPageJson)), HTTPStatus.UNPROCESSABLE_ENTITY)
)
def list_dead_jobs(
    request: Request,
    job_type: Annotated[str | None, _TYPE] = None,
    error: Annotated[str | None, _ERROR] = None,
    older_than: Annotated[str | None, _OLDER_THAN] = None,
    limit: Annotated[int, _LIMIT] = 50,
    cursor: Annotated[int | None, _CURSOR] = None,
) -> Response:
    """List dead jobs with their errors, newest first, a page at a time.

    A page examines a bounded number of jobs, so it may have fewer than `limit`, or none, although
    `next` leads to more.
    """
    selected = dead_filter(None, job_type, error, older_than)
    return json_response(dead_page_json(service_of(request).dead.page(selected, limit, cursor)))


@router.post("/dead/retry", responses=_CHANGED, openapi_extra=_SELECTION)
async def retry_dead_jobs(request: Request) -> Response:
    """Retry the selected dead jobs: they are enqueued again. Safe to repeat."""
    return await _change(request, _retry, _preview_retry)


@router.post("/dead/purge", responses=_CHANGED, openapi_extra=_SELECTION)
async def purge_dead_jobs(request: Request) -> Response:
    """Delete the selected dead jobs permanently. Safe to repeat."""
    return await _change(request, _purge, _preview_purge)


async def _change(request: Request, change: _Change, preview: _Change) -> Response:
    selection = read_selection(await read_body(request))
    selected = selection.filter()
    action = preview if selection.dry_run else change
    made = await anyio.to_thread.run_sync(action, service_of(request), selected)
    return json_response(made)


def _preview_retry(service: Service, selected: DeadFilter) -> DeadChangeJson:
    count = 0
    unreadable: list[str] = []
    for job in service.dead.list(selected):
        if job.is_readable:
            count += 1
        else:
            unreadable.append(printable(job.job_id))
    return DeadChangeJson(count=count, dry_run=True, unreadable=unreadable, rejected={})


def _preview_purge(service: Service, selected: DeadFilter) -> DeadChangeJson:
    count = sum(1 for _ in service.dead.list(selected))
    return DeadChangeJson(count=count, dry_run=True, unreadable=[], rejected={})


def _retry(service: Service, selected: DeadFilter) -> DeadChangeJson:
    made = service.dead.retry(selected)
    return DeadChangeJson(
        count=made.jobs,
        dry_run=False,
        unreadable=[printable(job_id) for job_id in made.unreadable],
        rejected={printable(job_id): reason for job_id, reason in made.rejected.items()},
    )


def _purge(service: Service, selected: DeadFilter) -> DeadChangeJson:
    count = service.dead.purge(selected)
    return DeadChangeJson(count=count, dry_run=False, unreadable=[], rejected={})
