from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from bananas_topology.jobs.broker import Broker
from bananas_topology.jobs.connection import connect
from bananas_topology.jobs.events import EventId, EventPage, EventReader
from bananas_topology.jobs.keys import Keys
from tests.jobs.support import Worker, encoded

JOB = b'{"id":"a","outcome":"completed"}'

#: What the stream keeps, by lua/include/events.lua.
KEPT = 1_000


@pytest.fixture
def reader(client: redis.Redis, keys: Keys) -> EventReader:
    return EventReader(client, keys)


def _described(page: EventPage) -> list[tuple[str, object]]:
    return [(event.kind, event.data.get("change", event.data["id"])) for event in page.events]


def test_nothing_is_published_without_a_subscriber(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    worker = Worker(broker)
    worker.boot()

    assert broker.publish_jobs([JOB]) == 0
    broker.deregister("w-0", worker.incarnation)

    assert not client.exists(keys.events, keys.subscribed)


def test_workers_that_join_and_leave_are_published(broker: Broker, reader: EventReader) -> None:
    begin = reader.read(None).newest
    worker = Worker(broker)
    info = {"pool": "mail"}
    for boot in (True, False, False):
        broker.heartbeat(worker.consumer, worker.incarnation, info, boot=boot)
    broker.deregister("w-0", worker.incarnation)

    joined, left = reader.read(begin).events

    assert joined.data == {**joined.data, "id": "w-0", "pool": "mail", "change": "joined"}
    assert left.data == {**left.data, "id": "w-0", "pool": "mail", "change": "left"}
    assert joined.data["at"] <= left.data["at"]
    assert joined.id < left.id


def test_a_worker_that_is_reaped_has_left_and_joins_again_if_it_lives(
    broker: Broker, reader: EventReader, client: redis.Redis, keys: Keys
) -> None:
    silent, other = Worker(broker), Worker(broker, "w-1")
    silent.boot()
    begin = reader.read(None).newest
    client.zadd(keys.workers, {"w-0": 0})

    broker.reap(other.consumer, ["w-0"])
    broker.heartbeat(silent.consumer, silent.incarnation, {}, boot=False)

    assert _described(reader.read(begin)) == [("worker", "left"), ("worker", "joined")]


def test_a_restarted_worker_joins_again(broker: Broker, reader: EventReader) -> None:
    begin = reader.read(None).newest

    for _ in range(2):
        Worker(broker).boot()

    assert _described(reader.read(begin)) == [("worker", "joined")] * 2


def test_a_heartbeat_tells_how_many_workers_share_the_events(
    broker: Broker, reader: EventReader
) -> None:
    workers = [Worker(broker, f"w-{n}") for n in range(3)]
    for worker in workers:
        worker.boot()
    first = broker.heartbeat(workers[0].consumer, workers[0].incarnation, {}, boot=False)

    reader.read(None)
    second = broker.heartbeat(workers[0].consumer, workers[0].incarnation, {}, boot=False)

    assert (first.sharing, second.sharing) == (0, 3)
    assert broker.publish_jobs([JOB]) == 3


def test_a_reader_that_comes_back_learns_what_it_has_missed(
    broker: Broker, reader: EventReader
) -> None:
    begin = reader.read(None).newest
    broker.publish_jobs([JOB])
    known = reader.read(begin).newest
    broker.publish_jobs([b'{"id":"b"}', b'{"id":"c"}'])

    page = reader.read(begin)
    missed = page.after(known)

    assert missed is not None
    assert [event.data["id"] for event in missed] == ["b", "c"]
    assert page.after(page.newest) == ()
    assert len(page.after(begin) or ()) == 3


def test_events_that_were_dropped_are_noticed(broker: Broker, reader: EventReader) -> None:
    begin = reader.read(None).newest
    broker.publish_jobs([JOB])
    first = reader.read(begin).newest
    broker.publish_jobs([JOB] * (KEPT - 1))
    assert len(reader.read(begin).after(first) or ()) == KEPT - 1
    broker.publish_jobs([JOB])

    page = reader.read(begin)

    assert page.kept == KEPT
    assert page.after(first) is None
    assert len(page.after(page.events[0].id) or ()) == KEPT - 1


def test_a_gap_without_subscribers_is_noticed(
    broker: Broker, reader: EventReader, client: redis.Redis, keys: Keys
) -> None:
    begin = reader.read(None).newest
    broker.publish_jobs([JOB])
    client.delete(keys.subscribed)

    page = reader.read(begin)

    assert page.after(begin) is None
    assert page.events == ()
    assert page.after(page.newest) == ()


def test_an_id_that_has_not_been_published_yet_is_noticed(reader: EventReader) -> None:
    page = reader.read(None)

    assert page.after(EventId(page.newest.at_ms + 1, 0)) is None


def test_events_and_subscriptions_expire(
    broker: Broker, reader: EventReader, client: redis.Redis, keys: Keys
) -> None:
    reader.read(None)
    broker.publish_jobs([JOB])

    assert 0 < client.pttl(keys.subscribed) < client.pttl(keys.events) <= 120_000


def test_entries_of_strangers_are_skipped(
    broker: Broker, reader: EventReader, client: redis.Redis, keys: Keys
) -> None:
    begin = reader.read(None).newest
    entries: tuple[Any, ...] = ({"job": "no JSON"}, {"other": "{}"}, {"\xff": "{}"}, {"job": "[]"})
    for entry in entries:
        client.xadd(keys.events, entry)
    broker.publish_jobs([JOB])

    page = reader.read(begin)

    assert _described(page) == [("job", "a")]
    assert page.kept == 5


@pytest.mark.parametrize(
    "text", ["", "1", "1-", "-1", "1-2-3", "a-1", "1-1\n", "٣-1", f"{10**40}-1", "0x1-1"]
)
def test_other_texts_are_no_ids(text: str) -> None:
    assert EventId.parse(text) is None


def test_an_id_is_read_as_it_is_written() -> None:
    assert EventId.parse(str(EventId(1795663267824, 12))) == EventId(1795663267824, 12)


@pytest.fixture
def restricted(client: redis.Redis, server_url: str, prefix: str) -> Iterator[redis.Redis]:
    """A client of a user to whom streams are denied."""
    client.acl_setuser(
        prefix, enabled=True, nopass=True, keys=["*"], channels=["*"],
        commands=["+@all", "-@stream"],
    )  # fmt: skip
    with connect(server_url.replace("://", f"://{prefix}:x@")) as restricted:
        yield restricted
    client.acl_deluser(prefix)


def test_a_server_that_denies_streams_keeps_workers_from_nothing(
    restricted: redis.Redis, client: redis.Redis, keys: Keys
) -> None:
    client.set(keys.subscribed, "1")
    broker = Broker(restricted, keys)
    worker, other = Worker(broker), Worker(broker, "w-1")
    worker.boot()
    other.boot()
    broker.enqueue([encoded("a")])
    assert worker.claim() == ["a"]
    client.zadd(keys.workers, {"w-0": 0})

    recovery = broker.reap(other.consumer, ["w-0"])
    broker.publish_jobs([JOB])

    assert recovery["w-0"].returned == 1
    assert broker.deregister("w-1", other.incarnation)
    assert not client.exists(keys.events)
