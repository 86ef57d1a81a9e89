from __future__ import annotations

import pytest
import redis

from bananas_topology.jobs import wake
from bananas_topology.jobs.broker import Broker
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.settlements import ReleaseJob
from bananas_topology.jobs.wake import LISTEN_TIMEOUT_S, WakeListener, WakeReply
from bananas_topology.system.clock import monotonic
from tests.jobs.support import Worker, encoded, is_readable


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Listeners wake up only when they are notified, however late that is."""
    monkeypatch.setattr(wake, "LISTEN_TIMEOUT_S", 60.0)


def _listener(worker: Worker, *, by_type: bool = False) -> WakeListener:
    return WakeListener(worker.broker, worker.consumer, by_type=by_type)


def _ids(reply: WakeReply | None) -> list[str]:
    assert reply is not None
    assert reply.claimed is not None
    return [claim.job_id for claim in reply.claimed.claims]


@pytest.mark.usefixtures("endless")
@pytest.mark.parametrize("by_type", [False, True])
def test_a_notification_delivers_the_job(client: redis.Redis, keys: Keys, by_type: bool) -> None:
    broker = Broker(client, keys)
    worker = Worker(broker, job_types=("add",))
    listener = _listener(worker, by_type=by_type)
    listener.listen(worker.request(1))

    broker.enqueue([encoded("a"), encoded("b")])
    assert is_readable(listener.fileno(), 5)
    reply = listener.receive()

    assert reply is not None
    assert reply.woken
    assert _ids(reply) == ["a"]
    assert not listener.is_waiting
    assert client.hkeys(keys.claims(worker.consumer.worker_id)) == [b"a"]
    listener.close()


@pytest.mark.usefixtures("endless")
def test_a_released_job_notifies_a_listener(client: redis.Redis, keys: Keys) -> None:
    broker = Broker(client, keys)
    worker = Worker(broker, job_types=("add",))
    broker.enqueue([encoded("a")])
    [claim] = worker.exchange(count=1).claims
    other = Worker(broker, worker_id="other", job_types=("add",))
    listener = _listener(other)
    client.delete(keys.wake("normal"))
    listener.listen(other.request(1))

    worker.exchange([ReleaseJob(claim)])

    assert is_readable(listener.fileno(), 5)
    assert _ids(listener.receive()) == ["a"]
    listener.close()


def test_a_listener_without_a_notification_claims_after_its_timeout(
    client: redis.Redis, keys: Keys
) -> None:
    worker = Worker(Broker(client, keys), job_types=("add",))
    worker.claim()  # the server knows the script from now on
    listener = _listener(worker, by_type=True)
    job = encoded("a")
    client.set(keys.job("a"), job.body)
    client.lpush(keys.queue("normal"), "a")  # as foreign producers do
    started = monotonic()
    listener.listen(worker.request(1))

    assert is_readable(listener.fileno(), 10)
    reply = listener.receive()

    assert reply is not None
    assert not reply.woken
    assert _ids(reply) == ["a"]
    assert monotonic() - started > LISTEN_TIMEOUT_S * 0.9
    listener.close()


@pytest.mark.usefixtures("endless")
def test_a_listener_reports_that_the_script_was_unknown(client: redis.Redis, keys: Keys) -> None:
    broker = Broker(client, keys)
    worker = Worker(broker)
    listener = _listener(worker)
    broker.enqueue([encoded("a")])
    client.delete(keys.wake("normal"))
    listener.listen(worker.request(1))
    client.script_flush()

    client.zadd(keys.wake("normal"), {"1": 0})
    assert is_readable(listener.fileno(), 5)

    assert listener.receive() == WakeReply(woken=True, claimed=None)
    assert worker.claim(1) == ["a"]
    listener.close()


@pytest.mark.usefixtures("endless")
def test_an_idle_worker_is_notified_of_what_another_left(client: redis.Redis, keys: Keys) -> None:
    broker = Broker(client, keys)
    workers = [Worker(broker, worker_id=f"w{index}") for index in range(2)]
    listeners = [_listener(worker) for worker in workers]
    for listener, worker in zip(listeners, workers, strict=True):
        listener.listen(worker.request(1))

    broker.enqueue([encoded("a"), encoded("b")])

    assert is_readable(listeners[0].fileno(), 5)
    assert is_readable(listeners[1].fileno(), 5)
    assert sorted(job for listener in listeners for job in _ids(listener.receive())) == ["a", "b"]
    for listener in listeners:
        listener.close()
