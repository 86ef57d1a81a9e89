"""The routes of the HTTP API.

Requests and responses are encoded by msgspec, so the app adds their schemas to the OpenAPI document
itself. Everything that blocks on Redis, or computes for long, runs in a thread.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import anyio.to_thread
import msgspec
from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from bananas_topology import __version__
from bananas_topology.api.answers import (
    ENQUEUED,
    HEALTH,
    JOB,
    ONE_OR_MORE_JOBS,
    QUEUES,
    SCHEMAS,
    STATUS,
    answers,
    content,
)
from bananas_topology.api.metrics import Measuring, Metrics
from bananas_topology.api.problems import (
    Problem,
    answer_with_problems,
    no_response,
    problem_response,
)
from bananas_topology.api.service import Service
from bananas_topology.api.token import Token
from bananas_topology.api.waiting import WaitingRoom
from bananas_topology.errors import RequestRejected
from bananas_topology.units import parse_duration_ms

#: Maximum size of a request body, in bytes.
MAX_BODY_BYTES = 16 * 2**20

#: Maximum time that a request's body may take to arrive, in seconds.
BODY_S = 60.0

#: Maximum time that a request waits for a job, in milliseconds.
MAX_WAIT_MS = 60_000


class Api:
    """State shared by the routes: the service, metrics, waiting requests, and the token."""

    def __init__(self, service: Service, token: Token) -> None:
        self.service = service
        self.metrics = Metrics(service.inspector)
        self.waiting = WaitingRoom(service)
        self._token = token

    def check_token(self, header: str) -> None:
        """Check the Authorization header, if a token is configured.

        Raises:
            Problem: 401.
        """
        if not self._token.allows(header):
            raise Problem(
                HTTPStatus.UNAUTHORIZED, "expected the header Authorization: Bearer <API_TOKEN>"
            )


class _Described(FastAPI):
    """An application whose OpenAPI document includes the schemas of what msgspec encodes."""

    def openapi(self) -> dict[str, Any]:
        document = super().openapi()
        components = document.setdefault("components", {})
        components.setdefault("schemas", {}).update(SCHEMAS)
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        return document


def make_app(service: Service, token: Token) -> FastAPI:
    """Create the ASGI application; an empty token disables authentication."""
    app = _Described(
        title="Bananas",
        version=__version__,
        summary="Enqueue and inspect jobs, and monitor queues.",
        redoc_url=None,
    )
    api = app.state.api = Api(service, token)
    app.add_middleware(Measuring, metrics=api.metrics)
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

# Without a token, requests need none.
_SECURITY: dict[str, Any] = {"security": [{"token": []}, {}]}


@_private.post(
    "/jobs",
    status_code=HTTPStatus.ACCEPTED,
    responses=answers(
        content(ENQUEUED),
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        status=HTTPStatus.ACCEPTED,
    ),
    openapi_extra={"requestBody": {"required": True} | content(ONE_OR_MORE_JOBS)} | _SECURITY,
)
async def enqueue(request: Request) -> Response:
    """Enqueue one job or a list of jobs.

    If any job in a list is invalid, none is enqueued. If the server rejects one for its size, those
    before it are enqueued. Jobs with an `id` can be sent again safely:
    a job that already exists is left unchanged.
    """
    api = _api(request)
    body = await _body(request)
    try:
        ids, is_list = await anyio.to_thread.run_sync(api.service.enqueue, body)
    except RequestRejected as error:
        raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(error)) from error
    api.metrics.enqueued.inc(len(ids))
    if is_list:
        return _json({"ids": ids}, HTTPStatus.ACCEPTED)
    response = _json({"id": ids[0]}, HTTPStatus.ACCEPTED)
    root = request.scope.get("root_path", "")
    response.headers["Location"] = f"{root}/jobs/{quote(ids[0], safe='')}"
    return response


@_private.get(
    "/jobs/{job_id:path}",
    responses=answers(
        content(JOB),
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    ),
    openapi_extra=_SECURITY,
)
async def get_job(
    request: Request,
    job_id: str,
    wait: str = Query("", description="How long to wait for the job to finish, such as `10s`."),
) -> Response:
    """Get a job: its status, times, and result or error.

    Percent-encode the id. A request that waits is answered early, with the job as it is, when the
    API stops or too many requests wait.
    """
    job = await _api(request).waiting.job(request, job_id, _wait_ms(wait) / 1000)
    return no_response() if job is None else _encoded(job)


@_private.get(
    "/queues",
    responses=answers(content(QUEUES), HTTPStatus.UNAUTHORIZED),
    openapi_extra=_SECURITY,
)
def get_queues(request: Request) -> Response:
    """Get queue depths and live workers."""
    return _encoded(_api(request).service.queues())


@_public.get("/health", responses=answers(content(HEALTH)))
def get_health(request: Request) -> Response:
    """Check that jobs are being processed: 200, or 503 with the reasons."""
    health = _api(request).service.health()
    counts = {"workers": health.workers, "ready": health.ready}
    if health.is_ok:
        return _json({"status": "ok"} | counts)
    return problem_response(HTTPStatus.SERVICE_UNAVAILABLE, "; ".join(health.problems), **counts)


@_public.get("/livez", responses=answers(content(STATUS)))
async def livez() -> Response:
    """Check that this process responds."""
    return _json({"status": "ok"})


@_public.get("/readyz", responses=answers(content(STATUS)))
def readyz(request: Request) -> Response:
    """Check that requests can be served: Redis responds."""
    problem = _api(request).service.redis_problem()
    if problem is None:
        return _json({"status": "ok"})
    return problem_response(HTTPStatus.SERVICE_UNAVAILABLE, problem)


@_public.get("/metrics", responses=answers(content({"type": "string"}, "text/plain")))
def get_metrics(request: Request) -> Response:
    """Get metrics for Prometheus."""
    return Response(generate_latest(_api(request).metrics.registry), media_type=CONTENT_TYPE_LATEST)


async def _body(request: Request) -> bytes:
    """Read the request body, up to the limits of size and time."""
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise Problem(
                        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                        f"expected a body of at most {MAX_BODY_BYTES} bytes; "
                        "split the jobs into several requests",
                    )
    except TimeoutError as error:
        raise Problem(
            HTTPStatus.REQUEST_TIMEOUT, f"expected the whole body within {BODY_S:g} s"
        ) from error
    return bytes(body)


def _wait_ms(text: str) -> int:
    try:
        return min(parse_duration_ms(text), MAX_WAIT_MS) if text else 0
    except ValueError as error:
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f'wait: {error}, got "{text}"') from error


def _json(value: Any, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return _encoded(msgspec.json.encode(value), status)


def _encoded(body: bytes, status: HTTPStatus = HTTPStatus.OK) -> Response:
    return Response(body, status, media_type="application/json")
