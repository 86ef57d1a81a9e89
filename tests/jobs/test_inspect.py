from __future__ import annotations

from collections.abc import Mapping

import pytest
import redis

from bananas_topology.errors import JobNotFound
from bananas_topology.jobs.broker import Broker
from bananas_topology.jobs.depths import ReadyList
from bananas_topology.jobs.inspect import Inspector
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.settlements import BuryJob
from tests.jobs.support import Worker, encoded


@pytest.fixture
def inspector(client: redis.Redis, keys: Keys) -> Inspector:
    return Inspector(client, keys)


def _counts(lists: Mapping[str, ReadyList]) -> dict[str, int]:
    return {job_type: each.count for job_type, each in lists.items()}


def _boot(worker: Worker) -> Worker:
    presence: dict[str, str | bytes | int] = {
        "job_types": ",".join(worker.consumer.job_types),
        "priorities": ",".join(worker.consumer.priorities),
        "pool": "main",
        "concurrency": 4,
    }
    worker.broker.heartbeat(worker.consumer, worker.incarnation, presence, boot=True)
    return worker


def test_a_type_is_unhandled_until_a_running_worker_of_its_priority_has_a_handler(
    client: redis.Redis, keys: Keys, inspector: Inspector
) -> None:
    broker = Broker(client, keys)
    broker.enqueue([encoded("a", "new"), encoded("b", "new"), encoded("c", "rare"), encoded("d")])
    _boot(Worker(broker)).claim(5)

    _, depth, _ = inspector.depths()
    assert (depth.shared.count, _counts(depth.parked)) == (0, {"new": 2, "rare": 1})
    assert depth.unhandled == ("new", "rare")
    assert depth.total == inspector.backlog().ready == 3
    assert depth.oldest is not None

    _boot(Worker(broker, "w-1", job_types=("new",)))
    _boot(Worker(broker, "w-2", job_types=("rare",), priorities=("high",)))
    gone = _boot(Worker(broker, "w-3", job_types=("rare",)))
    client.zadd(keys.workers, {gone.consumer.worker_id: 1})

    assert inspector.depths()[1].unhandled == ("rare",)


def test_suspects_count_as_ready(client: redis.Redis, keys: Keys, inspector: Inspector) -> None:
    broker = Broker(client, keys)
    broker.enqueue([encoded("a")])
    for _ in range(2):
        Worker(broker).claim()
        worker = Worker(broker)
        broker.recover(worker.consumer, worker.token(), [])

    depth = inspector.depths()[1]

    assert _counts(depth.suspects) == {"add": 1}
    assert depth.total == inspector.backlog().ready == 1
    assert inspector.job("a").status == "pending"


def test_ids_and_types_that_are_not_utf8_are_displayed(
    client: redis.Redis, keys: Keys, inspector: Inspector
) -> None:
    client.set(keys.job("").encode() + b"\xff", b'{"id":"\xff","name":"\xfe"}')
    client.lpush(keys.queue("high"), b"\xff")
    assert inspector.depths()[0].oldest is None

    worker = Worker(Broker(client, keys))
    assert worker.claim() == []

    assert _counts(inspector.depths()[0].parked) == {"\ufffd": 1}
    assert inspector.job("\udcff").body is None


def test_a_claimed_job_has_a_worker_and_a_start_time(
    client: redis.Redis, keys: Keys, inspector: Inspector
) -> None:
    broker = Broker(client, keys)
    broker.enqueue([encoded("a")])
    worker = _boot(Worker(broker))
    [claim] = worker.exchange(count=1).claims

    view = inspector.job("a")
    [listed] = inspector.workers()

    assert (view.status, view.worker_id) == ("processing", "w-0")
    assert view.started_at is not None
    assert (listed.worker_id, listed.running, listed.pool) == ("w-0", 1, "main")
    assert listed.priorities == ("high", "normal", "low")
    worker.exchange([BuryJob(claim, b"", b'{"type":"E","message":"m"}', "m", "", 0)])
    assert inspector.job("a").status == "failed"
    with pytest.raises(JobNotFound):
        inspector.job("b")
