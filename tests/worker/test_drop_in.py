"""Jobs written by other clients, run by a real worker: results are where those clients look."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis
from redis.client import PubSub

from bananas_topology.client import Client
from bananas_topology.errors import ResultNotFound
from bananas_topology.jobs.broker import PROMOTE_LIMIT
from bananas_topology.jobs.keys import Keys
from bananas_topology.system.clock import parse_timestamp
from tests.waiting import wait_for
from tests.worker.support import Starter

PAYLOAD = '{"to": "\\u00fc@b.c", "n": 12345678901234567890, "list": [], "float": 1.50}'

# As the clients write them: nanoseconds; escapes and spaces; milliseconds and an extra field.
GO = (
    '{"id":"%s","name":"echo","payload":' + PAYLOAD + ',"status":"pending","priority":"high",'
    '"created_at":"2025-11-10T12:00:00.123456789Z","updated_at":"2025-11-10T12:00:00.123456789Z",'
    '"attempts":0,"max_retries":3}'
)
PYTHON = (
    '{"id": "%s", "name": "echo", "description": "", "payload": ' + PAYLOAD + ', "status": '
    '"pending", "priority": "normal", "created_at": "2026-11-24T03:33:59.931960+00:00", '
    '"updated_at": "2026-11-24T03:33:59.931960+00:00", "scheduled_for": null, "attempts": 0, '
    '"max_retries": 3, "error": "", "routing_key": ""}'
)
TYPESCRIPT = (
    '{"id":"%s","name":"echo","description":"d","payload":' + PAYLOAD + ',"status":"pending",'
    '"priority":"low","created_at":"2025-11-10T12:00:00.120Z","updated_at":'
    '"2025-11-10T12:00:00.120Z","attempts":0,"max_retries":3,"routing_key":"eu","extra":[]}'
)


@pytest.mark.parametrize("way", ["now", "later"])
def test_jobs_of_every_client_run_and_leave_the_result_it_expects(
    start: Starter, client: redis.Redis, keys: Keys, way: str
) -> None:
    bodies = {"go-1": GO, "py 2": PYTHON, "ts:3": TYPESCRIPT}
    start(ENABLE_SCHEDULER="true", SCHEDULER_INTERVAL="100ms", RESULT_BACKEND_TTL_SUCCESS="10m")
    channel = PubSub(client.connection_pool, ignore_subscribe_messages=True)
    channel.subscribe(*map(keys.notify, bodies))

    for job_id, form in bodies.items():
        body = form % job_id
        client.set(keys.job(job_id), body)
        if way == "now":
            client.lpush(keys.queue(json.loads(body)["priority"]), job_id)
        else:
            client.zadd(keys.scheduled, {job_id: 1764000000.5})

    heard: dict[bytes, bytes] = {}

    def hear_all() -> bool:
        message = channel.get_message(timeout=0.5)
        if message is not None:
            heard[message["channel"]] = message["data"]
        return len(heard) == len(bodies)

    wait_for(hear_all)
    channel.close()
    assert heard == {keys.notify(job_id).encode(): b"ready" for job_id in bodies}
    for job_id, form in bodies.items():
        result: Any = client.hgetall(keys.result(job_id))
        assert set(result) == {b"status", b"completed_at", b"duration_ms", b"result"}
        assert result[b"status"] == b"completed"
        assert json.loads(result[b"result"]) == json.loads(PAYLOAD)
        parse_timestamp(result[b"completed_at"].decode())
        assert 0 < client.ttl(keys.result(job_id)) <= 600
        assert 0 < client.ttl(keys.job(job_id)) <= 86_400
        stored: Any = client.get(keys.job(job_id))
        assert PAYLOAD.encode() in stored
        before, after = json.loads(form % job_id), json.loads(stored)
        assert (after["status"], after["attempts"]) == ("completed", 1)
        changed = ("status", "attempts", "updated_at", "error", "scheduled_for")
        assert {name: after[name] for name in before if name not in changed} == {
            name: before[name] for name in before if name not in changed
        }


def test_falsy_results_are_returned_and_failures_have_their_own_ttl(
    start: Starter, producer: Client, client: redis.Redis, keys: Keys
) -> None:
    start(RESULT_BACKEND_TTL_FAILURE="20m")
    falsy: tuple[Any, ...] = (None, 0, False, "", [], {})
    ids = [producer.enqueue("echo", value) for value in falsy]
    failing = producer.enqueue("fail", "no luck")

    assert [producer.wait(job_id, timeout=10) for job_id in ids] == list(falsy)
    wait_for(lambda: client.hget(keys.result(failing), "status") == b"failed")
    fields: Any = client.hkeys(keys.result(failing))
    assert set(fields) == {b"status", b"completed_at", b"duration_ms", b"error"}
    assert 600 < client.ttl(keys.result(failing)) <= 1_200


def test_waiting_ends_without_a_result_backend(
    start: Starter, producer: Client, client: redis.Redis, keys: Keys
) -> None:
    start(RESULT_BACKEND_ENABLED="false")

    job_id = producer.enqueue("echo", 1)

    with pytest.raises(ResultNotFound):
        producer.wait(job_id, timeout=10)
    assert not client.exists(keys.result(job_id))
    assert producer.get(job_id).status == "completed"


def test_a_scheduler_only_worker_promotes_many_jobs_and_handles_signals(
    start: Starter, client: redis.Redis, keys: Keys
) -> None:
    many = 2 * PROMOTE_LIMIT + 500
    client.zadd(keys.scheduled, {f"{number}": number for number in range(many)})
    scheduler = start(WORKER_MODE="scheduler-only", WORKER_HANDLERS="")

    wait_for(lambda: client.llen(keys.queue("normal")) == many)

    assert client.zcard(keys.scheduled) == 0
    assert client.lrange(keys.queue("normal"), -3, -1) == [b"2", b"1", b"0"]
    assert scheduler.end() == 0


def test_a_payload_of_megabytes_is_returned(start: Starter, producer: Client) -> None:
    start()
    payload = "x" * (5 * 2**20)
    ids = [producer.enqueue("echo", payload) for _ in range(3)]

    assert all(producer.wait(job_id, timeout=20) == payload for job_id in ids)


def test_variables_of_the_go_version_without_effect_are_named_in_a_warning(start: Starter) -> None:
    worker = start(LOG_ES_ENABLED="true", WORKER_ROUTING_KEYS="gpu", LOG_LEVEL="info")

    [line] = [line for line in worker.text().splitlines() if "Go version ignored" in line]
    assert "LOG_ES_ENABLED,WORKER_ROUTING_KEYS" in line
    assert "LOG_LEVEL" not in line
    assert "Go version" not in start().text()
