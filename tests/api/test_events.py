"""Clients that follow events, on real sockets: what they are sent, and what they cost others."""

from __future__ import annotations

import http.client
import json
import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import redis
from fastapi.testclient import TestClient

from bananas_topology.api import connections, event_feed, event_routes
from bananas_topology.api.event_feed import EventFeed
from bananas_topology.client import Client
from bananas_topology.jobs.broker import Broker
from bananas_topology.jobs.keys import Keys
from bananas_topology.system.clock import monotonic
from tests.api.conftest import READ_TOKEN, TOKEN, app_of, assert_problem, listening, serving
from tests.api.event_stream import Stream, following
from tests.jobs.servers import free_port, running
from tests.waiting import wait_for
from tests.worker.support import Starter


@pytest.fixture
def feed(http: TestClient) -> EventFeed:
    found: EventFeed = app_of(http).state.api.events
    return found


@pytest.fixture
def publish(client: redis.Redis, keys: Keys) -> Callable[..., None]:
    """Publishes jobs with these ids, as a worker does."""
    broker = Broker(client, keys)

    def publish(*ids: str, **more: str) -> None:
        assert broker.publish_jobs([json.dumps({"id": each, **more}).encode() for each in ids])

    return publish


def _ids(stream: Stream, count: int) -> list[str]:
    return [stream.next("job")["id"] for _ in range(count)]


def _named(name: str) -> Callable[[dict[str, Any]], bool]:
    return lambda data: data.get("name") == name


def test_clients_see_jobs_finish_and_what_there_is(
    port: int, producer: Client, client: redis.Redis, keys: Keys, start: Starter
) -> None:
    start(WORKER_CONCURRENCY="7", WORKER_POOL="mail", WORKER_LEASE="5s")
    with following(port) as stream:
        first = stream.next("counters", lambda data: data["workers"] == 1)
        assert (first["slots"], first["running"]) == (7, 0)
        assert first["backlog"]["completed"] == first["completed"] == first["failed"] == 0
        # Until the worker knows that there is a subscriber.
        wait_for(lambda: producer.enqueue("echo") and client.exists(keys.events))

        dead_id = producer.enqueue("fail", "no")
        dead = stream.next("job", _named("fail"))
        counted = stream.next("counters", lambda data: data["failed"] == 1)

    assert (dead["id"], dead["outcome"], dead["attempt"]) == (dead_id, "dead", 1)
    assert (dead["worker_id"], dead["pool"]) == ("w0", "mail")
    assert dead["error"].startswith("ValueError: ")
    assert counted["backlog"]["dead"] == 1
    assert counted["ready"] == {"high": 0, "normal": 0, "low": 0}


def test_counters_tell_what_waits_and_since_when(port: int, producer: Client) -> None:
    producer.enqueue("add", priority="high")
    producer.enqueue("add", delay="1h")

    with following(port) as stream:
        counters = stream.next("counters")

    assert counters["backlog"] == {**counters["backlog"], "ready": 1, "scheduled": 1}
    assert counters["ready"] == {"high": 1, "normal": 0, "low": 0}
    assert counters["oldest"]["high"] <= counters["at"]
    assert counters["oldest"]["normal"] is None


def test_clients_see_workers_come_and_go(port: int, start: Starter) -> None:
    with following(port) as stream:
        stream.next("counters")
        worker = start(WORKER_POOL="mail")
        joined = stream.next("worker")
        worker.end(signal.SIGTERM)
        left = stream.next("worker")

    assert (joined["id"], joined["pool"], joined["change"]) == ("w0", "mail", "joined")
    assert (left["id"], left["pool"], left["change"]) == ("w0", "mail", "left")


def test_a_stream_is_not_held_back_or_stored(port: int) -> None:
    with following(port) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.headers["cache-control"] == "no-store"
        assert stream.headers["x-accel-buffering"] == "no"


def test_without_clients_workers_publish_nothing(
    port: int, producer: Client, client: redis.Redis, keys: Keys, start: Starter
) -> None:
    start(WORKER_LEASE="1s")

    producer.wait(producer.enqueue("echo", 1), timeout="20s")

    assert not client.exists(keys.events, keys.subscribed)


@pytest.mark.parametrize("by_query", [False, True], ids=["header", "query"])
def test_a_client_resumes_on_another_replica_and_misses_nothing(
    port: int,
    server_url: str,
    prefix: str,
    publish: Callable[..., None],
    by_query: bool,
) -> None:
    with following(port) as stream:
        stream.next("counters")
        publish("a", "b", "c")
        assert _ids(stream, 2) == ["a", "b"]
        known = stream.last_id
    publish("d")

    with (
        serving(server_url, prefix) as other,
        listening(other.app) as replica,
    ):
        path = f"/events?after={known}" if by_query else "/events"
        header = "" if by_query else known
        with following(replica, path, after=header) as resumed, following(replica) as fresh:
            fresh.next("counters")
            publish("e")

            assert _ids(resumed, 3) == ["c", "d", "e"]
            assert _ids(fresh, 1) == ["e"]


def test_a_client_that_has_received_no_event_resumes_as_well(
    port: int, publish: Callable[..., None]
) -> None:
    with following(port) as stream:
        stream.next("counters")
        known = stream.last_id
    publish("a")

    with following(port, after=known) as stream:
        assert _ids(stream, 1) == ["a"]


@pytest.mark.parametrize("known", ["1-0", "no id", f"{10**14}-0", "\xff"])
def test_a_client_that_has_missed_events_is_told_to_read_everything(
    port: int, publish: Callable[..., None], known: str
) -> None:
    with following(port, after=known) as stream:
        first = stream.read()
        assert first is not None
        assert (first.kind, first.data) == ("reset", {})
        assert stream.next("counters")
        publish("a")
        assert _ids(stream, 1) == ["a"]
        known = first.id

    with following(port, after=known) as stream:
        assert _ids(stream, 1) == ["a"]


def test_a_slow_client_is_told_to_read_everything_and_costs_the_others_nothing(
    port: int, feed: EventFeed, monkeypatch: pytest.MonkeyPatch, publish: Callable[..., None]
) -> None:
    monkeypatch.setattr(event_feed, "MAX_PENDING", 20)
    monkeypatch.setattr(event_feed, "INTERVAL_S", 0.2)
    text = "x" * 200_000
    with following(port, small=True) as slow, following(port) as quick:
        slow.next("counters")
        quick.next("counters")

        ids = [str(n) for n in range(200)]
        for start in range(0, 200, 10):
            publish(*ids[start : start + 10], text=text)
            assert _ids(quick, 10) == ids[start : start + 10]

        pending = [len(each._events) for each in feed._subscribers]
        assert max(pending) <= 20
        assert slow.next("reset") == {}
        publish("end")
        assert slow.next("job", lambda data: data["id"] == "end")


def test_a_client_that_reads_nothing_is_dropped(
    port: int, feed: EventFeed, monkeypatch: pytest.MonkeyPatch, publish: Callable[..., None]
) -> None:
    monkeypatch.setattr(connections, "REQUEST_S", 1.0)
    with following(port, small=True) as stream:
        stream.next("counters")
        publish(*map(str, range(100)), text="x" * 200_000)

        wait_for(lambda: len(feed) == 0)


def test_a_stream_without_events_goes_on(
    port: int, feed: EventFeed, monkeypatch: pytest.MonkeyPatch, publish: Callable[..., None]
) -> None:
    # Not shorter: until the request is known to be for a stream, it is one that takes too long.
    monkeypatch.setattr(connections, "REQUEST_S", 1.0)
    monkeypatch.setattr(event_feed, "KEEP_ALIVE_S", 0.2)
    monkeypatch.setattr(event_feed, "COUNTERS_S", 1.0)
    with following(port) as stream:
        for _ in range(3):
            stream.next("counters")
        publish("a")

        assert _ids(stream, 1) == ["a"]


def test_a_stream_ends_after_a_while_and_is_resumed(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_feed, "STREAM_S", 0.5)
    with following(port) as stream:
        while stream.read() is not None:
            pass

    with following(port, after=stream.last_id) as stream:
        first = stream.read()

    assert first is not None
    assert first.kind == "counters"


def test_clients_that_hang_up_free_everything(
    port: int,
    feed: EventFeed,
    client: redis.Redis,
    keys: Keys,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with ExitStack() as streams:
        for _ in range(20):
            streams.enter_context(following(port)).next("counters")
        assert len(feed) == 20

    wait_for(lambda: len(feed) == 0)
    wait_for(lambda: feed._task is None)

    client.delete(keys.subscribed)
    with following(port) as stream:
        stream.next("counters")
    assert client.exists(keys.subscribed)
    assert [each for each in caplog.records if each.levelname == "ERROR"] == []


def test_clients_beyond_the_limit_are_told_to_come_back(
    port: int, http: TestClient, feed: EventFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_routes, "MAX_SUBSCRIBERS", 2)
    with following(port) as first, following(port) as second:
        first.next("counters")
        second.next("counters")

        response = http.get("/events")

        assert_problem(response, 503, "at most 2 subscribers")
        assert int(response.headers["retry-after"]) > 0
    wait_for(lambda: len(feed) == 0)
    with following(port) as stream:
        stream.next("counters")


def test_a_hundred_clients_do_not_hold_up_requests(
    port: int, producer: Client, publish: Callable[..., None]
) -> None:
    done = threading.Event()

    def publish_all() -> None:
        while not done.wait(0.02):
            publish("a")

    with ExitStack() as streams:
        followers = [streams.enter_context(following(port)) for _ in range(100)]
        for each in followers:
            each.next("counters")
        publisher = threading.Thread(target=publish_all)
        publisher.start()
        slowest_s = 0.0
        try:
            for number in range(100):
                started = monotonic()
                with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as request:
                    request.request("POST", "/jobs", json.dumps({"name": "x", "id": str(number)}))
                    assert request.getresponse().status == 202
                slowest_s = max(slowest_s, monotonic() - started)
        finally:
            done.set()
            publisher.join()
        for each in followers:
            each.next("counters", lambda data: data["backlog"]["ready"] == 100)

    assert slowest_s < 10


def test_clients_are_told_that_redis_is_away_and_when_it_is_back(
    tmp_path: Path, prefix: str
) -> None:
    redis_port = free_port()
    url = f"redis://127.0.0.1:{redis_port}"
    with (
        serving(url, prefix) as api,
        listening(api.app) as port,
        ExitStack() as streams,
    ):
        early = streams.enter_context(following(port))
        assert "cannot reach Redis" in early.next("unavailable")["detail"]
        with running(tmp_path, port=redis_port):
            assert early.next("counters")["completed"] == 0
        assert "Redis" in early.next("unavailable")["detail"]
        late = streams.enter_context(following(port))
        assert "Redis" in late.next("unavailable")["detail"]

        with running(tmp_path, port=redis_port):
            # Its data is lost, and with it what the client has been told.
            assert early.next("reset") == {}
            assert early.next("counters")
            assert late.next("counters")


def test_the_read_token_follows_events_and_others_do_not(
    private_http: TestClient, http: TestClient
) -> None:
    with listening(private_http.app) as port:
        for token in (TOKEN, READ_TOKEN):
            with following(port, token=token) as stream:
                stream.next("counters")

    assert_problem(private_http.get("/events"), 401, "Authorization: Bearer")
    foreign = {"Origin": "https://evil.example"}
    assert_problem(http.get("/events", headers=foreign), 403, "another origin")
