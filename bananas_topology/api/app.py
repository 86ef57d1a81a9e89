"""The routes of the HTTP API.

Requests and responses are encoded by msgspec, so the app adds their schemas to the OpenAPI document
itself. Everything that blocks on Redis runs in a thread.
"""

from __future__ import annotations

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
from bananas_topology.api.token import Token
from bananas_topology.errors import RequestRejected
from bananas_topology.jobs.views import JobJson, QueuesJson, job_json
from bananas_topology.system.clock import monotonic
from bananas_topology.units import parse_duration_ms

#: Maximum size of a request body, in bytes.
MAX_BODY_BYTES = 16 * 2**20

#: Maximum time that a request waits for a job, in milliseconds.
MAX_WAIT_MS = 60_000

#: Concurrent requests waiting for jobs, one thread per request; further ones do not wait.
MAX_WAITING = 100

#: Methods counted in metrics under their own name; any other is counted as "other".
_METHODS = frozenset(HTTPMethod)


class Api:
    """State shared by the routes: the service, metrics, and the token."""

    def __init__(self, service: Service, token: Token) -> None:
        self.service = service
        self.metrics = Metrics(service.inspector)
        self._token = token
        self._waiting = anyio.CapacityLimiter(MAX_WAITING)

    def check_token(self, header: str) -> None:
        """Check the Authorization header, if a token is configured.

        Raises:
            Problem: 401.
        """
        if not self._token.allows(header):
            raise Problem(
                HTTPStatus.UNAUTHORIZED, "expected the header Authorization: Bearer <API_TOKEN>"
            )

    async def job(self, job_id: str, wait_ms: int) -> JobJson:
        """Describe a job, after waiting up to `wait_ms` for it to finish."""
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


def make_app(service: Service, token: Token) -> FastAPI:
    """Create the ASGI application; an empty token disables authentication."""
    app = _Described(
        title="Bananas",
        version=__version__,
        summary="Enqueue and inspect jobs, and monitor queues.",
        redoc_url=None,
    )
    app.state.api = Api(service, token)
    app.middleware("http")(_measure)
    app.include_router(_private)
    app.include_router(_public)
    answer_with_problems(app)
    return app


def _api(request: Request) -> Api:
    api: Api = request.app.state.api
    return api


def _check_token(request: Request) -> None:
    _api(request).check_token(request.headers.get("authorization", ""))


_private = APIRouter(dependencies=[Depends(_check_token)], tags=["jobs"])
_public = APIRouter(tags=["operations"])

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


@_private.post(
    "/jobs",
    status_code=HTTPStatus.ACCEPTED,
    openapi_extra={"requestBody": {"required": True} | _content(_ONE_OR_MORE_JOBS)},
)
async def enqueue(request: Request) -> Response:
    """Enqueue one job or a list of jobs.

    If any job in a list is invalid, none is enqueued. If the server rejects one for its size, those
    before it are enqueued. Jobs with an `id` can be sent again safely:
    a job that already exists is left unchanged.
    """
    api = _api(request)
    jobs, is_list = read_jobs(await _body(request))
    try:
        ids = await anyio.to_thread.run_sync(api.service.client.enqueue_many, jobs)
    except RequestRejected as error:
        raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(error)) from error
    api.metrics.enqueued.inc(len(ids))
    if is_list:
        return _json({"ids": ids}, HTTPStatus.ACCEPTED)
    response = _json({"id": ids[0]}, HTTPStatus.ACCEPTED)
    response.headers["Location"] = str(request.url_for("get_job", job_id=ids[0]).path)
    return response


@_private.get("/jobs/{job_id:path}", responses={200: _content(_JOB)})
async def get_job(
    request: Request,
    job_id: str,
    wait: str = Query("", description="How long to wait for the job to finish, such as `10s`."),
) -> Response:
    """Get a job: its status, times, and result or error."""
    return _json(await _api(request).job(job_id, _wait_ms(wait)))


@_private.get("/queues", responses={200: _content(_QUEUES)})
def get_queues(request: Request) -> Response:
    """Get queue depths and live workers."""
    return _json(_api(request).service.queues())


@_public.get("/health")
def get_health(request: Request) -> Response:
    """Check that jobs are being processed: 200, or 503 with the reasons."""
    health = _api(request).service.health()
    counts = {"workers": health.workers, "ready": health.ready}
    if health.is_ok:
        return _json({"status": "ok"} | counts)
    return problem_response(HTTPStatus.SERVICE_UNAVAILABLE, "; ".join(health.problems), **counts)


@_public.get("/livez")
async def livez() -> Response:
    """Check that this process responds."""
    return _json({"status": "ok"})


@_public.get("/readyz")
def readyz(request: Request) -> Response:
    """Check that requests can be served: Redis responds."""
    problem = _api(request).service.redis_problem()
    if problem is None:
        return _json({"status": "ok"})
    return problem_response(HTTPStatus.SERVICE_UNAVAILABLE, problem)


@_public.get("/metrics")
def get_metrics(request: Request) -> Response:
    """Get metrics for Prometheus."""
    return Response(generate_latest(_api(request).metrics.registry), media_type=CONTENT_TYPE_LATEST)


async def _body(request: Request) -> bytes:
    """Read the request body, up to the size limit."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise Problem(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"expected a body of at most {MAX_BODY_BYTES} bytes; "
                "split the jobs into several requests",
            )
    return bytes(body)


def _wait_ms(text: str) -> int:
    try:
        return min(parse_duration_ms(text), MAX_WAIT_MS) if text else 0
    except ValueError as error:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f'wait: {error}, got "{text}"') from error


def _json(value: Any, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


async def _measure(
    request: Request, call_next: Callable[[Request], Awaitable[Response]]
) -> Response:
    started = monotonic()
    # An unexpected exception passes through here and becomes a response in an outer layer.
    status = int(HTTPStatus.INTERNAL_SERVER_ERROR)
    try:
        response = await call_next(request)
        status = response.status_code
        return response
    finally:
        # Label with the route's template, not the path: every id would create a series.
        route = getattr(request.scope.get("route"), "path", "none")
        method = request.method if request.method in _METHODS else "other"
        metrics = _api(request).metrics
        metrics.requests.labels(method, route, status).inc()
        metrics.seconds.labels(method, route).observe(monotonic() - started)
