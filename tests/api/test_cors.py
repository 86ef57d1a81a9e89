"""Pages of other origins: those that are configured, and all others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from bananas_topology.contract.api import api_from_env
from bananas_topology.errors import InvalidSettings
from tests.api.conftest import READ_TOKEN, TOKEN, add_broken_route, assert_problem, serving

ORIGIN = "https://ops.example.com"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def shared_http(server_url: str, prefix: str) -> Iterator[TestClient]:
    """The api with its tokens, and an origin whose pages may use it."""
    with serving(server_url, prefix, TOKEN, READ_TOKEN, (ORIGIN,)) as http:
        yield http


def _preflight(method: str = "POST", origin: str = ORIGIN, headers: str = "") -> dict[str, str]:
    asked = {"Origin": origin, "Access-Control-Request-Method": method}
    return {**asked, "Access-Control-Request-Headers": headers} if headers else asked


def _allowed(headers: object) -> list[str]:
    assert hasattr(headers, "items")
    return [name for name, _ in headers.items() if name.startswith("access-control-allow")]


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_a_browser_learns_that_a_page_may_send_a_request(
    shared_http: TestClient, method: str
) -> None:
    asked = _preflight(method, headers="authorization, content-type, if-none-match, last-event-id")

    response = shared_http.options("/jobs/it", headers=asked)

    assert response.status_code == 200
    assert response.headers["access-control-allow-origin"] == ORIGIN
    assert method in response.headers["access-control-allow-methods"]
    assert "Authorization" in response.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in response.headers
    assert "Origin" in response.headers["vary"]


def test_a_page_reads_answers_and_errors(shared_http: TestClient) -> None:
    broken = add_broken_route(shared_http)
    for path, headers, status in (
        ("/queues", BEARER, 200),
        ("/queues", {}, 401),
        ("/jobs/nobody", BEARER, 404),
        (broken, BEARER, 500),
    ):
        response = shared_http.get(path, headers={**headers, "Origin": ORIGIN})

        assert response.status_code == status
        assert response.headers["access-control-allow-origin"] == ORIGIN
        assert response.headers["vary"] == "Origin"
    exposed = shared_http.get("/queues", headers={**BEARER, "Origin": ORIGIN}).headers
    assert "ETag" in exposed["access-control-expose-headers"]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (_preflight(origin="https://evil.example"), "origin not allowed"),
        (_preflight(origin=f"{ORIGIN}.evil.example"), "origin not allowed"),
        (_preflight(origin="http://ops.example.com"), "origin not allowed"),
        (_preflight(origin=f"{ORIGIN}:8443"), "origin not allowed"),
        (_preflight(origin="null"), "origin not allowed"),
        (_preflight("PUT"), "method not allowed"),
        (_preflight(headers="x-other"), "headers not allowed"),
    ],
)
def test_a_browser_learns_that_a_page_may_not_send_a_request(
    shared_http: TestClient, asked: dict[str, str], expected: str
) -> None:
    assert_problem(shared_http.options("/jobs", headers=asked), 403, expected)


def test_pages_of_other_origins_cannot_read_answers(shared_http: TestClient) -> None:
    response = shared_http.get("/queues", headers={**BEARER, "Origin": "https://evil.example"})

    assert _allowed(response.headers) == []


def test_without_configured_origins_no_page_reads_answers(private_http: TestClient) -> None:
    assert private_http.options("/jobs", headers=_preflight()).status_code == 401
    response = private_http.get("/queues", headers={**BEARER, "Origin": ORIGIN})

    assert response.status_code == 200
    assert _allowed(response.headers) == []
    assert "vary" not in response.headers


def test_without_a_token_configured_origins_are_refused_as_well(
    server_url: str, prefix: str
) -> None:
    with serving(server_url, prefix, origins=(ORIGIN,)) as http:
        for response in (
            http.options("/jobs", headers=_preflight()),
            http.post("/jobs", json={"name": "add"}, headers={"Origin": ORIGIN}),
            http.get("/queues", headers={"Origin": ORIGIN}),
        ):
            assert_problem(response, 403, "another origin")
            assert _allowed(response.headers) == []


@pytest.mark.parametrize(
    "value",
    ["*", "null", "ops.example.com", f"{ORIGIN}/", f"{ORIGIN}/x", "https://OPS.example.com",
     "https://*.example.com", "https://a b", "ftp://x", "https://", "https://x:port", ","],
)  # fmt: skip
def test_an_invalid_origin_is_reported(value: str) -> None:
    with pytest.raises(InvalidSettings, match=r"API_CORS_ORIGINS is .* expected origins such as"):
        api_from_env({"API_CORS_ORIGINS": value})


def test_origins_are_read() -> None:
    read = api_from_env({"API_CORS_ORIGINS": "https://a.example, http://[::1]:3000,http://b:80"})

    assert read.cors_origins == ("https://a.example", "http://[::1]:3000", "http://b:80")
