"""The answers in the OpenAPI document: each status, with the schema of its body and its headers.

Bodies are encoded by msgspec, so their schemas come from there.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, TypedDict

import msgspec

from bananas_topology.api.alerts import AlertsJson
from bananas_topology.api.bodies import MAX_JOBS, NewJobBody
from bananas_topology.api.dead_bodies import DeadSelection
from bananas_topology.api.problems import MEDIA_TYPE
from bananas_topology.jobs.events import CountersJson, JobEventJson, WorkerEventJson
from bananas_topology.jobs.fleet_views import JobTypesJson, PoolsJson, WorkersJson
from bananas_topology.jobs.history_views import HistoryJson
from bananas_topology.jobs.schedules import SchedulesJson
from bananas_topology.jobs.views import (
    DeadChangeJson,
    DeadPageJson,
    JobJson,
    JobPageJson,
    QueuesJson,
)

Answers = dict[int | str, dict[str, Any]]


class EnqueuedJson(TypedDict):
    """The id of the job."""

    id: str


class EnqueuedListJson(TypedDict):
    """The ids of the jobs, in the order of the request."""

    ids: list[str]


class StatusJson(TypedDict):
    """`status` is always "ok"; anything else is answered with a problem."""

    status: str


class HealthJson(StatusJson):
    """The number of live workers and of ready jobs; a lower bound if these are of many types."""

    workers: int
    ready: int


class ProblemJson(TypedDict):
    """Problem details (RFC 9457). The 503 of /health has `workers` and `ready` as well."""

    type: str
    title: str
    status: int
    detail: str


_TYPES: tuple[type[Any], ...] = (
    NewJobBody,
    DeadSelection,
    JobJson,
    JobPageJson,
    QueuesJson,
    WorkersJson,
    PoolsJson,
    JobTypesJson,
    AlertsJson,
    DeadPageJson,
    DeadChangeJson,
    SchedulesJson,
    CountersJson,
    JobEventJson,
    WorkerEventJson,
    HistoryJson,
    EnqueuedJson,
    EnqueuedListJson,
    StatusJson,
    HealthJson,
    ProblemJson,
)
_REFERENCES, SCHEMAS = msgspec.json.schema_components(
    _TYPES, ref_template="#/components/schemas/{name}"
)
_BY_TYPE = dict(zip(_TYPES, _REFERENCES, strict=True))


def reference(shape: type[Any]) -> dict[str, Any]:
    """The schema of a type, as a reference to the document's components."""
    return _BY_TYPE[shape]


#: The body of a request to enqueue, and of its answer.
_NEW_JOB = reference(NewJobBody)
ONE_OR_MORE_JOBS = {"oneOf": [_NEW_JOB, {"type": "array", "items": _NEW_JOB, "maxItems": MAX_JOBS}]}
ENQUEUED = {"oneOf": [reference(EnqueuedJson), reference(EnqueuedListJson)]}

#: Why a request may fail, by status.
_REASONS = {
    HTTPStatus.BAD_REQUEST: "The body is not valid JSON",
    HTTPStatus.UNAUTHORIZED: "The token is missing or wrong",
    HTTPStatus.FORBIDDEN: "The token only reads; or there is none, and the origin is foreign",
    HTTPStatus.NOT_FOUND: "There is no such job or schedule, or the job's retention has expired",
    HTTPStatus.REQUEST_TIMEOUT: "The body did not arrive in time",
    HTTPStatus.CONFLICT: "The job is in another state",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body, or a job in it, is too large",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The body is of a type that forms send",
    HTTPStatus.UNPROCESSABLE_ENTITY: "A value is not valid",
    HTTPStatus.INTERNAL_SERVER_ERROR: "An error of the API, which its log describes",
    HTTPStatus.SERVICE_UNAVAILABLE: "Redis cannot be used, or there are too many connections",
}

_HEADERS = {
    HTTPStatus.ACCEPTED: ("Location", "Path of the job, if the request was for one"),
    HTTPStatus.UNAUTHORIZED: ("WWW-Authenticate", "Bearer"),
    HTTPStatus.SERVICE_UNAVAILABLE: ("Retry-After", "Seconds after which to try again"),
}

#: Statuses that any request may be answered with.
_ALWAYS = (HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.SERVICE_UNAVAILABLE)

#: Statuses of the guard for every request, of a request that changes something, and of one that
#: has a body as well.
_GUARDED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
CHANGE_FAILURES = (HTTPStatus.UNSUPPORTED_MEDIA_TYPE, HTTPStatus.UNPROCESSABLE_ENTITY)
BODY_FAILURES = (
    *CHANGE_FAILURES,
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
)


def content(schema: dict[str, Any], media_type: str = "application/json") -> dict[str, Any]:
    """A body with this schema."""
    return {"content": {media_type: {"schema": schema}}}


def answers(
    body: dict[str, Any],
    *failures: HTTPStatus,
    status: HTTPStatus = HTTPStatus.OK,
    is_probe: bool = False,
) -> Answers:
    """The answers of a route: the `body` of success, and the problems it may return.

    Probes are not guarded.
    """
    found: Answers = {int(status): {"description": status.phrase} | _header(status) | body}
    for failure in sorted({*failures, *_ALWAYS, *(() if is_probe else _GUARDED)}):
        reason = {"description": _REASONS[failure]}
        found[int(failure)] = (
            reason | _header(failure) | content(reference(ProblemJson), MEDIA_TYPE)
        )
    return found


def _header(status: HTTPStatus) -> dict[str, Any]:
    if status not in _HEADERS:
        return {}
    name, description = _HEADERS[status]
    return {"headers": {name: {"description": description, "schema": {"type": "string"}}}}
