"""The routes of the HTTP API.

Requests and responses are encoded by msgspec, so the app adds their schemas to the OpenAPI document
itself. Everything that blocks on Redis, or computes for long, runs in a thread.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, FastAPI, Query, Request, Response
from fastapi.responses import HTMLResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.types import ASGIApp

from bananas_topology import __version__
from bananas_topology.api import (
    dead_routes,
    event_routes,
    fleet_routes,
    history_routes,
    job_routes,
    schedule_routes,
)
from bananas_topology.api.answers import (
    BODY_FAILURES,
    ENQUEUED,
    ONE_OR_MORE_JOBS,
    SCHEMAS,
    HealthJson,
    StatusJson,
    answers,
    content,
    reference,
)
from bananas_topology.api.body import read_body
from bananas_topology.api.caching import Revalidation, describe_revalidation
from bananas_topology.api.cors import Cors
from bananas_topology.api.docs import DOCS_STYLE, docs_page
from bananas_topology.api.encoding import encoded_response, json_response
from bananas_topology.api.enqueueing import Enqueuer
from bananas_topology.api.event_feed import EventFeed
from bananas_topology.api.guard import PROBES, Guard, SecurityHeaders
from bananas_topology.api.head import HeadAsGet
from bananas_topology.api.metrics import Measuring, Metrics
from bananas_topology.api.page_routes import add_page
from bananas_topology.api.parsing import duration_ms
from bananas_topology.api.problems import (
    Problem,
    answer_with_problems,
    no_response,
    problem_response,
)
from bananas_topology.api.service import Service
from bananas_topology.api.token import NO_TOKEN, Token
from bananas_topology.api.waiting import WaitingRoom
from bananas_topology.errors import RequestRejected
from bananas_topology.jobs.views import JobJson, QueuesJson

#: Maximum time that a request waits for a job, in milliseconds.
MAX_WAIT_MS = 60_000

#: Paths whose responses are endless.
_ENDLESS = frozenset({"/events"})

#: Paths whose responses are not cached.
UNCACHED = PROBES | _ENDLESS


class Api:
    """State shared by the routes: the service, metrics, waiting requests, and streams."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.metrics = Metrics(service.inspector)
        self.enqueuer = Enqueuer(service.client)
        self.waiting = WaitingRoom(service)
        self.events = EventFeed(service)

    def stop(self) -> None:
        """Answer waiting requests, and end streams."""
        self.waiting.close()
        self.events.close()


class _App(FastAPI):
    """An application whose OpenAPI document includes the schemas of what msgspec encodes."""

    origins: tuple[str, ...] = ()

    def build_middleware_stack(self) -> ASGIApp:
        # Around all other layers, so that the response to an unexpected error has them, too.
        stack: ASGIApp = super().build_middleware_stack()
        stack = HeadAsGet(stack, exempt=_ENDLESS)
        return SecurityHeaders(Cors(stack, self.origins) if self.origins else stack)

    def openapi(self) -> dict[str, Any]:
        document = super().openapi()
        components = document.setdefault("components", {})
        components.setdefault("schemas", {}).update(SCHEMAS)
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        describe_revalidation(document, UNCACHED)
        # Without a token, requests need none.
        document["security"] = [{"token": []}, {}]
        return document


def make_app(
    service: Service,
    token: Token,
    read_token: Token = NO_TOKEN,
    origins: tuple[str, ...] = (),
) -> FastAPI:
    """Create the ASGI application. Without a token it serves this host only (see guard.py).

    With one, pages of these `origins` may send requests.
    """
    app = _App(
        title="Bananas",
        version=__version__,
        summary="Enqueue and inspect jobs, and monitor queues.",
        docs_url=None,
        redoc_url=None,
    )
    api = app.state.api = Api(service)
    app.origins = origins if token.is_set else ()
    app.add_middleware(Revalidation, exempt=UNCACHED)
    app.add_middleware(Guard, token=token, read_token=read_token)
    app.add_middleware(Measuring, metrics=api.metrics)
    app.include_router(_jobs)
    for each in (
        job_routes, dead_routes, fleet_routes, schedule_routes, event_routes, history_routes,
    ):  # fmt: skip
        app.include_router(each.router)
    app.include_router(_operations)
    app.add_route("/docs", _get_docs, include_in_schema=False)
    app.add_route("/docs.css", _get_docs_style, include_in_schema=False)
    add_page(app)
    answer_with_problems(app)
    return app


def _api(request: Request) -> Api:
    api: Api = request.app.state.api
    return api


_jobs = APIRouter(tags=["jobs"])
_operations = APIRouter(tags=["operations"])


@_jobs.post(
    "/jobs",
    status_code=HTTPStatus.ACCEPTED,
    responses=answers(
        content(ENQUEUED),
        *BODY_FAILURES,
        status=HTTPStatus.ACCEPTED,
    ),
    openapi_extra={"requestBody": {"required": True} | content(ONE_OR_MORE_JOBS)},
)
async def enqueue(request: Request) -> Response:
    """Enqueue one job or a list of jobs.

    If any job in a list is invalid, none is enqueued. If the server rejects one for its size, those
    before it are enqueued. Jobs with an `id` can be sent again safely:
    a job that already exists is left unchanged.
    """
    api = _api(request)
    body = await read_body(request)
    try:
        ids, is_list = await api.enqueuer.enqueue(body)
    except RequestRejected as error:
        raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(error)) from error
    api.metrics.enqueued.inc(len(ids))
    if is_list:
        return json_response({"ids": ids}, HTTPStatus.ACCEPTED)
    response = json_response({"id": ids[0]}, HTTPStatus.ACCEPTED)
    root = request.scope.get("root_path", "")
    response.headers["Location"] = f"{root}/jobs/{quote(ids[0], safe='')}"
    return response


@_jobs.get(
    "/jobs/{job_id:path}",
    responses=answers(
        content(reference(JobJson)),
        HTTPStatus.NOT_FOUND,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    ),
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
    return no_response() if job is None else encoded_response(job)


@_jobs.get(
    "/queues",
    responses=answers(content(reference(QueuesJson))),
)
def get_queues(request: Request) -> Response:
    """Get queue depths and live workers."""
    return encoded_response(_api(request).service.queues())


@_operations.get("/health", responses=answers(content(reference(HealthJson))))
def get_health(request: Request) -> Response:
    """Check that jobs are being processed: 200, or 503 with the reasons."""
    health = _api(request).service.health()
    counts = {"workers": health.workers, "ready": health.ready}
    if health.is_ok:
        return json_response({"status": "ok"} | counts)
    return problem_response(HTTPStatus.SERVICE_UNAVAILABLE, "; ".join(health.problems), **counts)


@_operations.get("/livez", responses=answers(content(reference(StatusJson)), is_probe=True))
async def livez() -> Response:
    """Check that this process responds."""
    return json_response({"status": "ok"})


@_operations.get("/readyz", responses=answers(content(reference(StatusJson)), is_probe=True))
def readyz(request: Request) -> Response:
    """Check that requests can be served: Redis responds."""
    problem = _api(request).service.redis_problem()
    if problem is None:
        return json_response({"status": "ok"})
    return problem_response(HTTPStatus.SERVICE_UNAVAILABLE, problem)


@_operations.get(
    "/metrics",
    response_class=Response,  # otherwise, the OpenAPI document names JSON, too
    responses=answers(content({"type": "string"}, "text/plain")),
)
def get_metrics(request: Request) -> Response:
    """Get metrics for Prometheus."""
    return Response(generate_latest(_api(request).metrics.registry), media_type=CONTENT_TYPE_LATEST)


async def _get_docs(request: Request) -> Response:
    return HTMLResponse(docs_page(request.app.openapi()))


async def _get_docs_style(request: Request) -> Response:
    return Response(DOCS_STYLE, media_type="text/css", headers={"Cache-Control": "max-age=3600"})


def _wait_ms(text: str) -> int:
    return min(duration_ms("wait", text), MAX_WAIT_MS) if text else 0
