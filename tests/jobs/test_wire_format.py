"""The wire format shared with other Bananas clients and workers, byte by byte."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
import redis

from bananas_topology.client import Client
from bananas_topology.contract.values import PRIORITIES
from bananas_topology.jobs.broker import Broker
from bananas_topology.jobs.job import Claim, decode, encode_new, new_id, rewrite
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.settlements import AckJob, BuryJob, RetryJob, Settlement
from tests.jobs.support import Worker, encoded

AT = "2026-11-24T12:00:00.000000Z"
UUID4 = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
PAYLOAD = b'{ "to":["a@b.c", [], {}],"n":123456789012345678901234567890.10,"s":"\\u00e9\\/" }'

GO = (
    b'{"id":"go","name":"add","payload":' + PAYLOAD + b',"status":"pending","priority":"high",'
    b'"created_at":"2025-11-10T12:00:00.123456789Z","updated_at":"2025-11-10T12:00:00.123456789Z",'
    b'"attempts":0,"max_retries":3}'
)
PYTHON = (
    b'{"id": "py", "name": "add", "description": "", "payload": ' + PAYLOAD + b', "status": '
    b'"pending", "priority": "normal", "created_at": "2026-11-24T03:33:59.931960+00:00", '
    b'"updated_at": "2026-11-24T03:33:59.931960+00:00", "scheduled_for": null, "attempts": 0, '
    b'"max_retries": 3, "error": "", "routing_key": ""}'
)
TYPESCRIPT = (
    b'{"id":"ts","name":"add","payload":' + PAYLOAD + b',"status":"pending","priority":"low",'
    b'"created_at":"2025-11-10T12:00:00.120Z","updated_at":"2025-11-10T12:00:00.120Z","attempts":0,'
    b'"max_retries":3,"trace":{"id": 1e400,"x":[ ]}}'
)
FOREIGN = {"go": GO, "py": PYTHON, "ts": TYPESCRIPT}
FAILURE = b'{"type":"E","message":"no","traceback":""}'


def _ack(claim: Claim) -> Settlement:
    body = rewrite(claim.body or b"", status="completed", attempts=1, updated_at=AT)
    return AckJob(claim, body, b"1", AT, 3)


def _retry(claim: Claim) -> Settlement:
    due = datetime(2027, 1, 1, tzinfo=UTC)
    body = rewrite(claim.body or b"", due, status="pending", attempts=1, error="no", updated_at=AT)
    return RetryJob(claim, body, FAILURE, 1_000)


def _bury(claim: Claim) -> Settlement:
    body = rewrite(claim.body or b"", status="failed", attempts=1, error="no", updated_at=AT)
    return BuryJob(claim, body, FAILURE, "no", AT, 3)


@pytest.fixture
def worker(client: redis.Redis, keys: Keys) -> Worker:
    return Worker(Broker(client, keys))


@pytest.mark.parametrize("settle", [_ack, _retry, _bury])
@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_job_keeps_the_bytes_of_all_other_fields(
    worker: Worker, client: redis.Redis, keys: Keys, name: str, settle: Any
) -> None:
    client.set(keys.job(name), FOREIGN[name])
    client.lpush(keys.queue("normal"), name)

    [claim] = worker.exchange(count=1).claims
    assert claim.body == FOREIGN[name]
    job = decode(claim.body)
    assert (job.id, job.name, job.attempts, job.max_retries) == (name, "add", 0, 3)
    assert bytes(job.payload).strip() == PAYLOAD
    assert worker.exchange([settle(claim)]).lost == ()

    stored = client.get(keys.job(name))
    assert isinstance(stored, bytes)
    before, after = _raw(FOREIGN[name]), _raw(stored)
    changed = {"status", "attempts", "updated_at", "scheduled_for", "error"}
    assert {key: after[key] for key in before.keys() - changed} == {
        key: before[key] for key in before.keys() - changed
    }
    assert after.keys() - before.keys() <= changed
    assert after["attempts"] == b"1"
    assert after["updated_at"] == f'"{AT}"'.encode()
    assert ("error" in after) == (settle is not _ack)
    assert ("scheduled_for" in after) == (settle is _retry)
    assert (
        msgspec.json.decode(after["status"])
        == {
            _ack: "completed",
            _retry: "pending",
            _bury: "failed",
        }[settle]
    )


def test_a_retried_foreign_job_loses_its_due_time_and_keeps_its_payload(
    worker: Worker, client: redis.Redis, keys: Keys
) -> None:
    for name, body in FOREIGN.items():
        client.set(keys.job(name), body)
        client.lpush(keys.queue("normal"), name)
    worker.exchange([_retry(claim) for claim in worker.exchange(count=3).claims])
    client.zadd(keys.scheduled, dict.fromkeys(FOREIGN, 1.5))

    assert worker.broker.promote() == 3

    claims = worker.exchange(count=3).claims
    # To the queue of their own priority, whatever list they were found in before.
    assert [claim.job_id for claim in claims] == ["go", "py", "ts"]
    for claim in claims:
        fields = _raw(claim.body or b"")
        assert "scheduled_for" not in fields
        assert bytes(fields["payload"]).strip() == PAYLOAD
        assert fields["attempts"] == b"1"


def test_a_new_job_has_the_fields_that_other_clients_read(
    client: redis.Redis, server_url: str, keys: Keys
) -> None:
    with Client(server_url, key_prefix=keys.prefix) as producer:
        job_id = producer.enqueue("send_email", {"to": []}, priority="high", max_retries=0)

    assert re.fullmatch(UUID4, job_id)
    stored = client.get(keys.job(job_id))
    assert isinstance(stored, bytes)
    stamp = rb'"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"'
    assert re.fullmatch(
        rb'\{"id":"%b","name":"send_email","priority":"high","status":"pending",'
        rb'"created_at":%b,"updated_at":%b,"attempts":0,"max_retries":0,"payload":\{"to":\[\]\}\}'
        % (job_id.encode(), stamp, stamp),
        stored,
    )
    assert client.ttl(keys.job(job_id)) == -1
    assert client.lrange(f"{keys.prefix}:queue:high", 0, -1) == [job_id.encode()]


def test_a_delayed_job_is_due_in_unix_seconds_and_has_scheduled_for(
    client: redis.Redis, server_url: str, keys: Keys
) -> None:
    at = datetime(2030, 1, 2, 3, 4, 5, 250_000, tzinfo=UTC)
    with Client(server_url, key_prefix=keys.prefix) as producer:
        job_id = producer.enqueue("add", at=at)

    assert client.zscore(f"{keys.prefix}:queue:scheduled", job_id) == at.timestamp()
    fields = msgspec.json.decode(client.get(keys.job(job_id)) or b"")
    assert fields["scheduled_for"] == "2030-01-02T03:04:05.250000Z"
    assert fields["status"] == "scheduled"


def test_the_shared_keys_have_the_names_of_the_wire_format() -> None:
    keys = Keys("bananas")

    assert [keys.queue(priority) for priority in PRIORITIES] == [
        "bananas:queue:high",
        "bananas:queue:normal",
        "bananas:queue:low",
    ]
    assert (keys.scheduled, keys.dead) == ("bananas:queue:scheduled", "bananas:queue:dead")
    assert keys.job("x") == "bananas:job:x"
    assert keys.result("x") == "bananas:result:x"
    assert keys.notify("x") == "bananas:result:notify:x"
    assert keys.schedule("x") == "bananas:schedules:x"


def test_splicing_a_body_equals_rewriting_it() -> None:
    def slowly(body: bytes) -> dict[str, Any]:
        fields = msgspec.json.decode(body)
        fields.pop("error", None)
        fields.pop("scheduled_for", None)
        return {**fields, "status": "completed", "attempts": 2, "updated_at": AT}

    payloads: list[Any] = [
        None,
        [],
        {"status": "x"},
        '"error"',
        {"a": {"attempts": 1}},
        "\\u",
        "é\n",
        "x" * 9999,
    ]
    for payload in payloads:
        for max_retries in (None, 5):
            body = encoded("a", payload=payload, max_retries=max_retries).body
            for variant in (body, body[:-1] + b',"trace":[ 1 ],"error":"no"}'):
                done = rewrite(variant, status="completed", attempts=2, updated_at=AT)
                assert msgspec.json.decode(done) == slowly(variant)
                assert list(msgspec.json.decode(done))[:3] == ["id", "name", "priority"]
                assert (b"[ 1 ]" in done) == (b"[ 1 ]" in variant)


def test_new_ids_are_random_uuids() -> None:
    ids = {new_id() for _ in range(2_000)}

    assert len(ids) == 2_000
    assert all(re.fullmatch(UUID4, job_id) for job_id in ids)
    assert {job_id[19] for job_id in ids} == set("89ab")


def test_times_have_six_digits_and_a_z() -> None:
    body = encode_new(
        job_id="a",
        job_type="add",
        payload=1,
        priority="low",
        max_retries=None,
        scheduled_for=None,
        now=datetime(2026, 1, 2, tzinfo=UTC),
    )

    assert body == (
        b'{"id":"a","name":"add","priority":"low","status":"pending",'
        b'"created_at":"2026-01-02T00:00:00.000000Z","updated_at":"2026-01-02T00:00:00.000000Z",'
        b'"attempts":0,"payload":1}'
    )


def _raw(body: bytes) -> dict[str, bytes]:
    fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    return {name: bytes(value) for name, value in fields.items()}
