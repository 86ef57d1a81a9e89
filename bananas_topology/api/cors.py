"""Requests from web pages of other origins, if these are configured.

They require a token like all others; browsers add no credentials. Without a token, pages of other
origins are always rejected (guard.py).
"""

from __future__ import annotations

from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from bananas_topology.api.problems import problem_response

#: Request headers that pages may set, and response headers that they may read.
_SENT = ("Authorization", "Content-Type", "If-None-Match", "Last-Event-ID")
_READ = ("ETag", "Location", "Retry-After")


class Cors(CORSMiddleware):
    """ASGI middleware that allows requests from pages of some origins."""

    def __init__(self, app: ASGIApp, origins: tuple[str, ...]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=("GET", "POST", "DELETE"),
            allow_headers=_SENT,
            expose_headers=_READ,
            # A configured origin may be public while the API is in a private network.
            allow_private_network=True,
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        """Respond to a preflight request."""
        response = super().preflight_response(request_headers)
        if response.status_code == HTTPStatus.OK:
            return response
        reason = bytes(response.body).decode().removeprefix("Disallowed CORS ")
        return problem_response(
            HTTPStatus.FORBIDDEN,
            f"{reason} not allowed for pages of other origins; see API_CORS_ORIGINS",
        )
