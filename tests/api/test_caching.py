"""Pollers: what they have already is not sent again."""

from __future__ import annotations

import pytest
from fastapi import Response
from fastapi.testclient import TestClient

from bananas_topology.api.caching import MAX_HASHED_BYTES
from bananas_topology.client import Client
from tests.api.conftest import TOKEN, app_of

PATHS = (
    "/queues", "/workers", "/pools", "/schedules", "/jobs", "/jobs/it", "/dead", "/openapi.json",
    "/docs",
)  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_what_has_not_changed_is_not_sent_again(
    http: TestClient, producer: Client, path: str
) -> None:
    producer.enqueue("add", "x" * 1_000, id="it")
    first = http.get(path)
    tag = first.headers["etag"]

    again = http.get(path, headers={"If-None-Match": tag})

    assert (first.status_code, again.status_code, again.content) == (200, 304, b"")
    assert again.headers["etag"] == tag
    assert again.headers["cache-control"] == first.headers["cache-control"] == "private, no-cache"
    assert "content-type" not in again.headers
    assert "content-length" not in again.headers


def test_what_has_changed_is_sent(http: TestClient, producer: Client) -> None:
    producer.enqueue("add", id="it", delay="1h")
    first = http.get("/jobs/it")
    producer.cancel("it")
    producer.enqueue("sub", id="it")

    second = http.get("/jobs/it", headers={"If-None-Match": first.headers["etag"]})

    assert (second.status_code, second.json()["name"]) == (200, "sub")
    assert second.headers["etag"] != first.headers["etag"]


@pytest.mark.parametrize("form", ["W/{}", '"other", {}', '"other",W/{} , "more"', "*"])
def test_every_form_of_the_header_is_understood(http: TestClient, form: str) -> None:
    tag = http.get("/queues").headers["etag"]

    response = http.get("/queues", headers={"If-None-Match": form.format(tag)})

    assert response.status_code == 304


@pytest.mark.parametrize("header", ["", '""', "x", '"', "W/", "\xff", ","])
def test_other_texts_match_nothing(http: TestClient, header: str) -> None:
    response = http.get("/queues", headers=[(b"If-None-Match", header.encode("latin-1"))])

    assert response.status_code == 200


def test_errors_probes_and_changes_are_not_kept(http: TestClient) -> None:
    for response in (
        http.get("/jobs/nobody", headers={"If-None-Match": "*"}),
        http.get("/livez", headers={"If-None-Match": "*"}),
        http.get("/readyz", headers={"If-None-Match": "*"}),
        http.post("/jobs", json={"name": "add"}, headers={"If-None-Match": "*"}),
    ):
        assert response.status_code in (200, 202, 404)
        assert response.headers["cache-control"] == "no-store"
        assert "etag" not in response.headers


def test_a_caller_without_the_token_learns_nothing(private_http: TestClient) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    tag = private_http.get("/queues", headers=headers).headers["etag"]

    for known in (tag, "*"):
        assert private_http.get("/queues", headers={"If-None-Match": known}).status_code == 401


def test_a_large_answer_is_sent_as_it_is(http: TestClient, producer: Client) -> None:
    producer.enqueue("add", "x" * MAX_HASHED_BYTES, id="it")

    response = http.get("/jobs/it", headers={"If-None-Match": "*"})

    assert len(response.json()["payload"]) == MAX_HASHED_BYTES
    assert "etag" not in response.headers


def test_an_answer_may_say_itself_how_long_to_keep_it(http: TestClient) -> None:
    kept = {"Cache-Control": "max-age=31536000, immutable"}
    app_of(http).add_route("/kept", lambda request: Response(b"x", headers=kept))
    app_of(http).add_route("/own", lambda request: Response(b"x", headers={"ETag": '"own"'}))

    assert http.get("/kept").headers["cache-control"] == kept["Cache-Control"]
    assert http.get("/own", headers={"If-None-Match": '"own"'}).status_code == 200
