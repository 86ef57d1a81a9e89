"""Who may send requests, with tokens and without."""

from __future__ import annotations

import re
from typing import Any

import pytest
from fastapi.testclient import TestClient

from bananas_topology.api.guard import SECURITY_HEADERS
from bananas_topology.contract.api import api_from_env
from bananas_topology.errors import InvalidSettings
from tests.api.conftest import JSON, READ_TOKEN, TOKEN, add_broken_route, assert_problem, serving

BODY = b'{"name": "add"}'
PATHS = ("/jobs/it", "/queues", "/health", "/metrics", "/openapi.json", "/no-such-path")


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _ready(http: TestClient, **more: Any) -> int:
    ready: int = http.get("/queues", **more).json()["backlog"]["ready"]
    return ready


@pytest.mark.parametrize(
    "header", [{}, _bearer("wrong"), {"Authorization": "x"}, {"Authorization": "Bearer \xe9\u0000"}]
)
def test_requests_without_the_token_are_rejected(
    private_http: TestClient, header: dict[str, str]
) -> None:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in header.items()]
    for response in (
        private_http.post("/jobs", json={"name": "add"}, headers=raw),
        *(private_http.get(path, headers=raw) for path in PATHS),
    ):
        assert_problem(response, 401, "Authorization: Bearer")
        assert response.headers["www-authenticate"] == "Bearer"
    assert _ready(private_http, headers=_bearer(TOKEN)) == 0


def test_requests_with_the_token_are_accepted_wherever_they_come_from(
    private_http: TestClient,
) -> None:
    headers = {"Host": "jobs.example.com", "Origin": "https://jobs.example.com", **_bearer(TOKEN)}

    assert private_http.post("/jobs", json={"name": "add"}, headers=headers).status_code == 202


def test_the_read_token_only_reads(private_http: TestClient) -> None:
    headers = _bearer(READ_TOKEN)

    for path in ("/queues", "/health", "/metrics", "/openapi.json"):
        assert private_http.get(path, headers=headers).status_code == 200, path
    response = private_http.post("/jobs", json={"name": "add"}, headers=headers)
    assert_problem(response, 403, "API_READ_TOKEN does not allow POST; use API_TOKEN")
    assert _ready(private_http, headers=headers) == 0


def test_probes_and_the_page_of_the_documentation_need_no_token(private_http: TestClient) -> None:
    for path in ("/livez", "/readyz", "/docs", "/docs.css"):
        assert private_http.get(path).status_code == 200, path


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:3000"},
        {"Origin": "http://localhost:8080.evil.example"},
        {"Origin": "http://[evil"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Host": "evil.example:8080"},
        {"Host": "localhost.evil.example"},
        {"Host": "evil.example", "Origin": "http://evil.example"},
        {"Host": "0.0.0.0:8080"},
        {"Host": "[evil"},
    ],
)
def test_a_page_of_another_origin_is_refused(http: TestClient, headers: dict[str, str]) -> None:
    for content_type in ("application/json", "text/plain"):
        sent = headers | {"Content-Type": content_type}
        assert http.post("/jobs", content=BODY, headers=sent).status_code == 403
    for path in ("/queues", "/jobs/it", "/metrics", "/docs"):
        assert http.get(path, headers=headers).status_code == 403
    preflight = headers | {"Access-Control-Request-Method": "POST"}
    response = http.options("/jobs", headers=preflight)
    assert response.status_code == 403
    assert not [name for name in response.headers if name.startswith("access-control")]
    assert _ready(http) == 0


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "Text/Plain; application/json", "multipart/form-data; boundary=x"],
)
def test_a_body_of_a_form_is_refused(http: TestClient, content_type: str) -> None:
    headers = {"Content-Type": content_type}

    assert_problem(http.post("/jobs", content=BODY, headers=headers), 415, "application/json")
    chunked = http.post("/jobs", content=iter([BODY]), headers=headers)
    assert_problem(chunked, 415, "application/json")
    assert _ready(http) == 0


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Host": "127.0.0.1:9090"},
        {"Host": "[::1]:8080"},
        {"Host": "LOCALHOST"},
        {"Origin": "http://localhost:8080", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "https://127.0.0.2", "Host": "127.0.0.2"},
        {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"},
        {"Content-Type": "Application/JSON; charset=utf-8"},
        {"Content-Type": "application/x-www-form-urlencoded"},  # of curl -d
        {"Content-Type": ""},
    ],
)
def test_programs_and_pages_of_this_host_need_no_token(
    http: TestClient, headers: dict[str, str]
) -> None:
    assert http.post("/jobs", content=BODY, headers=JSON | headers).status_code == 202
    assert _ready(http, headers=headers) == 1


def test_a_link_from_another_site_opens_a_page(http: TestClient) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}

    assert http.get("/docs", headers=headers).status_code == 200
    assert http.post("/jobs", json={"name": "add"}, headers=headers).status_code == 403


def test_every_response_has_the_security_headers(private_http: TestClient) -> None:
    add_broken_route(private_http)
    for path, status in (("/livez", 200), ("/queues", 401), ("/docs", 200), ("/broken", 500)):
        response = private_http.get(path, headers=_bearer(TOKEN) if path == "/broken" else {})
        assert response.status_code == status
        for name, value in SECURITY_HEADERS.items():
            assert response.headers[name] == value
        cached = "private, no-cache" if path == "/docs" else "no-store"
        assert response.headers["cache-control"] == cached
    assert "unsafe" not in SECURITY_HEADERS["Content-Security-Policy"]


def test_the_documentation_loads_nothing_from_other_hosts(http: TestClient) -> None:
    response = http.get("/docs")

    page = response.text
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert re.findall(r'(?:src|href)="([^"]*)"', page) == ["docs.css"]
    assert "<script" not in page
    assert "style=" not in page
    assert http.get("/docs.css").headers["content-type"].startswith("text/css")
    document = http.get("/openapi.json").json()
    for path, operations in document["paths"].items():
        for method in operations:
            assert f"<code>{method.upper()} {path}</code>" in page
    for name in document["components"]["schemas"]:
        assert f'id="{name}"' in page


def test_a_token_that_is_both_after_a_rotation_only_reads(server_url: str, prefix: str) -> None:
    with serving(server_url, prefix, TOKEN, TOKEN) as http:
        assert http.get("/queues", headers=_bearer(TOKEN)).status_code == 200
        response = http.post("/jobs", json={"name": "add"}, headers=_bearer(TOKEN))
        assert_problem(response, 403, "API_READ_TOKEN does not allow POST")


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"API_READ_TOKEN": READ_TOKEN}, "API_READ_TOKEN is set without API_TOKEN"),
        ({"API_READ_TOKEN": TOKEN, "API_TOKEN": TOKEN}, "the same as API_TOKEN"),
        ({"API_READ_TOKEN": "short", "API_TOKEN": TOKEN}, "expected at least 16"),
        ({"API_READ_TOKEN": READ_TOKEN, "API_READ_TOKEN_FILE": "/t"}, "are both set"),
    ],
)
def test_a_read_token_that_would_not_protect_is_reported(
    env: dict[str, str], expected: str
) -> None:
    with pytest.raises(InvalidSettings, match=expected):
        api_from_env(env)
