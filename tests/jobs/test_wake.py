from __future__ import annotations

import select

import pytest
import redis

from bananas_topology.clock import monotonic
from bananas_topology.jobs.broker import Broker, Release
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.wake import LISTEN_S, WakeListener
from tests.jobs.support import Hands, encoded


def _answers_within(listener: WakeListener, seconds: float) -> bool:
    poll = select.poll()
    poll.register(listener.fileno(), select.POLLIN)
    return bool(poll.poll(seconds * 1000))


@pytest.mark.parametrize("by_type", [False, True])
def test_an_idle_worker_is_rung_for_what_it_can_do(
    client: redis.Redis, keys: Keys, by_type: bool
) -> None:
    broker = Broker(client, keys)
    hands = Hands(broker, job_types=("add",))
    listener = WakeListener(client, keys, hands.consumer, by_type=by_type)
    listener.listen()

    broker.enqueue([encoded("a")])
    assert _answers_within(listener, 5)
    assert listener.answer() is True

    [claim] = hands.exchange(count=1).claims
    listener.listen()
    hands.exchange([Release(claim)])
    assert _answers_within(listener, 5)
    listener.close()


def test_a_listener_that_nobody_rings_answers_by_itself(client: redis.Redis, keys: Keys) -> None:
    broker = Broker(client, keys)
    listener = WakeListener(client, keys, Hands(broker, job_types=("add",)).consumer, by_type=True)
    begun = monotonic()
    listener.listen()
    broker.enqueue([encoded("a", "sub")])

    assert _answers_within(listener, 10)
    assert listener.answer() is False
    assert monotonic() - begun > LISTEN_S * 0.9


def test_one_of_several_idle_workers_is_rung_for_what_another_left(
    client: redis.Redis, keys: Keys
) -> None:
    broker = Broker(client, keys)
    hands = Hands(broker)
    listeners = [WakeListener(client, keys, hands.consumer, by_type=False) for _ in range(2)]
    for listener in listeners:
        listener.listen()

    broker.enqueue([encoded("a"), encoded("b")])
    assert _answers_within(listeners[0], 5)
    assert hands.claim(1) == ["a"]

    assert _answers_within(listeners[1], 5)
    assert listeners[1].answer() is True
    for listener in listeners:
        listener.close()


def test_a_schedule_fires_for_one_of_those_who_found_it(client: redis.Redis, keys: Keys) -> None:
    broker = Broker(client, keys)
    new = broker.schedule("nightly")
    first = new.__class__("2026-01-01T00:00:00.000000Z", "0 0 * * * UTC")
    second = new.__class__("2026-01-02T00:00:00.000000Z", "0 0 * * * UTC")
    assert (new.next_run, new.cron) == ("", "")

    assert broker.fire("nightly", new, first, None)
    assert not broker.fire("nightly", new, first, None)
    assert client.llen(keys.queue("normal")) == 0
    job = encoded("nightly:1")
    assert [broker.fire("nightly", first, second, job) for _ in range(3)] == [True, False, False]

    assert client.lrange(keys.queue("normal"), 0, -1) == [b"nightly:1"]
    assert client.hgetall(keys.schedule("nightly")) == {
        b"next_run": b"2026-01-02T00:00:00.000000Z",
        b"cron": b"0 0 * * * UTC",
        b"last_run": b"2026-01-01T00:00:00.000000Z",
        b"run_count": b"1",
    }
    assert broker.schedule("nightly") == second
