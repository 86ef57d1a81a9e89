from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from fastapi.testclient import TestClient

from bananas_topology.api.app import make_app
from bananas_topology.api.service import Service
from bananas_topology.api.token import Token
from bananas_topology.client import Client
from bananas_topology.jobs.connection import connect
from bananas_topology.jobs.inspect import Inspector
from bananas_topology.jobs.keys import Keys


@contextmanager
def serving(url: str, prefix: str, token: str = "") -> Iterator[TestClient]:
    """Serve the api in this process, on the Redis server with this URL."""
    with Client(url, key_prefix=prefix) as client, connect(url) as connection:
        service = Service(client, Inspector(connection, Keys(prefix)))
        with TestClient(make_app(service, Token(token)), raise_server_exceptions=False) as http:
            yield http


@pytest.fixture
def http(server_url: str, prefix: str) -> Iterator[TestClient]:
    """The api on a real Redis server."""
    with serving(server_url, prefix) as http:
        yield http


@pytest.fixture
def private_http(server_url: str, prefix: str) -> Iterator[TestClient]:
    """The api with a token."""
    with serving(server_url, prefix, token="correct horse battery") as http:
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
