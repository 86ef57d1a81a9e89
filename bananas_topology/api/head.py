"""HEAD: what GET would respond, without the body."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send


class HeadAsGet:
    """ASGI middleware that handles HEAD as GET; the server leaves out the body, as HTTP requires.

    Except for paths in `exempt`, whose responses are endless.
    """

    def __init__(self, app: ASGIApp, exempt: frozenset[str]) -> None:
        self._app = app
        self._exempt = exempt

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_head = scope["type"] == "http" and scope["method"] == "HEAD"
        if is_head and scope["path"] not in self._exempt:
            # A copy: the server reads the method in its own.
            scope = {**scope, "method": "GET"}
        await self._app(scope, receive, send)
