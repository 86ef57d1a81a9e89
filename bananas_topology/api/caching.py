"""ETags for all GET requests, so that polling clients receive only what has changed."""

from __future__ import annotations

import hashlib
from http import HTTPStatus
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Maximum size of a body, in bytes, that is hashed: that blocks other requests for a millisecond.
MAX_HASHED_BYTES = 2**20

#: A browser may cache the response, and revalidates it for each request.
ASK_AGAIN = "private, no-cache"


class Revalidation:
    """ASGI middleware that responds to GET with 304 if the client has the current body.

    Unchanged are responses that have an ETag already, are streamed, or exceed `MAX_HASHED_BYTES`,
    and those for `exempt` paths.
    """

    def __init__(self, app: ASGIApp, exempt: frozenset[str]) -> None:
        self._app = app
        self._exempt = exempt

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_get = scope["type"] == "http" and scope["method"] == "GET"
        if is_get and scope["path"] not in self._exempt:
            send = _revalidating(send, Headers(scope=scope).get("if-none-match", ""))
        await self._app(scope, receive, send)


def _revalidating(send: Send, known: str) -> Send:
    start: Message | None = None

    async def send_or_hold(message: Message) -> None:
        nonlocal start
        if message["type"] == "http.response.start":
            if message["status"] == HTTPStatus.OK and "etag" not in Headers(raw=message["headers"]):
                start = message  # sent with the body
                return
        elif start is not None:
            held, start = start, None
            if not message.get("more_body") and len(message["body"]) <= MAX_HASHED_BYTES:
                message = _validated(held, message, known)
            await send(held)
        await send(message)

    return send_or_hold


def _validated(start: Message, body: Message, known: str) -> Message:
    """Add the ETag to a response; returns its body, empty if the client has it."""
    tag = f'"{hashlib.blake2b(body["body"], digest_size=16).hexdigest()}"'
    headers = MutableHeaders(scope=start)
    headers["ETag"] = tag
    headers.setdefault("Cache-Control", ASK_AGAIN)
    if not _has(known, tag):
        return body
    start["status"] = HTTPStatus.NOT_MODIFIED
    for name in ("content-length", "content-type"):
        del headers[name]
    return {**body, "body": b""}


def _has(known: str, tag: str) -> bool:
    """Whether a header If-None-Match contains an ETag, also as a weak one (by a proxy)."""
    tags = [each.strip().removeprefix("W/") for each in known.split(",")]
    return tag in tags or tags == ["*"]


def describe_revalidation(document: dict[str, Any], exempt: frozenset[str]) -> None:
    """Add the response 304 to an OpenAPI document."""
    for path, operations in document["paths"].items():
        ok = operations.get("get", {}).get("responses", {}).get("200")
        if ok is None or path in exempt:
            continue
        ok["headers"] = {
            "ETag": {"description": "Send it as If-None-Match", "schema": {"type": "string"}}
        }
        operations["get"]["responses"]["304"] = {
            "description": "Not modified: If-None-Match has the current ETag"
        }
