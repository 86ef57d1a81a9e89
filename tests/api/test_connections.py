"""Clients that connect, wait, stall and hang up, against a real server."""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
import redis

from bananas_topology.api import body as body_module
from bananas_topology.api import connections, waiting
from bananas_topology.api.connections import ClientConnection
from bananas_topology.client import Client
from bananas_topology.jobs.keys import Keys
from bananas_topology.system.clock import monotonic
from tests.waiting import wait_for

Request = Callable[..., http.client.HTTPResponse]


def _connect(port: int, data: bytes = b"") -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=20)
    client.sendall(data)
    return client


def _is_closed_by_server(client: socket.socket) -> bool:
    """Whether the server closes a connection, within the timeout of the socket."""
    try:
        while client.recv(1_000_000):
            pass
    except ConnectionError:
        pass
    return True


def _get(port: int, path: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        is_json = "json" in (response.headers["content-type"] or "")
        return response.status, json.loads(body) if is_json else body.decode()
    finally:
        connection.close()


def _post_job(port: int, job_id: str) -> tuple[int, str]:
    """Enqueue a job of this id; returns the status and the location."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("POST", "/jobs", json.dumps({"name": "add", "id": job_id}))
        response = connection.getresponse()
        assert json.loads(response.read()) == {"id": job_id}
        return response.status, response.headers["location"]
    finally:
        connection.close()


def _count(port: int, route: str, status: int) -> float:
    text = _get(port, "/metrics")[1]
    found = re.search(rf'route="{re.escape(route)}",status="{status}"}} (\S+)', text)
    return float(found[1]) if found else 0.0


@pytest.mark.parametrize(
    "job_id",
    ["übung", "two words", "a/b", "/", "a//b/", "100%", "%41", "a?b=c", "a#b", "🍌", "a\\b"],
)
def test_a_job_of_any_id_is_found_at_its_location(port: int, job_id: str) -> None:
    status, location = _post_job(port, job_id)

    assert status == 202
    assert _get(port, location)[1]["id"] == job_id


def test_clients_that_hang_up_free_their_places_and_are_no_errors(
    port: int,
    producer: Client,
    client: redis.Redis,
    keys: Keys,
    caplog: pytest.LogCaptureFixture,
) -> None:
    job_id = producer.enqueue("add")
    request = f"GET /jobs/{job_id}?wait=50s HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    waiters = [_connect(port, request) for _ in range(waiting.MAX_WAITING)]
    channel = keys.notify(job_id)
    wait_for(lambda: client.pubsub_numsub(channel)[0][1] == waiting.MAX_WAITING)

    for waiter in waiters:
        waiter.close()
    wait_for(lambda: _count(port, "/jobs/{job_id:path}", 499) == waiting.MAX_WAITING)

    assert _count(port, "/jobs/{job_id:path}", 500) == 0
    assert [each for each in caplog.records if each.levelname == "ERROR"] == []


def test_clients_that_hang_up_within_a_body_are_no_errors(
    port: int, caplog: pytest.LogCaptureFixture
) -> None:
    head = b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"

    _connect(port, head + b'{"name": "add", ').close()
    wait_for(lambda: _count(port, "/jobs", 499) == 1)

    assert [each for each in caplog.records if each.levelname == "ERROR"] == []


@pytest.mark.parametrize("sent", [b"", b"GET /livez HT"])
def test_a_request_that_does_not_come_is_not_waited_for(
    port: int, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(connections, "HEADER_S", 0.3)

    with _connect(port, sent) as client:
        assert _is_closed_by_server(client)


def test_a_header_that_trickles_in_is_not_waited_for(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEADER_S", 0.5)
    with _connect(port, b"GET /livez HTTP/1.1\r\n") as client:

        def is_closed() -> bool:
            try:
                client.sendall(b"x: y\r\n")
            except ConnectionError:
                return True
            return False

        wait_for(is_closed)


def test_a_body_that_does_not_come_is_not_waited_for(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body_module, "BODY_S", 0.3)
    head = b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{"

    with _connect(port, head) as client:
        assert client.recv(1_000).startswith(b"HTTP/1.1 408 ")


def test_a_response_that_is_not_read_is_not_waited_for(
    port: int, monkeypatch: pytest.MonkeyPatch, producer: Client
) -> None:
    job_id = producer.enqueue("add", "x" * 10_000_000)
    request = f"GET /jobs/{job_id} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()

    with _connect(port, request) as client:
        wait_for(lambda: _count(port, "/jobs/{job_id:path}", 200) == 1)
        monkeypatch.setattr(connections, "REQUEST_S", 0.5)
        # Its response has to wait until the first one is read.
        client.sendall(request)

        wait_for(lambda: _count(port, "/jobs/{job_id:path}", 200) == 2)
        assert _is_closed_by_server(client)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /livez HT",
        b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{",
    ],
)
def test_half_open_connections_make_room(
    port: int, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(ClientConnection, "limit", 5)
    half_open = [_connect(port, sent) for _ in range(20)]

    assert _get(port, "/livez")[0] == 200

    for client in half_open:
        client.close()


def test_clients_that_stop_reading_make_room(
    port: int, monkeypatch: pytest.MonkeyPatch, producer: Client
) -> None:
    monkeypatch.setattr(connections, "READ_S", 0.1)
    job_id = producer.enqueue("add", "x" * 10_000_000)
    request = f"GET /jobs/{job_id} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    # The second response of each has to wait until the first one is read.
    clients = [_connect(port, 2 * request) for _ in range(3)]
    wait_for(lambda: _count(port, "/jobs/{job_id:path}", 200) == 3)
    monkeypatch.setattr(ClientConnection, "limit", 3)

    wait_for(lambda: _get(port, "/livez")[0] == 200)

    for client in clients:
        client.close()


def test_requests_beyond_the_limit_are_told_to_come_back(
    port: int, monkeypatch: pytest.MonkeyPatch, producer: Client
) -> None:
    job_id = producer.enqueue("add")
    request = f"GET /jobs/{job_id}?wait=50s HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    clients = [_connect(port, request) for _ in range(3)]
    wait_for(lambda: _get(port, "/livez")[0] == 200)
    monkeypatch.setattr(ClientConnection, "limit", 3)

    wait_for(lambda: _get(port, "/livez")[0] == 503)

    for client in clients:
        client.close()
    wait_for(lambda: _get(port, "/livez")[0] == 200)


def test_many_jobs_in_one_request_do_not_hold_up_others(port: int) -> None:
    body = b"[" + b",".join([b'{"name":"add"}'] * 1_000_000) + b"]"

    def slowest_s() -> float:
        """The longest time that another client waits for a response meanwhile."""
        slowest, refused = 0.0, threading.Event()

        def post() -> None:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            connection.request("POST", "/jobs", body)
            response = connection.getresponse()
            assert (response.status, b"at most 10000 jobs" in response.read()) == (422, True)
            connection.close()
            refused.set()

        poster = threading.Thread(target=post)
        poster.start()
        while poster.is_alive():
            started = monotonic()
            assert _get(port, "/livez")[0] == 200
            slowest = max(slowest, monotonic() - started)
        assert refused.is_set()
        return slowest

    # To decode them all would take longer than that each time. A busy machine may, too, at times.
    wait_for(lambda: slowest_s() < 0.4, 60)


def test_two_hundred_waiting_clients_starve_nobody(
    port: int, producer: Client, client: redis.Redis, keys: Keys
) -> None:
    job_id = producer.enqueue("add")
    request = f"GET /jobs/{job_id}?wait=50s HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    waiters = [_connect(port, request) for _ in range(200)]
    channel = keys.notify(job_id)
    wait_for(lambda: client.pubsub_numsub(channel)[0][1] == waiting.MAX_WAITING)

    # Each within the time limit of a connection.
    for number in range(10):
        assert _get(port, "/livez")[0] == 200
        assert _get(port, "/queues")[0] == 200
        assert _get(port, f"/jobs/{job_id}")[1]["status"] == "pending"
        assert _post_job(port, f"other {number}")[0] == 202

    # Those for whom there is no place to wait have been answered at once.
    wait_for(lambda: _count(port, "/jobs/{job_id:path}", 200) == 10 + 200 - waiting.MAX_WAITING)
    for waiter in waiters:
        waiter.close()
