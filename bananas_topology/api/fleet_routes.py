"""The routes of workers, pools, job types and alerts."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from bananas_topology.api.alerts import AlertsJson
from bananas_topology.api.answers import answers, content, reference
from bananas_topology.api.encoding import json_response
from bananas_topology.api.service import service_of
from bananas_topology.jobs.fleet_views import (
    JobTypesJson,
    PoolsJson,
    WorkersJson,
    job_types_json,
    pools_json,
    workers_json,
)

router = APIRouter(tags=["workers"])


@router.get("/workers", responses=answers(content(reference(WorkersJson))))
def get_workers(request: Request) -> Response:
    """Get the live workers, with the jobs that they hold: 1,000 of all jobs at most."""
    service = service_of(request)
    return json_response(workers_json(service.inspector.workers(), service.activity.running()))


@router.get("/pools", responses=answers(content(reference(PoolsJson))))
def get_pools(request: Request) -> Response:
    """Get the pools of the topology, and others with live workers, with totals of their workers.

    Those of the topology are known to an API that was started by it.
    """
    service = service_of(request)
    return json_response(pools_json(service.inspector.workers(), service.pools))


@router.get("/job-types", responses=answers(content(reference(JobTypesJson))))
def get_job_types(request: Request) -> Response:
    """Get the job types that live workers handle, with the JSON Schema of each one's payload."""
    return json_response(job_types_json(service_of(request).job_types.read()))


@router.get("/alerts", responses=answers(content(reference(AlertsJson))))
def get_alerts(request: Request) -> Response:
    """Get the problems of the running system, as `bananas doctor` would report them.

    Evaluated at most every 5 seconds; some alerts require two readings.
    """
    return json_response(service_of(request).alerts.read())
