"""Pages of other origins that may send requests, if any are configured.

They need a token as every other caller does: the browser sends nothing of its own accord. Without a
token, pages of other origins are always refused (guard.py).
"""

from __future__ import annotations

from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from bananas_topology.api.problems import problem_response

#: Headers, beyond those of simple requests, that pages may send, and that they may read.
_SENT = ("Authorization", "Content-Type", "If-None-Match", "Last-Event-ID")
_READ = ("ETag", "Location", "Retry-After")


class Cors(CORSMiddleware):
    """ASGI middleware that lets pages of these origins read the answers."""

    def __init__(self, app: ASGIApp, origins: tuple[str, ...]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=("GET", "POST", "DELETE"),
            allow_headers=_SENT,
            expose_headers=_READ,
            # A public page may call an api in a private network: its origin was named.
            allow_private_network=True,
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        """The answer to a browser that asks whether a page may send a request."""
        response = super().preflight_response(request_headers)
        if response.status_code == HTTPStatus.OK:
            return response
        reason = bytes(response.body).decode().removeprefix("Disallowed CORS ")
        return problem_response(
            HTTPStatus.FORBIDDEN,
            f"pages may not send such requests, see API_CORS_ORIGINS: {reason} not allowed",
        )
