"""Queues are watched for producers that push without notifying."""

from __future__ import annotations

import pytest
import redis

from bananas_topology.jobs import wake
from bananas_topology.jobs.broker import Broker
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.wake import WakeListener
from bananas_topology.jobs.watch import QueueWatch
from tests.jobs.support import Worker, encoded, is_readable


def _push(client: redis.Redis, keys: Keys, job_id: str, job_type: str = "add") -> None:
    """Enqueue as foreign producers do."""
    client.set(keys.job(job_id), encoded(job_id, job_type).body)
    client.lpush(keys.queue("normal"), job_id)


def test_a_watch_ends_when_a_queue_has_a_job_and_changes_nothing(
    client: redis.Redis, keys: Keys
) -> None:
    watch = QueueWatch(Broker(client, keys), "normal")
    watch.start()
    assert not is_readable(watch.fileno(), 0)

    client.lpush(keys.queue("normal"), "a", "b")
    assert is_readable(watch.fileno(), 5)

    assert watch.receive() is not None
    assert not watch.is_waiting
    assert client.lrange(keys.queue("normal"), 0, -1) == [b"b", b"a"]
    watch.close()


def test_an_announcement_wakes_idle_workers_of_every_kind(
    client: redis.Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wake, "LISTEN_TIMEOUT_S", 60.0)  # they do not wake up by themselves
    broker = Broker(client, keys)
    general, special = Worker(broker), Worker(broker, "w-1", job_types=("sub",))
    listeners = [
        WakeListener(broker, general.consumer, by_type=False),
        WakeListener(broker, special.consumer, by_type=True),
    ]
    for listener, worker in zip(listeners, (general, special), strict=True):
        listener.listen(worker.request(1))
    _push(client, keys, "a", "sub")
    _push(client, keys, "b", "sub")

    assert broker.announce("normal").is_notified

    for listener in listeners:
        assert is_readable(listener.fileno(), 5)
        reply = listener.receive()
        assert reply is not None
        assert reply.woken
        listener.close()


def test_an_announcement_tells_whether_workers_take_them(client: redis.Redis, keys: Keys) -> None:
    broker = Broker(client, keys)
    assert not broker.announce("normal").is_notified
    _push(client, keys, "a")

    first, second = broker.announce("normal"), broker.announce("normal")

    assert (first.is_notified, first.queued) == (True, 1)
    assert (second.is_notified, second.queued) == (False, 1)


def test_jobs_that_cannot_be_read_are_announced(client: redis.Redis, keys: Keys) -> None:
    client.hset(keys.job("hash"), "not", "a job")
    client.set(keys.job("text"), "not JSON")
    client.lpush(keys.queue("normal"), "hash", "text", "missing")

    assert Broker(client, keys).announce("normal").is_notified


def test_one_worker_is_elected_until_it_resigns_or_its_term_ends(
    client: redis.Redis, keys: Keys
) -> None:
    broker = Broker(client, keys)
    assert broker.elect("w-0", 60_000).is_elected
    assert broker.elect("w-0", 60_000).is_elected
    other = broker.elect("w-1", 60_000)
    assert not other.is_elected
    assert 0 < other.left_ms <= 60_000
    broker.resign("w-1")
    assert not broker.elect("w-1", 60_000).is_elected

    broker.resign("w-0")

    assert broker.elect("w-1", 60_000).is_elected
    assert 0 < client.pttl(keys.watcher) <= 60_000
