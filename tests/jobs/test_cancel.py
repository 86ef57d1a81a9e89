from __future__ import annotations

import threading
from typing import Any

import pytest
import redis
from redis.client import PubSub

from bananas_topology.client import Client
from bananas_topology.errors import JobNotFound, WrongJobState
from bananas_topology.jobs.broker import Broker
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.settlements import ReleaseJob
from tests.jobs.support import Worker, encoded


def _stored(client: redis.Redis, prefix: str, job_id: str) -> list[str]:
    """The keys that name a job, and those that contain its id."""
    found: list[str] = []
    for key in client.scan_iter(f"{prefix}:*"):
        name, kind = key.decode(), client.type(key)
        members: Any = []
        if kind == b"list":
            members = client.lrange(key, 0, -1)
        elif kind == b"zset":
            members = client.zrange(key, 0, -1)
        elif kind == b"hash":
            members = client.hkeys(key)
        if name.endswith(f":{job_id}") or job_id.encode() in members:
            found.append(name)
    return found


@pytest.mark.parametrize("due", ["", "+60000"])
@pytest.mark.parametrize("priority", ["high", "low"])
def test_a_job_that_has_not_started_is_deleted(
    client: redis.Redis, prefix: str, broker: Broker, due: str, priority: str
) -> None:
    broker.enqueue([encoded("it", due=due, priority=priority), encoded("other")])

    assert broker.cancel("it")

    assert _stored(client, prefix, "it") == []
    assert Worker(broker).claim(10) == ["other"]
    assert not broker.cancel("it")


def test_a_parked_job_is_cancelled_with_the_name_of_its_list(
    client: redis.Redis, keys: Keys, prefix: str, broker: Broker
) -> None:
    broker.enqueue([encoded("it", "mul"), encoded("too", "mul")])
    assert Worker(broker).claim(10) == []

    assert broker.cancel("it")
    assert client.smembers(keys.parked("normal")) == {b"mul"}
    assert broker.cancel("too")

    assert client.smembers(keys.parked("normal")) == set()
    assert _stored(client, prefix, "too") == []


def test_a_suspect_is_cancelled(client: redis.Redis, keys: Keys, broker: Broker) -> None:
    broker.enqueue([encoded("it")])
    client.lrem(keys.queue("normal"), 0, "it")
    client.lpush(keys.suspect_queue("normal:add"), "it")
    client.sadd(keys.suspects, "normal:add")

    assert broker.cancel("it")

    assert client.exists(keys.suspects) == 0


def test_a_running_job_is_left_alone_and_can_be_cancelled_once_released(
    broker: Broker, server_url: str, prefix: str
) -> None:
    broker.enqueue([encoded("it")])
    worker = Worker(broker)
    [claim] = worker.exchange(count=1).claims

    with Client(server_url, key_prefix=prefix) as producer:
        with pytest.raises(WrongJobState, match='"it" is processing'):
            producer.cancel("it")
        assert worker.exchange([ReleaseJob(claim)]).lost == ()
        producer.cancel("it")
        with pytest.raises(JobNotFound):
            producer.cancel("it")


def test_a_job_is_either_claimed_or_cancelled(broker: Broker) -> None:
    ids = [str(number) for number in range(300)]
    broker.enqueue([encoded(job_id) for job_id in ids])
    cancelled: list[str] = []

    def cancel_all() -> None:
        cancelled.extend(job_id for job_id in reversed(ids) if broker.cancel(job_id))

    canceller = threading.Thread(target=cancel_all)
    canceller.start()
    worker, claimed = Worker(broker), []
    while batch := worker.claim(3):
        claimed += batch
    canceller.join()

    assert sorted(claimed + cancelled) == sorted(ids)


def test_a_waiting_producer_learns_of_it_at_once(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    broker.enqueue([encoded("it")])
    with PubSub(client.connection_pool) as channel:
        channel.subscribe(keys.notify("it"))
        channel.get_message(timeout=5)

        broker.cancel("it")

        message = channel.get_message(timeout=5)
        assert message is not None
        assert message["data"] == b"ready"
