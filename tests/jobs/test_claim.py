from __future__ import annotations

import re

import pytest
import redis

from bananas_topology.contract.values import PRIORITIES
from bananas_topology.jobs.broker import PARK_LIMIT, Broker
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.settlements import ReleaseJob
from tests.jobs.invariants import assert_each_in_one_place
from tests.jobs.support import Worker, encoded


def test_jobs_are_claimed_by_priority_then_first_in_first_out(broker: Broker) -> None:
    order = [f"{priority}{i}" for i in range(3) for priority in reversed(PRIORITIES)]
    broker.enqueue([encoded(job_id, priority=job_id[:-1]) for job_id in order])
    worker = Worker(broker)

    claimed = worker.claim(4) + worker.claim(50)

    assert claimed == [f"{priority}{i}" for priority in PRIORITIES for i in range(3)]
    assert worker.claim() == []


def test_thousands_of_jobs_enqueued_in_one_call_keep_their_order(broker: Broker) -> None:
    ids = [f"{i}" for i in range(2_345)]

    broker.enqueue([encoded(job_id, priority=PRIORITIES[int(job_id) % 2]) for job_id in ids])

    assert Worker(broker).claim(3_000) == [*ids[::2], *ids[1::2]]


def test_a_claim_has_a_fence_and_a_lease(broker: Broker, client: redis.Redis, keys: Keys) -> None:
    broker.enqueue([encoded("a"), encoded("b")])
    worker = Worker(broker, "w|1")

    first, second = worker.exchange(count=2).claims

    stored = client.hgetall(keys.claims("w|1"))
    assert stored == {b"a": first.fence, b"b": second.fence}
    token, source, claimed_ms = first.fence.split(b"|")
    assert re.fullmatch(rf"{worker.incarnation}\.1\.0*1", token.decode())
    assert source == b"normal"
    until_ms = client.zscore(keys.workers, "w|1")
    assert until_ms == int(claimed_ms) + worker.consumer.lease_ms


def test_a_claim_stops_at_its_size_limit_and_keeps_the_rest_in_order(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    ids = [f"{i}" for i in range(6)]
    broker.enqueue([encoded(job_id, payload="x" * 1000) for job_id in ids])
    worker = Worker(broker)

    some = worker.exchange(count=10, max_bytes=2500)
    one = worker.exchange(count=10, max_bytes=1)

    assert [claim.job_id for claim in some.claims] == ["0", "1", "2"]
    assert some.more
    assert [claim.job_id for claim in one.claims] == ["3"]
    assert worker.claim(10) == ["4", "5"]
    assert_each_in_one_place(client, keys, ids)


def test_an_id_that_is_queued_twice_runs_once(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    broker.enqueue([encoded("a"), encoded("b")])
    client.rpush(keys.queue("normal"), "a")
    client.lpush(keys.queue("low"), "a")
    worker = Worker(broker)

    assert worker.claim(10) == ["a", "b"]
    assert_each_in_one_place(client, keys, ["a", "b"])


@pytest.mark.parametrize(
    "body",
    [None, b"", b"\xff\x00", b"[1]", b'{"id":"odd"}', b'{"id":"odd","name":7}', b'{"name":"\\x"}'],
    ids=repr,
)
def test_an_unreadable_job_is_claimed_by_any_worker(
    broker: Broker, client: redis.Redis, keys: Keys, body: bytes | None
) -> None:
    odd = b"odd \x00\xfe|id"
    if body is not None:
        client.set(keys.job("").encode() + odd, body)
    client.lpush(keys.queue("high"), odd)

    [claim] = Worker(broker, job_types=("add",)).exchange(count=5).claims

    assert claim.job_id.encode(errors="surrogateescape") == odd
    assert claim.body == body


def test_an_id_that_is_not_utf8_can_be_claimed_and_released(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    client.lpush(keys.queue("high"), b"odd \x00\xfe|id")
    worker = Worker(broker)

    [claim] = worker.exchange(count=1).claims
    assert worker.exchange([ReleaseJob(claim)]).lost == ()
    [again] = worker.exchange(count=1).claims

    assert again.job_id == claim.job_id
    assert again.fence != claim.fence
    assert worker.exchange([ReleaseJob(claim)]).lost == (ReleaseJob(claim),)


def test_jobs_of_unhandled_types_wait_in_order_for_a_worker_with_a_handler(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    kinds = ["a", "b", "c"]
    ids = [f"{kinds[i % 3]}{i}" for i in range(12)]
    broker.enqueue([encoded(job_id, job_id[0]) for job_id in ids])
    only_b, rest, everything = (
        Worker(broker, worker_id, job_types=types)
        for worker_id, types in (("b", ("b",)), ("ac", ("a", "c")), ("abc", ("a", "b", "c")))
    )

    assert only_b.claim(2) == ["b1", "b4"]
    assert client.smembers(keys.parked("normal")) == {b"a", b"c"}
    broker.enqueue([encoded("a12", "a")])
    assert everything.claim(3)[0] in ("a0", "c2")
    assert_each_in_one_place(client, keys, [*ids, "a12"])
    claimed = rest.claim(50) + only_b.claim(50)

    assert not client.exists(keys.parked("normal"))
    assert not client.keys(f"{keys.prefix}:queue:*")
    assert sorted(claimed, key=lambda job_id: int(job_id[1:])) == [
        job_id
        for job_id in [*ids, "a12"]
        if not client.hexists(keys.claims("abc"), job_id) and job_id not in ("b1", "b4")
    ]
    for kind in kinds:
        numbers = [int(job_id[1:]) for job_id in claimed if job_id[0] == kind]
        assert numbers == sorted(numbers)


def test_every_parked_type_gets_a_share_of_a_claim(broker: Broker) -> None:
    broker.enqueue([encoded(f"a{i}", "a") for i in range(100)])
    broker.enqueue([encoded(f"b{i}", "b") for i in range(3)])
    assert Worker(broker, "other", job_types=("other",)).claim(10) == []

    claimed = Worker(broker, job_types=("a", "b")).claim(10)

    assert {"b0", "b1", "b2"} <= set(claimed)
    assert [job_id for job_id in claimed if job_id[0] == "a"] == [f"a{i}" for i in range(7)]


def test_a_job_behind_thousands_of_unhandled_ones_is_found_and_those_are_parked_once(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    many = 3 * PARK_LIMIT + 10
    for start in range(0, many, 500):
        ids = range(start, min(start + 500, many))
        broker.enqueue([encoded(f"a{i}", "a") for i in ids])
    broker.enqueue([encoded("wanted", "sub")])
    worker = Worker(broker, job_types=("sub",))

    exchanges = [worker.exchange(count=10)]
    while exchanges[-1].more:
        exchanges.append(worker.exchange(count=10))

    assert len(exchanges) == 4
    assert [claim.job_id for claim in exchanges[-1].claims] == ["wanted"]
    assert client.llen(keys.parked_queue("normal", "a")) == many
    assert Worker(broker, "w-1", job_types=("a",)).claim(3) == ["a0", "a1", "a2"]


def test_the_job_type_is_read_from_the_json_of_every_known_client(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    forms = {
        "go": '{"id":"go","name":"mine","payload":{},"status":"pending"}',
        "py": '{"id": "py", "name": "mine", "payload": {"name": "theirs"}, "status": "pending"}',
        "other": '{"payload":{"name":"theirs"},"name":"mine","id":"other"}',
        "escaped": r'{"id":"escaped","name":"m\u0069ne"}',
    }
    for job_id, body in forms.items():
        client.set(keys.job(job_id), body)
        client.lpush(keys.queue("normal"), job_id)

    assert Worker(broker, job_types=("theirs",)).claim(10) == []
    assert client.llen(keys.parked_queue("normal", "mine")) == 4
    assert Worker(broker, job_types=("mine",)).claim(10) == list(forms)


def test_a_claim_with_promote_moves_due_jobs_in_due_order(
    broker: Broker, client: redis.Redis, keys: Keys
) -> None:
    broker.enqueue([encoded(job_id, due="+60000") for job_id in ("later", "b", "a")])
    client.zadd(keys.scheduled, {"foreign": 1, "gone": 2, "a": 10.5, "b": 20})
    body = '{"id":"foreign","name":"add","priority":"high","scheduled_for":"2020-01-01T00:00:00Z"}'
    client.set(keys.job("foreign"), body)
    worker = Worker(broker)

    assert worker.claim(10) == []
    reply = worker.exchange(count=10, promote=True)

    assert reply.promoted == 4
    assert [claim.job_id for claim in reply.claims] == ["foreign", "gone", "a", "b"]
    where = assert_each_in_one_place(client, keys, ["later", "a", "b", "foreign", "gone"])
    assert where["later"] == "scheduled"
    stored = client.get(keys.job("a"))
    assert isinstance(stored, bytes)
    assert b"scheduled_for" not in stored
    assert client.get(keys.job("foreign")) == body.encode()
