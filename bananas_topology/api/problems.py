"""Errors as problem details (RFC 9457); tracebacks are logged, never returned."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from bananas_topology.errors import (
    BananasTopologyError,
    InvalidCursor,
    InvalidJob,
    JobNotFound,
    RedisUnavailable,
    RedisUnsuitable,
    ScheduleNotFound,
    WrongJobState,
)

MEDIA_TYPE = "application/problem+json"

#: The status in metrics of requests whose clients hung up before they were answered.
CLIENT_CLOSED_REQUEST = 499

#: Seconds after which callers may retry while Redis is unavailable.
RETRY_AFTER_S = 1

log = logging.getLogger(__name__)

#: HTTP status by exception class, including subclasses; any other exception is a 500.
_STATUSES: tuple[tuple[type[BananasTopologyError], HTTPStatus], ...] = (
    (InvalidJob, HTTPStatus.UNPROCESSABLE_ENTITY),
    (InvalidCursor, HTTPStatus.UNPROCESSABLE_ENTITY),
    (WrongJobState, HTTPStatus.CONFLICT),
    (JobNotFound, HTTPStatus.NOT_FOUND),
    (ScheduleNotFound, HTTPStatus.NOT_FOUND),
    (RedisUnavailable, HTTPStatus.SERVICE_UNAVAILABLE),
    (RedisUnsuitable, HTTPStatus.SERVICE_UNAVAILABLE),
)


class Problem(Exception):
    """An error response."""

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


def answer_with_problems(app: FastAPI) -> None:
    """Make the app respond to every error with problem details."""
    app.add_exception_handler(Problem, _on_problem)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(BananasTopologyError, _on_known_error)
    app.add_exception_handler(ClientDisconnect, _on_hang_up)
    app.add_exception_handler(Exception, _on_unexpected_error)


def problem_response(status: HTTPStatus, detail: str, **extra: Any) -> JSONResponse:
    """Build a problem response; its title is the HTTP reason phrase, `extra` more members."""
    content = {"type": "about:blank", "title": status.phrase, "status": status, "detail": detail}
    return JSONResponse(content | extra, status, media_type=MEDIA_TYPE, headers=_headers(status))


def no_response() -> Response:
    """The response for a client that has hung up; it is counted, and not sent."""
    return Response(status_code=CLIENT_CLOSED_REQUEST)


def _headers(status: HTTPStatus) -> dict[str, str]:
    if status == HTTPStatus.UNAUTHORIZED:
        return {"WWW-Authenticate": "Bearer"}
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        return {"Retry-After": str(RETRY_AFTER_S)}
    return {}


# Starlette types all handlers as taking Exception; every handler is registered for its own class.


async def _on_problem(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)
    return problem_response(error.status, error.detail)


async def _on_http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    detail = {
        HTTPStatus.NOT_FOUND: f"no such path: {request.url.path}; see /docs",
        HTTPStatus.METHOD_NOT_ALLOWED: f"{request.url.path} does not allow {request.method}",
    }.get(HTTPStatus(error.status_code), str(error.detail))
    response = problem_response(HTTPStatus(error.status_code), detail)
    response.headers.update(error.headers or {})
    return response


async def _on_invalid_request(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    details = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
    return problem_response(HTTPStatus.UNPROCESSABLE_ENTITY, "; ".join(details))


async def _on_known_error(request: Request, error: Exception) -> JSONResponse:
    status = next(
        (status for kind, status in _STATUSES if isinstance(error, kind)),
        HTTPStatus.INTERNAL_SERVER_ERROR,
    )
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.warning("request failed", extra={"path": request.url.path, "reason": str(error)})
    return problem_response(status, str(error))


async def _on_hang_up(request: Request, error: Exception) -> Response:
    return no_response()


async def _on_unexpected_error(request: Request, error: Exception) -> JSONResponse:
    log.error("request failed", extra={"path": request.url.path}, exc_info=error)
    return problem_response(HTTPStatus.INTERNAL_SERVER_ERROR, "internal error; see the api log")
