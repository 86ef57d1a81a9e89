"""The routes that find jobs, cancel them and retry them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from bananas_topology.api.answers import (
    CHANGE_FAILURES,
    EnqueuedJson,
    answers,
    content,
    reference,
)
from bananas_topology.api.encoding import json_response
from bananas_topology.api.service import service_of
from bananas_topology.jobs.search import MAX_PAGE, JobFilter, State
from bananas_topology.jobs.views import JobPageJson, job_page_json

router = APIRouter(tags=["jobs"])

_STATE = Query(description="Only jobs in this state: a job's `status`.")
_TYPE = Query(alias="type", description="Only jobs of this type.")
_POOL = Query(description="Only jobs that run in this pool now.")
_TEXT = Query(description="Only jobs with this text in their id, payload or error.", max_length=200)
_LIMIT = Query(description="Jobs on a page.", ge=1, le=MAX_PAGE)
_CURSOR = Query(description="`next` of the page before.", max_length=2_000)


@router.get(
    "/jobs", responses=answers(content(reference(JobPageJson)), HTTPStatus.UNPROCESSABLE_ENTITY)
)
def list_jobs(
    request: Request,
    state: Annotated[State | None, _STATE] = None,
    job_type: Annotated[str | None, _TYPE] = None,
    pool: Annotated[str | None, _POOL] = None,
    text: Annotated[str | None, _TEXT] = None,
    limit: Annotated[int, _LIMIT] = 50,
    cursor: Annotated[str | None, _CURSOR] = None,
) -> Response:
    """Find jobs, a page at a time.

    A page examines a bounded number of jobs, so it may have fewer than `limit`, or none, although
    `next` leads to more. Completed jobs, and jobs without a `state`, are in no order, and such a
    page may have somewhat more than `limit`. Dead and ready jobs come newest first, delayed ones
    next due first.
    """
    selected = JobFilter(state, job_type, pool, text)
    page = service_of(request).search.page(selected, limit, cursor)
    return json_response(job_page_json(page))


@router.delete(
    "/jobs/{job_id:path}",
    status_code=HTTPStatus.NO_CONTENT,
    responses=answers(
        {},
        HTTPStatus.NOT_FOUND,
        HTTPStatus.CONFLICT,
        *CHANGE_FAILURES,
        status=HTTPStatus.NO_CONTENT,
    ),
)
def cancel_job(request: Request, job_id: str) -> Response:
    """Cancel a job that has not started: it is deleted.

    409 if it runs, has completed, or is dead.
    """
    service_of(request).client.cancel(job_id)
    return Response(status_code=HTTPStatus.NO_CONTENT)


@router.post(
    "/jobs/{job_id:path}/retry",
    status_code=HTTPStatus.ACCEPTED,
    responses=answers(
        content(reference(EnqueuedJson)),
        HTTPStatus.NOT_FOUND,
        HTTPStatus.CONFLICT,
        *CHANGE_FAILURES,
        status=HTTPStatus.ACCEPTED,
    ),
)
def retry_job(request: Request, job_id: str) -> Response:
    """Retry a dead job: it is enqueued again, and its attempts count from zero.

    409 if it is not dead, or if its stored JSON cannot be read.
    """
    service_of(request).retry(job_id)
    return json_response({"id": job_id}, HTTPStatus.ACCEPTED)
