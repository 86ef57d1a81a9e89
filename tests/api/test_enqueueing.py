"""Requests that enqueue at the same time."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence

import pytest
import redis

from bananas_topology.api.bodies import MAX_JOBS
from bananas_topology.api.enqueueing import MAX_SENDING, SMALL_BYTES, Enqueuer
from bananas_topology.api.problems import Problem
from bananas_topology.client import Client, NewJob
from bananas_topology.errors import RedisUnavailable
from bananas_topology.jobs.keys import Keys
from tests.jobs.servers import black_hole

Enqueued = tuple[list[str], bool]


def _enqueue_at_once(client: Client, bodies: Sequence[bytes]) -> list[Enqueued | BaseException]:
    async def enqueue() -> list[Enqueued | BaseException]:
        enqueuer = Enqueuer(client)
        requests = [enqueuer.enqueue(body) for body in bodies]
        return await asyncio.gather(*requests, return_exceptions=True)

    return asyncio.run(enqueue())


def _calls_of_scripts(client: redis.Redis) -> int:
    return int(client.info("commandstats").get("cmdstat_evalsha", {"calls": 0})["calls"])


def test_jobs_of_concurrent_requests_share_round_trips(
    producer: Client, client: redis.Redis, keys: Keys
) -> None:
    bodies = [json.dumps({"name": "add", "id": str(number)}).encode() for number in range(200)]
    producer.enqueue("warm-up")
    before = _calls_of_scripts(client)

    enqueued = _enqueue_at_once(producer, bodies)

    assert enqueued == [([str(number)], False) for number in range(200)]
    assert client.llen(keys.queue("normal")) == 201
    assert _calls_of_scripts(client) - before < 20


def test_each_request_gets_the_ids_of_its_own_jobs(producer: Client) -> None:
    one, many = b'{"name": "one"}', b'[{"name": "many"}, {"name": "many"}]'
    large = json.dumps([{"name": "large", "payload": "x" * SMALL_BYTES}]).encode()

    for body, enqueued in zip(
        [one, many, large] * 5, _enqueue_at_once(producer, [one, many, large] * 5), strict=True
    ):
        assert not isinstance(enqueued, BaseException)
        ids, is_list = enqueued
        assert is_list == body.startswith(b"[")
        expected = json.loads(body) if is_list else [json.loads(body)]
        assert [(producer.get(job_id).body or {})["name"] for job_id in ids] == [
            job["name"] for job in expected
        ]


def test_an_invalid_request_does_not_fail_those_beside_it(producer: Client) -> None:
    valid, invalid = b'{"name": "add", "id": "it"}', b'{"name": "add", "delay": "soon"}'

    enqueued = _enqueue_at_once(producer, [valid, b"{", invalid, valid])

    assert enqueued[0] == enqueued[3] == (["it"], False)
    assert isinstance(enqueued[1], Problem)
    assert "expected a duration" in str(enqueued[2])


def test_a_cancelled_request_does_not_keep_others_waiting(producer: Client) -> None:
    async def enqueue() -> Enqueued:
        enqueuer = Enqueuer(producer)
        hung_up = asyncio.create_task(enqueuer.enqueue(b'{"name": "add"}'))
        other = asyncio.create_task(enqueuer.enqueue(b'{"name": "add", "id": "other"}'))
        await asyncio.sleep(0)
        hung_up.cancel()
        await other
        return await enqueuer.enqueue(b'{"name": "add", "id": "later"}')

    assert asyncio.run(enqueue()) == (["later"], False)


def test_requests_that_wait_behind_others_share_their_failure_if_redis_does_not_reply(
    prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []
    send = Client.enqueue_many

    def send_and_count(client: Client, jobs: Sequence[NewJob]) -> list[str]:
        sent.append(len(jobs))
        return send(client, jobs)

    monkeypatch.setattr(Client, "enqueue_many", send_and_count)

    async def enqueue(client: Client) -> list[object]:
        enqueuer = Enqueuer(client)
        requests = []
        for _ in range(20):
            requests.append(asyncio.create_task(enqueuer.enqueue(b'{"name": "add"}')))
            await asyncio.sleep(0)  # so that the later ones wait
        return await asyncio.gather(*requests, return_exceptions=True)

    with (
        black_hole(accepts=True) as port,
        Client(f"redis://127.0.0.1:{port}", key_prefix=prefix) as client,
    ):
        outcomes = asyncio.run(enqueue(client))

    assert {type(each) for each in outcomes} == {RedisUnavailable}
    # An operation of a client takes up to three seconds, one after the other twice that.
    assert len(sent) <= MAX_SENDING
    assert sum(sent) < 20


@pytest.mark.parametrize("jobs", [MAX_JOBS, MAX_JOBS + 1])
def test_a_list_may_have_ten_thousand_jobs(
    producer: Client, client: redis.Redis, keys: Keys, jobs: int
) -> None:
    body = json.dumps([{"name": "add", "id": f"{number}🍌"} for number in range(jobs)]).encode()

    [enqueued] = _enqueue_at_once(producer, [body])

    if jobs == MAX_JOBS:
        assert enqueued == ([f"{number}🍌" for number in range(jobs)], True)
        assert client.llen(keys.queue("normal")) == jobs
    else:
        assert isinstance(enqueued, Problem)
        assert re.search("at most 10000 jobs", str(enqueued))
        assert client.llen(keys.queue("normal")) == 0
