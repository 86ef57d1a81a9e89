from __future__ import annotations

import pytest
import redis

from bananas_topology.errors import JobNotFound
from bananas_topology.jobs.broker import Broker
from bananas_topology.jobs.exchange import Bury
from bananas_topology.jobs.inspect import Inspector
from bananas_topology.jobs.keys import Keys
from tests.jobs.support import Hands, encoded


@pytest.fixture
def inspector(client: redis.Redis, keys: Keys) -> Inspector:
    return Inspector(client, keys)


def _boot(hands: Hands) -> Hands:
    presence: dict[str, str | bytes | int] = {
        "job_types": ",".join(hands.consumer.job_types),
        "priorities": ",".join(hands.consumer.priorities),
        "pool": "main",
        "concurrency": 4,
    }
    hands.broker.beat(hands.consumer, hands.incarnation, presence, boot=True)
    return hands


def test_a_type_is_unhandled_until_a_living_worker_of_its_priority_handles_it(
    client: redis.Redis, keys: Keys, inspector: Inspector
) -> None:
    broker = Broker(client, keys)
    broker.enqueue([encoded("a", "new"), encoded("b", "new"), encoded("c", "rare"), encoded("d")])
    _boot(Hands(broker)).claim(5)

    _, depth, _ = inspector.depths()
    assert (depth.ready, depth.parked) == (0, {"new": 2, "rare": 1})
    assert depth.unhandled == ("new", "rare")
    assert depth.total == inspector.backlog().ready == 3
    assert depth.oldest is not None

    _boot(Hands(broker, "w-1", job_types=("new",)))
    _boot(Hands(broker, "w-2", job_types=("rare",), priorities=("high",)))
    gone = _boot(Hands(broker, "w-3", job_types=("rare",)))
    client.zadd(keys.workers, {gone.consumer.worker_id: 1})

    assert inspector.depths()[1].unhandled == ("rare",)


def test_suspects_are_ready_jobs_too(client: redis.Redis, keys: Keys, inspector: Inspector) -> None:
    broker = Broker(client, keys)
    broker.enqueue([encoded("a")])
    for _ in range(2):
        Hands(broker).claim()
        hands = Hands(broker)
        broker.recover(hands.consumer, hands.incarnation, [])

    depth = inspector.depths()[1]

    assert depth.suspects == {"add": 1}
    assert depth.total == inspector.backlog().ready == 1
    assert inspector.job("a").status == "pending"


def test_ids_and_types_that_are_no_text_are_shown_all_the_same(
    client: redis.Redis, keys: Keys, inspector: Inspector
) -> None:
    client.set(keys.job("").encode() + b"\xff", b'{"id":"\xff","name":"\xfe"}')
    client.lpush(keys.queue("high"), b"\xff")
    assert inspector.depths()[0].oldest is None

    hands = Hands(Broker(client, keys))
    assert hands.claim() == []

    assert inspector.depths()[0].parked == {"\ufffd": 1}
    assert inspector.job("\udcff").body is None


def test_a_claimed_job_says_who_works_on_it_since_when(
    client: redis.Redis, keys: Keys, inspector: Inspector
) -> None:
    broker = Broker(client, keys)
    broker.enqueue([encoded("a")])
    hands = _boot(Hands(broker))
    [claim] = hands.exchange(count=1).claims

    view = inspector.job("a")
    [worker] = inspector.workers()

    assert (view.status, view.worker_id) == ("processing", "w-0")
    assert view.started_at is not None
    assert (worker.worker_id, worker.running, worker.pool) == ("w-0", 1, "main")
    assert worker.priorities == ("high", "normal", "low")
    hands.exchange([Bury(claim, b"", b'{"type":"E","message":"m"}', "m", "", 0)])
    assert inspector.job("a").status == "failed"
    with pytest.raises(JobNotFound):
        inspector.job("b")
