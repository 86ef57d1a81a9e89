"""What holds for every route, future ones included: they are those of the OpenAPI document."""

from __future__ import annotations

import http.client
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Any

import pytest
from fastapi.testclient import TestClient

from bananas_topology.api import body as body_module
from bananas_topology.api.body import MAX_BODY_BYTES
from bananas_topology.api.guard import PROBES
from bananas_topology.client import Client
from tests.api.conftest import (
    OPENAPI,
    READ_TOKEN,
    STREAMS,
    TOKEN,
    assert_problem,
    listening,
    serving,
)
from tests.jobs.servers import black_hole

#: The body of each route that has one: valid, so that nothing but the subject of a test is wrong.
BODIES: dict[str, Any] = {
    "/jobs": {"name": "add"},
    "/dead/retry": {"all": True},
    "/dead/purge": {"all": True},
}

#: Routes that answer without Redis.
WITHOUT_REDIS = {"/livez", "/metrics"}

Route = tuple[str, str]

ROUTES = [(method, path) for path, each in OPENAPI["paths"].items() for method in each]
GUARDED = [route for route in ROUTES if route[1] not in PROBES]
WRITING = [route for route in GUARDED if route[0] not in ("get", "head")]
WITH_BODY = [
    (method, path) for method, path in ROUTES if "requestBody" in OPENAPI["paths"][path][method]
]
FINITE = [route for route in ROUTES if route[1] not in STREAMS]


def _send(api: TestClient, route: Route, **headers: str) -> Any:
    method, path = route
    body = BODIES[path] if route in WITH_BODY else None
    return api.request(method, _filled(path), json=body, headers=headers)


def _filled(path: str) -> str:
    """A path with "it" in the place of its parameters."""
    return "".join(
        part if index % 2 == 0 else "it"
        for index, part in enumerate(path.replace("}", "{").split("{"))
    )


@pytest.mark.parametrize("route", GUARDED, ids=" ".join)
def test_no_route_is_open_without_the_token(private_http: TestClient, route: Route) -> None:
    for header in ("", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", TOKEN):
        response = _send(private_http, route, Authorization=header)
        assert_problem(response, 401, "Authorization: Bearer")
        assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("route", WRITING, ids=" ".join)
def test_no_route_that_writes_is_open_to_the_read_token(
    private_http: TestClient, route: Route
) -> None:
    response = _send(private_http, route, Authorization=f"Bearer {READ_TOKEN}")

    assert_problem(response, 403, "API_READ_TOKEN does not allow")


@pytest.mark.parametrize("route", GUARDED, ids=" ".join)
def test_no_route_is_open_to_pages_of_another_origin(http: TestClient, route: Route) -> None:
    for name, value in (
        ("Origin", "https://evil.example"),
        ("Origin", "null"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Host", "evil.example"),
    ):
        response = _send(http, route, **{name: value})
        assert_problem(response, 403, "expected the Host" if name == "Host" else "another origin")


@pytest.mark.parametrize("path", [path for method, path in FINITE if method == "get"])
def test_head_is_answered_as_get_without_the_body(port: int, producer: Client, path: str) -> None:
    producer.enqueue("add", id="it", delay="1h")

    def answer(method: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        with closing(connection):
            connection.request(method, _filled(path))
            response = connection.getresponse()
            headers = {name.lower(): value for name, value in response.getheaders()}
            return response.status, headers, response.read()

    (status, headers, body), (head_status, head_headers, nothing) = answer("GET"), answer("HEAD")

    assert (head_status, nothing) == (status, b"")
    assert body
    assert head_headers.keys() == headers.keys()
    assert head_headers["content-type"] == headers["content-type"]


def test_head_does_not_subscribe_to_events(http: TestClient) -> None:
    assert http.head("/events").status_code == 405


@pytest.mark.parametrize("route", WITH_BODY, ids=" ".join)
def test_a_body_without_end_is_refused(port: int, route: Route) -> None:
    method, path = route
    head = f"{method.upper()} {path} HTTP/1.1\r\nHost: localhost\r\n"
    chunk = b"100000\r\n" + b" " * 2**20 + b"\r\n"
    sent = 0

    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n")
        with suppress(BrokenPipeError, ConnectionResetError):
            while sent < 1000:
                client.sendall(chunk)
                sent += 1

    assert sent < 1000


@pytest.mark.parametrize("route", WITH_BODY, ids=" ".join)
def test_a_large_body_is_refused(http: TestClient, route: Route) -> None:
    method, path = route

    assert_problem(http.request(method, path, content=b" " * (MAX_BODY_BYTES + 1)), 413, "at most")


@pytest.mark.parametrize("route", WITH_BODY, ids=" ".join)
def test_a_slow_body_is_refused(port: int, monkeypatch: pytest.MonkeyPatch, route: Route) -> None:
    monkeypatch.setattr(body_module, "BODY_S", 0.3)
    method, path = route
    head = f"{method.upper()} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"

    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(head.encode())
        client.sendall(b"{")
        assert client.recv(1_000).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("route", FINITE, ids=" ".join)
def test_no_route_is_an_internal_error_without_redis(
    disconnected_http: TestClient, route: Route
) -> None:
    response = _send(disconnected_http, route)

    if route[1] in WITHOUT_REDIS:
        assert response.status_code == 200
    else:
        assert_problem(response, 503, "cannot reach Redis")
        assert response.headers["retry-after"] == "1"


def test_every_route_is_answered_in_time_if_redis_does_not_reply(prefix: str) -> None:
    def answer(port: int, route: Route) -> tuple[int, float]:
        method, path = route
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        started = time.monotonic()
        try:
            body = json.dumps(BODIES[path]) if route in WITH_BODY else None
            connection.request(method.upper(), _filled(path), body)
            return connection.getresponse().status, time.monotonic() - started
        finally:
            connection.close()

    with (
        black_hole(accepts=True) as silent,
        serving(f"redis://127.0.0.1:{silent}", prefix) as api,
        listening(api.app) as port,
        ThreadPoolExecutor(len(FINITE)) as threads,
    ):
        answers = list(threads.map(lambda route: answer(port, route), FINITE))

    for route, (status, took_s) in zip(FINITE, answers, strict=True):
        assert status == (200 if route[1] in WITHOUT_REDIS else 503), route
        assert took_s < 10, route
