"""The routes of schedules."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Request, Response

from bananas_topology.api.answers import (
    CHANGE_FAILURES,
    EnqueuedJson,
    answers,
    content,
    reference,
)
from bananas_topology.api.encoding import json_response
from bananas_topology.api.service import service_of
from bananas_topology.jobs.schedules import SchedulesJson, schedules_json

router = APIRouter(tags=["schedules"])


@router.get("/schedules", responses=answers(content(reference(SchedulesJson))))
def get_schedules(request: Request) -> Response:
    """Get the schedules with their next and last occurrences."""
    return json_response(schedules_json(service_of(request).schedules.read()))


@router.post(
    "/schedules/{name:path}/run",
    status_code=HTTPStatus.ACCEPTED,
    responses=answers(
        content(reference(EnqueuedJson)),
        HTTPStatus.NOT_FOUND,
        *CHANGE_FAILURES,
        status=HTTPStatus.ACCEPTED,
    ),
)
def run_schedule(request: Request, name: str) -> Response:
    """Enqueue the job of a schedule now. Its next occurrence does not change."""
    job_id = service_of(request).run_schedule(name)
    return json_response({"id": job_id}, HTTPStatus.ACCEPTED)
