"""Who may send requests: callers with a token; without one, programs and pages of this host only.

Without a token the api listens on loopback, where every page in a browser of this host can reach
it. Such a page is recognized by the headers that a browser sets and a page cannot forge: Host (a
foreign name that resolves to this host), Origin, Sec-Fetch-Site, and the content types of forms.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from http import HTTPStatus
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bananas_topology.api.page_routes import is_page
from bananas_topology.api.problems import Problem, problem_response
from bananas_topology.api.token import Token

#: Probes: anyone may send them.
PROBES = frozenset({"/livez", "/readyz"})

#: What a browser loads before it can send a token, besides the page itself: the same for all
#: deployments.
PAGES = frozenset({"/docs", "/docs.css"})

#: Methods that change nothing.
_READING = frozenset({"GET", "HEAD"})

#: Types in which a form sends text as it is: browsers before 2020 did so without an Origin. Not the
#: default of forms, curl and others: a form sends that percent-encoded, which is not JSON.
_FORM_TYPES = frozenset({"text/plain", "multipart/form-data"})

#: Headers of every response. Neither inline scripts nor other hosts.
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "object-src 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Guard:
    """ASGI middleware that rejects requests of callers who may not send them.

    `token` allows all requests, `read_token` those that change nothing.
    """

    def __init__(self, app: ASGIApp, token: Token, read_token: Token) -> None:
        self._app = app
        self._token = token
        self._read_token = read_token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                self._check(scope["method"], scope["path"], Headers(scope=scope))
            except Problem as problem:
                response = problem_response(problem.status, problem.detail)
                return await response(scope, receive, send)
        await self._app(scope, receive, send)

    def _check(self, method: str, path: str, headers: Mapping[str, str]) -> None:
        if path in PROBES:
            return
        if not self._token.is_set:
            check_local(method, headers)
        elif path not in PAGES and not is_page(path):
            self._check_token(method, headers.get("authorization", ""))

    def _check_token(self, method: str, header: str) -> None:
        # This one first: if files with both tokens come to have the same, it must not allow more.
        if self._read_token.is_set and self._read_token.allows(header):
            if method not in _READING:
                raise Problem(
                    HTTPStatus.FORBIDDEN, f"API_READ_TOKEN does not allow {method}; use API_TOKEN"
                )
        elif not self._token.allows(header):
            raise Problem(
                HTTPStatus.UNAUTHORIZED, "expected the header Authorization: Bearer <API_TOKEN>"
            )


_ADDED_HEADERS = [
    (name.lower().encode(), value.encode())
    for name, value in (SECURITY_HEADERS | {"Cache-Control": "no-store"}).items()
]


class SecurityHeaders:
    """ASGI middleware that adds `SECURITY_HEADERS` to every response that does not set its own.

    Responses other than pages must not be stored: they are momentary, or secret.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                own = {name for name, _ in headers}  # in lower case, as ASGI requires
                added = [each for each in _ADDED_HEADERS if each[0] not in own]
                message["headers"] = headers + added
            await send(message)

        await self._app(scope, receive, send_with_headers if scope["type"] == "http" else send)


def check_local(method: str, headers: Mapping[str, str]) -> None:
    """Check that a request to an api without a token is of this host, and of no foreign page.

    Raises:
        Problem: 403, or 415 for a type of body that only forms send.
    """
    host = headers.get("host", "")
    if not _is_loopback(host):
        raise Problem(
            HTTPStatus.FORBIDDEN,
            f'expected the Host localhost or a loopback address, got "{host}"; '
            "to serve other hosts, set API_TOKEN",
        )
    origin = headers.get("origin")
    if origin is not None and not _is_same_origin(origin, host):
        raise Problem(
            HTTPStatus.FORBIDDEN,
            f'pages of another origin may not send requests, got the Origin "{origin}"',
        )
    # A link on another site may lead to a page here: it is shown to the user, not to that site.
    is_link = method in _READING and headers.get("sec-fetch-mode") == "navigate"
    if headers.get("sec-fetch-site") in ("cross-site", "same-site") and not is_link:
        raise Problem(HTTPStatus.FORBIDDEN, "pages of another origin may not send requests")
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if method not in _READING and content_type in _FORM_TYPES:
        raise Problem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"expected the header Content-Type: application/json, got {content_type}",
        )


@lru_cache(maxsize=64)
def _is_loopback(host: str) -> bool:
    """Whether a Host header names this host by a name that no DNS server can redefine."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False


def _is_same_origin(origin: str, host: str) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    # A proxy for TLS on this host changes the scheme, not the name.
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()
