"""The route of the history, for charts."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from bananas_topology.api.answers import answers, content, reference
from bananas_topology.api.encoding import encoded_response
from bananas_topology.api.service import service_of
from bananas_topology.jobs.history import PeriodName
from bananas_topology.jobs.history_views import HistoryJson

router = APIRouter(tags=["operations"])

_PERIOD = Query(description="The last hour by minutes, or the last day by quarters of an hour.")
_TYPE = Query(alias="type", description="Points of jobs of this type only.")
_POOL = Query(description="Points of jobs that ran in this pool only.")


@router.get(
    "/history", responses=answers(content(reference(HistoryJson)), HTTPStatus.UNPROCESSABLE_ENTITY)
)
def get_history(
    request: Request,
    period: Annotated[PeriodName, _PERIOD] = "hour",
    job_type: Annotated[str | None, _TYPE] = None,
    pool: Annotated[str | None, _POOL] = None,
) -> Response:
    """Get the numbers of completed and failed jobs, and their wait and run times.

    By step of the last hour or day, and over all of it by job type and by pool. A run is counted
    within ten seconds or so of its end.
    """
    return encoded_response(service_of(request).history.read(period, job_type, pool))
