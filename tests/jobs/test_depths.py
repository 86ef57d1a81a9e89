"""What a look at the queues costs does not grow with what is in them."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis

from bananas_topology.jobs.broker import Broker
from bananas_topology.jobs.depths import PAGE
from bananas_topology.jobs.inspect import Inspector
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.queue_metrics import queue_gauges
from bananas_topology.system.clock import format_timestamp
from tests.jobs.support import Worker, encoded

CREATED_AT = "2026-01-02T03:04:05.000000Z"
TIMES = f'"created_at": "{CREATED_AT}", "updated_at": "2026-06-01T00:00:00Z"'
PACKED_TIMES = TIMES.replace(" ", "")

#: Longer than what is read of a body, and with what is looked for.
PAYLOAD = json.dumps({"created_at": "1999-01-01T00:00:00Z", "text": "x" * 3_000_000})

#: How producers write a job: fields before the payload, and behind it.
BODIES = {
    "ours": f'{{"id":"a","name":"add","status":"pending",{PACKED_TIMES},"payload":{PAYLOAD}}}',
    "python": f'{{"id": "a", "name": "add", "payload": {PAYLOAD}, {TIMES}, "attempts": 0}}',
    "go": f'{{"id":"a","name":"add","payload":{PAYLOAD},{PACKED_TIMES},"max_retries":3}}',
    "small": f'{{"payload": {{"created_at": "no"}}, "created_at": "{CREATED_AT}", "name": "add"}}',
}


@pytest.fixture
def inspector(client: redis.Redis, keys: Keys) -> Inspector:
    return Inspector(client, keys)


def _sent_bytes(client: redis.Redis) -> int:
    stats: Any = client.info("stats")
    return int(stats["total_net_output_bytes"])


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_the_age_of_a_job_is_known_without_reading_its_payload(
    client: redis.Redis, keys: Keys, inspector: Inspector, body: str
) -> None:
    client.set(keys.job("a"), body)
    client.lpush(keys.queue("normal"), "a")
    before = _sent_bytes(client)

    shared = inspector.overview().depths[1].shared

    assert shared.oldest is not None
    assert format_timestamp(shared.oldest) == CREATED_AT
    assert _sent_bytes(client) - before < 50_000


@pytest.mark.parametrize(
    "body", [b"not JSON", b"\xff" * 5_000, b'{"name": "a", "created_at": 5}', b"[" * 5_000]
)
def test_the_age_of_a_job_that_does_not_tell_is_unknown(
    client: redis.Redis, keys: Keys, inspector: Inspector, body: bytes
) -> None:
    client.set(keys.job("a"), body)
    client.lpush(keys.queue("normal"), "a", "missing")

    shared = inspector.overview().depths[1].shared

    assert (shared.count, shared.oldest) == (2, None)


def test_each_list_has_its_own_age(client: redis.Redis, keys: Keys, inspector: Inspector) -> None:
    broker = Broker(client, keys)
    broker.enqueue([encoded("a", "unknown")])
    Worker(broker).claim()

    depth = inspector.depths()[1]

    assert depth.shared.oldest is None
    assert depth.parked["unknown"].oldest == depth.oldest is not None


def test_jobs_of_thousands_of_types_are_counted(
    client: redis.Redis, keys: Keys, inspector: Inspector
) -> None:
    count = 4 * PAGE + 10
    broker = Broker(client, keys)
    broker.enqueue([encoded(f"{n}", f"type-{n}") for n in range(count)])
    worker = Worker(broker)
    while client.llen(keys.queue("normal")):
        worker.claim()

    assert len(inspector.depths()[1].parked) == count
    assert inspector.backlog().ready == count


def test_types_that_are_not_read_count_as_one_job_each(
    client: redis.Redis, keys: Keys, inspector: Inspector
) -> None:
    client.sadd(keys.parked("low"), *(f"type-{n}" for n in range(2_000)))
    for n in range(2_000):
        client.lpush(keys.parked_queue("low", f"type-{n}"), n)

    overview = inspector.overview(max_types=100)

    depth = overview.depths[2]
    assert len(depth.parked) < 1_000
    assert len(depth.parked) + depth.omitted == overview.backlog.ready == 2_000


def test_the_depth_of_a_queue_includes_parked_jobs_and_suspects(
    client: redis.Redis, keys: Keys, inspector: Inspector
) -> None:
    broker = Broker(client, keys)
    broker.enqueue([encoded("a")])
    for _ in range(2):
        Worker(broker).claim()
        worker = Worker(broker)
        broker.recover(worker.consumer, worker.token(), [])
    broker.enqueue([encoded("b"), encoded("c", "unknown")])
    Worker(broker, "other").claim(0)
    client.lrem(keys.queue("normal"), 1, "c")
    client.sadd(keys.parked("normal"), "unknown")
    client.lpush(keys.parked_queue("normal", "unknown"), "c")

    depth = queue_gauges(inspector)[0]

    assert {each.labels["priority"]: each.value for each in depth.samples}["normal"] == 3
