"""What another program leaves in Redis affects no more than itself: every route still answers."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any

import jsonschema
import msgspec
import pytest
import redis
from fastapi.testclient import TestClient

from bananas_topology.api import alerts, history
from bananas_topology.jobs.activity import ActivityReader
from bananas_topology.jobs.history import PERIODS
from bananas_topology.jobs.inspect import Inspector
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.stranded import StrandedJobs
from bananas_topology.system.clock import format_timestamp, wall_now
from tests.api.conftest import OPENAPI

#: Times that cannot be represented in UTC, and other text that is no number or time.
TEXTS = [
    *(b"", b"\xff\xfe", b"garbage", b"-1", b"1.5", b"1e999", b"nan", b"9" * 400, b"|", b"a|b|c|d"),
    *(b"0001-01-01T00:00:00+14:00", b"9999-12-31T23:59:59-14:00", "١٢".encode(), b"{}", b"[]"),
    *(b'{"":1.5}', b'{"":true}', b"tok.1.1|normal|999999999999999", b"x|reaped|alone|w|1"),
    b'{"attempt":1,"worker_id":"w","started_at":"9999-12-31T23:59:59Z","duration_ms":9,'
    b'"outcome":"retried"}',
]

#: Values of any kind, as JSON.
JSON = [
    *("null", "true", "1.5", "-1", "9" * 400, '"\\u0000"', "[]", '{"a": []}', '"garbage"'),
    *('"0001-01-01T00:00:00+14:00"', '"9999-12-31T23:59:59-14:00"'),
]

TIMES = ("created_at", "updated_at", "scheduled_for")
JOB_FIELDS = ("name", "status", "priority", "attempts", "max_retries", "error", *TIMES)
RESULT_FIELDS: tuple[str | bytes, ...] = ("completed_at", "duration_ms", "result", "error", b"\xff")
WORKER_FIELDS: tuple[str | bytes, ...] = (
    *("pid", "concurrency", "stuck", "memory_bytes", "timeouts", "started_at", "schemas"),
    *("schedules", "clock_ms", "seen_ms", "finished", "failed", "busy_ms", b"\xff"),
)

Change = Callable[[redis.Redis, Keys], Any]


class Records:
    """A job in each state, a worker and a schedule, as other programs and ours store them."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys
        self.now_ms = int(wall_now().timestamp() * 1000)
        self.at = format_timestamp(wall_now())

    def store(self) -> None:
        """Store them all again."""
        client, keys, now_ms, at = self._client, self._keys, self.now_ms, self.at
        for key in client.scan_iter(f"{keys.prefix}:*"):
            client.delete(key)
        for job_id in ("ready", "late", "dead", "done", "run"):
            client.set(keys.job(job_id), json.dumps(self._job(job_id)))
        client.lpush(keys.queue("normal"), "ready")
        client.zadd(keys.scheduled, {"late": 1e10})
        client.lpush(keys.dead, "dead")
        client.set(keys.failure("dead"), json.dumps({"type": "E", "message": "m", "at": at}))
        for job_id, status in (("dead", "failed"), ("done", "completed")):
            result: Any = {"status": status, "completed_at": at, "duration_ms": 1, "result": "1"}
            client.hset(keys.result(job_id), mapping=result)
        client.zadd(keys.workers, {"w": now_ms + 3_600_000})
        client.hset(keys.claims("w"), "run", f"tok.1.1|normal|{now_ms}")
        worker: Any = {
            "concurrency": 2,
            "priorities": "high,normal,low",
            "job_types": "add",
            "pool": "p",
        }
        client.hset(keys.worker("w"), mapping=worker | {"seen_ms": now_ms, "schedules": 1})
        client.hset(keys.schedule_definitions, "nightly", '{"cron": "* * * * *", "job": "add"}')
        client.zadd(keys.schedule_seen, {"nightly": now_ms})
        client.lpush(keys.processing, "held")

    def _job(self, job_id: str) -> dict[str, Any]:
        times = {"created_at": self.at, "updated_at": self.at}
        return {"id": job_id, "name": "add", "status": "pending", "priority": "normal"} | times


def _fields() -> Iterator[Change]:
    def all_are(value: str, *names: str) -> Change:
        def change(client: redis.Redis, keys: Keys) -> None:
            for job_id in ("ready", "dead", "run", "done"):
                stored: Any = client.get(keys.job(job_id))
                kept = {
                    name: each for name, each in json.loads(stored).items() if name not in names
                }
                members = [json.dumps(kept)[1:-1], *(f'"{name}": {value}' for name in names)]
                client.set(keys.job(job_id), f"{{{', '.join(members)}}}")

        return change

    for value in JSON:
        yield all_are(value, *JOB_FIELDS)
        yield all_are(value, *TIMES)


def _hashes() -> Iterator[Change]:
    def all_are(text: bytes) -> Change:
        def change(client: redis.Redis, keys: Keys) -> None:
            client.hset(keys.claims("w"), mapping={"run": text, "gone": text})
            client.hset(keys.worker("w"), mapping=dict.fromkeys(WORKER_FIELDS, text))
            client.hset(keys.result("done"), mapping=dict.fromkeys(RESULT_FIELDS, text))
            client.hset(keys.stats, mapping=dict.fromkeys(("completed", "failed", "retried"), text))
            client.hset(keys.schedule("nightly"), mapping={"next_run": text, "last_run": text})
            client.hset(keys.schedule_definitions, "other", text)

        return change

    return map(all_are, TEXTS)


def _strings_and_lists() -> Iterator[Change]:
    def all_are(text: bytes) -> Change:
        def change(client: redis.Redis, keys: Keys) -> None:
            for job_id in ("ready", "dead", "run", "held"):
                client.set(keys.job(job_id), text)
            client.set(keys.failure("dead"), text)
            client.set(keys.heartbeat, text)
            for key in (keys.runs("dead"), keys.crashes("dead"), keys.crashes("run"), keys.dead):
                client.rpush(key, text)

        return change

    return map(all_are, TEXTS)


def _times_and_names() -> Iterator[Change]:
    def score(key: str, member: str, at: float) -> Change:
        return lambda client, keys: client.zadd(f"{keys.prefix}:{key}", {member: at})

    def named(text: bytes) -> Change:
        def change(client: redis.Redis, keys: Keys) -> None:
            client.zadd(keys.workers, {text: 1e13})
            client.zadd(keys.schedule_seen, {text: 1e13})
            client.hset(keys.schedule_definitions, text, '{"cron": "* * * * *", "job": "add"}')
            client.sadd(keys.suspects, text)

        return change

    for at in (float("inf"), float("-inf"), 1e300, 1e17, -1e17, 253402300800000.0, -62135596801.0):
        yield score("queue:scheduled", "late", at)
        yield score("workers", "w", at)
        yield score("schedule:seen", "nightly", at)
    yield from map(named, TEXTS)


def _other_types() -> Iterator[Change]:
    def change(key: str) -> Change:
        def replace(client: redis.Redis, keys: Keys) -> None:
            client.delete(f"{keys.prefix}:{key}")
            client.sadd(f"{keys.prefix}:{key}", "a set")

        return replace

    yield from map(
        change,
        ("job:ready", "job:dead", "job:run", "failure:dead", "result:dead", "result:done",
         "runs:dead", "crashes:dead", "worker:w", "claims:w", "schedules:nightly"),
    )  # fmt: skip


def _histories() -> Iterator[Change]:
    def change(step: Any) -> Change:
        def write(client: redis.Redis, keys: Keys) -> None:
            seconds, _ = client.time()
            for period in PERIODS.values():
                key = keys.history(period.step_s, int(seconds) // period.step_s)
                client.set(key, msgspec.msgpack.encode(step))

        return write

    def cell(*values: Any) -> Change:
        return change([["a"], ["p"], [values]])

    yield change("garbage")
    yield change([[], [], [[1, 1, 0, 1, 1, 1, [], []]]])
    yield cell(0, 0, 0, 1, 1, 1, [], [])
    yield cell(2, 1, 0, 1, 1, 1, [], [])
    yield cell(1, 1, -5, 1, 1, 1, [5], [5])
    yield cell(1, 1, 900, 1, 1, 1, [5], [5])
    yield cell(1, 1, 0, 1, 1, 1, [-(2**40), 5], [0])


CHANGES = {
    "fields": _fields,
    "hashes": _hashes,
    "strings and lists": _strings_and_lists,
    "times and names": _times_and_names,
    "other types": _other_types,
    "histories": _histories,
}

PATHS = [
    *("/jobs", "/jobs?state=pending", "/jobs?state=scheduled", "/jobs?state=failed"),
    *("/jobs?pool=p", "/jobs/ready", "/jobs/late", "/jobs/dead", "/jobs/done", "/jobs/run"),
    *("/queues", "/workers", "/pools", "/job-types", "/alerts", "/dead", "/schedules"),
    *("/history", "/history?period=day", "/health", "/metrics"),
]

FORMATS = jsonschema.FormatChecker([])


@FORMATS.checks("date-time")
def _is_timestamp(value: object) -> bool:
    return not isinstance(value, str) or bool(
        re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", value)
    )


def _validators() -> dict[str, Any]:
    """By path, what validates the body of its response."""
    found: dict[str, Any] = {}
    for path in PATHS:
        template = "/jobs/{job_id}" if path.startswith("/jobs/") else path.partition("?")[0]
        content = OPENAPI["paths"][template]["get"]["responses"]["200"]["content"]
        if path != "/metrics":
            schema = content["application/json"]["schema"] | {"components": OPENAPI["components"]}
            found[path] = jsonschema.Draft202012Validator(schema, format_checker=FORMATS)
    return found


@pytest.mark.parametrize("kind", CHANGES)
def test_a_record_of_another_program_fails_no_request(
    http: TestClient,
    client: redis.Redis,
    keys: Keys,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(alerts, "KEEP_S", 0)
    monkeypatch.setattr(history, "REUSE_S", -1)
    records, validators = Records(client, keys), _validators()

    for change in CHANGES[kind]():
        records.store()
        change(client, keys)
        with caplog.at_level(logging.ERROR):
            for path in PATHS:
                response = http.get(path)
                # Without a worker that is understood, nothing runs the ready job.
                if path == "/health" and "no workers running" in response.text:
                    continue
                assert response.status_code in (200, 404), f"{path}: {response.text} {caplog.text}"
                if response.status_code == 200 and path in validators:
                    validators[path].validate(response.json())
        # What `bananas top` and `bananas rescue` read besides.
        ActivityReader(client, keys).read()
        StrandedJobs(client, keys).peek(older_than_ms=1000, limit=10)


def test_a_job_shows_what_can_be_read_of_its_claim(
    http: TestClient, client: redis.Redis, keys: Keys
) -> None:
    Records(client, keys).store()
    client.hset(keys.claims("w"), "run", "not a fence")

    [found] = http.get("/jobs?state=processing").json()["jobs"]
    [worker] = http.get("/workers").json()["workers"]

    assert (found["id"], found["worker_id"], found["started_at"]) == ("run", "w", None)
    assert [(job["id"], job["name"], job["started_at"]) for job in worker["jobs"]] == [
        ("run", "add", None)
    ]
    assert Inspector(client, keys).job("run").started_at is None


def test_a_queue_of_another_type_is_named(
    http: TestClient, client: redis.Redis, keys: Keys
) -> None:
    client.set(keys.dead, "no list")

    response = http.get("/queues")

    assert response.status_code == 503
    assert f"another program has stored: LLEN {keys.dead}: WRONGTYPE" in response.json()["detail"]
