"""The least that the API's framework and server do for a request: a route without any work.

Arguments: the port.
"""

from __future__ import annotations

import asyncio
import sys

import uvicorn
from fastapi import FastAPI, Request, Response

from bananas_topology.api.connections import ClientConnection
from bananas_topology.api.process import LOOPBACK, listen

app = FastAPI(docs_url=None, redoc_url=None)


@app.get("/hello")
async def hello(request: Request) -> Response:
    """Say hello."""
    return Response(b'{"hello":"world"}', media_type="application/json")


def main() -> None:
    config = uvicorn.Config(app, http=ClientConnection, log_config=None, access_log=False)
    asyncio.run(uvicorn.Server(config).serve([listen(LOOPBACK, int(sys.argv[1]))]))


if __name__ == "__main__":
    main()
