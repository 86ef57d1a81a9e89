from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient

from bananas_topology.api.app import make_app
from bananas_topology.api.connections import ClientConnection
from bananas_topology.api.process import listen
from bananas_topology.api.service import Service
from bananas_topology.api.token import NO_TOKEN, Token
from bananas_topology.client import Client
from bananas_topology.contract.api import Replicas
from tests.worker.support import Starter, starting

TOKEN, READ_TOKEN = "correct horse battery", "staple of dashboards"

#: The description of all routes.
OPENAPI = make_app(Service.connect("redis://127.0.0.1:1", "none"), NO_TOKEN).openapi()

#: Routes whose responses do not end.
STREAMS = {"/events"}

JSON = {"Content-Type": "application/json"}


def assert_problem(response: Any, status: int, expected: str) -> None:
    """The response is a problem of this status, whose detail contains a text."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == status
    assert expected in problem["detail"]
    assert "Traceback" not in response.text


@contextmanager
def serving(
    url: str,
    prefix: str,
    token: str = "",
    read_token: str = "",
    origins: tuple[str, ...] = (),
    pools: Mapping[str, Replicas] = MappingProxyType({}),
) -> Iterator[TestClient]:
    """Serve the api in this process, on the Redis server with this URL."""
    with closing(Service.connect(url, prefix, pools)) as service:
        app = make_app(service, Token(token), Token(read_token), origins)
        http = TestClient(app, "http://localhost:8080", raise_server_exceptions=False)
        with http:
            yield http


def app_of(http: TestClient) -> FastAPI:
    """The app behind a test client, which annotates it as any ASGI application."""
    return cast(FastAPI, http.app)


def add_broken_route(http: TestClient) -> str:
    """Add a route that fails unexpectedly, and return its path."""

    @app_of(http).get("/broken")
    def fail() -> None:
        raise ZeroDivisionError("unexpected")

    return "/broken"


class _Server(uvicorn.Server):
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        app: Any = self.config.app
        app.state.api.stop()
        await super().shutdown(sockets)


@contextmanager
def listening(app: Any) -> Iterator[int]:
    """Serve an app on a port, as the api process does."""
    config = uvicorn.Config(app, http=ClientConnection, log_config=None, ws="none")
    server = _Server(config)
    with listen("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=asyncio.run, args=(server.serve([listener]),))
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join(20)


@pytest.fixture
def http(server_url: str, prefix: str) -> Iterator[TestClient]:
    """The api on a real Redis server."""
    with serving(server_url, prefix) as http:
        yield http


@pytest.fixture
def port(http: TestClient) -> Iterator[int]:
    """The port at which `http` is served as the api process serves it."""
    with listening(http.app) as port:
        yield port


@pytest.fixture
def private_http(server_url: str, prefix: str) -> Iterator[TestClient]:
    """The api with its tokens."""
    with serving(server_url, prefix, TOKEN, READ_TOKEN) as http:
        yield http


@pytest.fixture
def disconnected_http(prefix: str) -> Iterator[TestClient]:
    """The api without a reachable Redis server."""
    with serving("redis://127.0.0.1:1", prefix) as http:
        yield http


@pytest.fixture
def producer(server_url: str, prefix: str) -> Iterator[Client]:
    """A client of the same queues."""
    with Client(server_url, key_prefix=prefix) as producer:
        yield producer


@pytest.fixture
def start(server_url: str, prefix: str, tmp_path: Path) -> Iterator[Starter]:
    """Starts workers of the same queues."""
    with starting(server_url, prefix, tmp_path) as starter:
        yield starter
