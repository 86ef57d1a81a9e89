"""Reading the body of a request, up to limits."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from starlette.requests import Request

from bananas_topology.api.problems import Problem

#: Maximum size of a request body, in bytes.
MAX_BODY_BYTES = 16 * 2**20

#: Maximum time that a request's body may take to arrive, in seconds.
BODY_S = 60.0


async def read_body(request: Request) -> bytes:
    """Read the request body.

    Raises:
        Problem: 408 or 413, it exceeds the limit of time or size.
    """
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
