"""What OpenAPI says about the answers: each status, with the schema of its body and its headers.

Bodies are encoded by msgspec, so their schemas come from there.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, TypedDict

import msgspec

from bananas_topology.api.bodies import MAX_JOBS, NewJobBody
from bananas_topology.api.problems import MEDIA_TYPE
from bananas_topology.jobs.views import JobJson, QueuesJson

Answers = dict[int | str, dict[str, Any]]


class EnqueuedJson(TypedDict):
    """The id of the job."""

    id: str


class EnqueuedListJson(TypedDict):
    """The ids of the jobs, in the order of the request."""

    ids: list[str]


class StatusJson(TypedDict):
    """`status` is always "ok"; what is not is a problem."""

    status: str


class HealthJson(StatusJson):
    """The number of live workers and of ready jobs; at least, if these are of many types."""

    workers: int
    ready: int


class ProblemJson(TypedDict):
    """Problem details (RFC 9457). The 503 of /health has `workers` and `ready` as well."""

    type: str
    title: str
    status: int
    detail: str


_TYPES = (
    NewJobBody,
    JobJson,
    QueuesJson,
    EnqueuedJson,
    EnqueuedListJson,
    StatusJson,
    HealthJson,
    ProblemJson,
)
_REFERENCES, SCHEMAS = msgspec.json.schema_components(
    _TYPES, ref_template="#/components/schemas/{name}"
)
_NEW_JOB, JOB, QUEUES, _ENQUEUED, _ENQUEUED_LIST, STATUS, HEALTH, _PROBLEM = _REFERENCES

#: The body of a request to enqueue, and of its answer.
ONE_OR_MORE_JOBS = {"oneOf": [_NEW_JOB, {"type": "array", "items": _NEW_JOB, "maxItems": MAX_JOBS}]}
ENQUEUED = {"oneOf": [_ENQUEUED, _ENQUEUED_LIST]}

#: Why a request may fail, by status.
_REASONS = {
    HTTPStatus.BAD_REQUEST: "The body is not valid JSON",
    HTTPStatus.UNAUTHORIZED: "The token is missing or wrong",
    HTTPStatus.NOT_FOUND: "There is no such job, or its retention has expired",
    HTTPStatus.REQUEST_TIMEOUT: "The body did not arrive in time",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body, or a job in it, is too large",
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


def content(schema: dict[str, Any], media_type: str = "application/json") -> dict[str, Any]:
    """A body with this schema."""
    return {"content": {media_type: {"schema": schema}}}


def answers(
    body: dict[str, Any], *failures: HTTPStatus, status: HTTPStatus = HTTPStatus.OK
) -> Answers:
    """The answers of a route: the `body` of success, and the problems it may return."""
    found: Answers = {int(status): {"description": status.phrase} | _header(status) | body}
    for failure in sorted({*failures, *_ALWAYS}):
        reason = {"description": _REASONS[failure]}
        found[int(failure)] = reason | _header(failure) | content(_PROBLEM, MEDIA_TYPE)
    return found


def _header(status: HTTPStatus) -> dict[str, Any]:
    if status not in _HEADERS:
        return {}
    name, description = _HEADERS[status]
    return {"headers": {name: {"description": description, "schema": {"type": "string"}}}}
