"""The routes of the HTTP API.

Requests and responses are encoded by msgspec, so the app adds their schemas to the OpenAPI document
itself. Everything that blocks on Redis runs in a thread.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from http import HTTPMethod, HTTPStatus
from typing import Any

import anyio
import anyio.to_thread
import msgspec
from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from bananas_topology import __version__
from bananas_topology.api.bodies import MAX_JOBS, NewJobBody, read_jobs
from bananas_topology.api.metrics import Metrics
from bananas_topology.api.problems import Problem, answer_with_problems, problem_response
from bananas_topology.api.service import Service
from bananas_topology.jobs.views import JobJson, QueuesJson, job_json
from bananas_topology.system.clock import monotonic
from bananas_topology.units import parse_duration_ms

#: Bytes of a request at the most.
MAX_BODY_BYTES = 16 * 2**20

#: The longest that a request waits for a job, in milliseconds.
MAX_WAIT_MS = 60_000

#: Requests that wait for jobs at one time, each with a thread; one more is answered at once.
MAX_WAITING = 100

#: What is counted as a method; whatever else a caller makes up is counted together.
_METHODS = frozenset(HTTPMethod)


class Api:
    """What the routes share: the service, its figures, and who may ask."""

    def __init__(self, service: Service, token: str) -> None:
        self.service = service
        self.metrics = Metrics(service.inspector)
        self._token = token.encode()
        self._waiting = anyio.CapacityLimiter(MAX_WAITING)

    def check_token(self, header: str) -> None:
        """Refuse who does not bring the token, if there is one.

        Raises:
            Problem: 401.
        """
        scheme, _, given = header.partition(" ")
        is_bearer = scheme.lower() == "bearer"
        if self._token and not (is_bearer and hmac.compare_digest(given.encode(), self._token)):
            raise Problem(
                HTTPStatus.UNAUTHORIZED, "expected the header Authorization: Bearer <API_TOKEN>"
            )

    async def wait_and_look(self, job_id: str, wait_ms: int) -> JobJson:
        """A job as it is, once it is done or the wait is over."""
        waits = wait_ms > 0 and self._waiting.available_tokens > 0
        limiter = self._waiting if waits else None
        view = await anyio.to_thread.run_sync(
            self.service.job, job_id, wait_ms if waits else 0, limiter=limiter
        )
        return job_json(view)


class _Described(FastAPI):
    """An application whose OpenAPI document includes the schemas of what msgspec encodes."""

    def openapi(self) -> dict[str, Any]:
        document = super().openapi()
        document.setdefault("components", {}).setdefault("schemas", {}).update(_SCHEMAS)
        return document


def make_app(service: Service, token: str) -> FastAPI:
    """The ASGI application. An empty `token` lets everybody in who reaches it."""
    app = _Described(
        title="Bananas",
        version=__version__,
        summary="Enqueue jobs, look at them, and at the queues.",
        redoc_url=None,
    )
    app.state.api = Api(service, token)
    app.middleware("http")(_measure)
    app.include_router(_guarded)
    app.include_router(_open)
    answer_with_problems(app)
    return app


def _api(request: Request) -> Api:
    api: Api = request.app.state.api
    return api


def _guard(request: Request) -> None:
    _api(request).check_token(request.headers.get("authorization", ""))


_guarded = APIRouter(dependencies=[Depends(_guard)], tags=["jobs"])
_open = APIRouter(tags=["operations"])

_TYPES = (NewJobBody, JobJson, QueuesJson)
_REFERENCES, _SCHEMAS = msgspec.json.schema_components(
    _TYPES, ref_template="#/components/schemas/{name}"
)
_NEW_JOB, _JOB, _QUEUES = _REFERENCES


def _content(schema: dict[str, Any]) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}}


_ONE_OR_MORE_JOBS = {
    "oneOf": [_NEW_JOB, {"type": "array", "items": _NEW_JOB, "maxItems": MAX_JOBS}]
}


@_guarded.post(
    "/jobs",
    status_code=HTTPStatus.ACCEPTED,
    openapi_extra={"requestBody": {"required": True} | _content(_ONE_OR_MORE_JOBS)},
)
async def enqueue(request: Request) -> Response:
    """Enqueue one job, or a list of them, all or (if one is wrong) none.

    With ids of your own the request is safe to repeat: what is enqueued already stays as it is.
    """
    api = _api(request)
    jobs, is_list = read_jobs(await _body(request))
    ids = await anyio.to_thread.run_sync(api.service.client.enqueue_many, jobs)
    api.metrics.enqueued.inc(len(ids))
    if is_list:
        return _json({"ids": ids}, HTTPStatus.ACCEPTED)
    response = _json({"id": ids[0]}, HTTPStatus.ACCEPTED)
    response.headers["Location"] = str(request.url_for("look_at_job", job_id=ids[0]).path)
    return response


@_guarded.get("/jobs/{job_id:path}", responses={200: _content(_JOB)})
async def look_at_job(
    request: Request,
    job_id: str,
    wait: str = Query("", description="Wait so long for the job to be done, such as `10s`."),
) -> Response:
    """Look at one job: its status, times, result or error."""
    return _json(await _api(request).wait_and_look(job_id, _wait_ms(wait)))


@_guarded.get("/queues", responses={200: _content(_QUEUES)})
def look_at_queues(request: Request) -> Response:
    """Look at the queues: how many jobs are where, and which workers are alive."""
    return _json(_api(request).service.queues())


@_open.get("/health")
def health(request: Request) -> Response:
    """Whether jobs get done: 200, or 503 with what is wrong."""
    found = _api(request).service.health()
    figures = {"workers": found.workers, "ready": found.ready}
    if found.is_well:
        return _json({"status": "ok"} | figures)
    return problem_response(HTTPStatus.SERVICE_UNAVAILABLE, "; ".join(found.problems), **figures)


@_open.get("/livez")
async def livez() -> Response:
    """Whether this process answers."""
    return _json({"status": "ok"})


@_open.get("/readyz")
def readyz(request: Request) -> Response:
    """Whether requests can be served: Redis answers."""
    problem = _api(request).service.redis_problem()
    if problem is None:
        return _json({"status": "ok"})
    return problem_response(HTTPStatus.SERVICE_UNAVAILABLE, problem)


@_open.get("/metrics")
def metrics(request: Request) -> Response:
    """Figures for Prometheus."""
    return Response(generate_latest(_api(request).metrics.registry), media_type=CONTENT_TYPE_LATEST)


async def _body(request: Request) -> bytes:
    """The request's body, never more of it than is allowed."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise Problem(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"the request is larger than {MAX_BODY_BYTES} bytes; send the jobs in several",
            )
    return bytes(body)


def _wait_ms(text: str) -> int:
    try:
        return min(parse_duration_ms(text), MAX_WAIT_MS) if text else 0
    except ValueError as error:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f'wait is "{text}": {error}') from error


def _json(value: Any, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


async def _measure(
    request: Request, call_next: Callable[[Request], Awaitable[Response]]
) -> Response:
    begun = monotonic()
    # A defect of ours comes by as an exception, and is made a response further out.
    status = int(HTTPStatus.INTERNAL_SERVER_ERROR)
    try:
        response = await call_next(request)
        status = response.status_code
        return response
    finally:
        # The route's template, not the path: ids would make a series of their own each.
        route = getattr(request.scope.get("route"), "path", "none")
        method = request.method if request.method in _METHODS else "other"
        figures = _api(request).metrics
        figures.requests.labels(method, route, status).inc()
        figures.seconds.labels(method, route).observe(monotonic() - begun)
