from __future__ import annotations

import enum
import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import msgspec
import pydantic
import pytest
import redis

from bananas_topology.client import BATCH, Client, NewJob
from bananas_topology.errors import (
    InvalidJob,
    JobFailed,
    JobNotFound,
    RedisUnavailable,
    ResultNotFound,
    WaitTimeout,
)
from bananas_topology.jobs.broker import Broker
from bananas_topology.jobs.job import rewrite
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.settlements import AckJob, BuryJob
from bananas_topology.system.clock import format_timestamp, monotonic, sleep, wall_now
from tests.jobs.servers import HOST, Proxy, black_hole, free_port, running, wait_until
from tests.jobs.support import Worker


@dataclass
class Point:
    x: float
    y: float


class Model(pydantic.BaseModel):
    """A model that a producer enqueues."""

    at: date
    x: float | None = None


@pytest.fixture
def producer(server_url: str, keys: Keys) -> Iterator[Client]:
    with Client(server_url, key_prefix=keys.prefix) as producer:
        yield producer


@pytest.fixture
def worker(client: redis.Redis, keys: Keys) -> Worker:
    return Worker(Broker(client, keys))


def _finish(worker: Worker, result: bytes = b"1", error: str = "") -> None:
    """Let the next job end."""
    [claim] = worker.exchange(count=1).claims
    at = format_timestamp(wall_now())
    if error:
        body = rewrite(claim.body or b"", status="failed", attempts=1, error=error, updated_at=at)
        worker.exchange([BuryJob(claim, body, b"{}", error, at, 1)])
    else:
        body = rewrite(claim.body or b"", status="completed", attempts=1, updated_at=at)
        worker.exchange([AckJob(claim, body, result, at, 1)])


def test_an_idempotency_key_is_enqueued_once(
    producer: Client, client: redis.Redis, keys: Keys
) -> None:
    assert producer.enqueue("add", 1, id="order-7") == "order-7"
    assert producer.enqueue("add", 2, id="order-7") == "order-7"

    assert client.llen(keys.queue("normal")) == 1
    assert b'"payload":1' in (client.get(keys.job("order-7")) or b"")


def test_many_jobs_keep_their_order_and_their_ids(
    producer: Client, client: redis.Redis, keys: Keys
) -> None:
    ids = producer.enqueue_many(NewJob("add", i) for i in range(2 * BATCH + 1))

    assert len(set(ids)) == len(ids)
    stored: Any = client.lrange(keys.queue("normal"), 0, -1)
    assert [job_id.decode() for job_id in reversed(stored)] == ids


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"job_type": "a b"},
            "job type: expected 1 to 200 characters without comma or space, got 'a b'",
        ),
        ({"job_type": ""}, "job type: expected 1 to 200 characters without comma or space, got ''"),
        (
            {"job_type": None},
            "job type: expected 1 to 200 characters without comma or space, got None",
        ),
        ({"priority": "urgent"}, "priority: expected one of high, normal, low, got 'urgent'"),
        ({"payload": object()}, "cannot encode the payload of add as JSON"),
        ({"payload": {1: {2: {3, 4}}, "x": float}}, "cannot encode the payload of add as JSON"),
        ({"id": ""}, "id: expected 1 to 512 characters, got 0"),
        ({"max_retries": -1}, "max_retries: expected 0 to 1000, got -1"),
        (
            {"delay": "soon"},
            "delay: expected a duration such as 300ms, 30s, 5m or 1h30m, got 'soon'",
        ),
        ({"delay": ""}, "delay: expected a duration"),
        ({"delay": float("nan")}, "delay: expected a duration"),
        ({"delay": []}, "delay: expected a duration"),
        ({"at": datetime(2030, 1, 1)}, "at: expected a time with a time zone"),
        (
            {"at": "2030-01-01T00:00Z"},
            "at: expected a time with a time zone such as UTC, got '",
        ),
        (
            {"at": datetime.max.replace(tzinfo=UTC)},
            "at: expected a time in the next 100 years, got 9999-12-31T23:59:59.999999+00:00",
        ),
        ({"id": "\ud800"}, "cannot encode the id as JSON: 'utf-8' codec"),
        ({"job_type": "\ud800"}, "cannot encode the job type as JSON: 'utf-8' codec"),
        ({"id": 7}, "id: expected a string or a UUID, got 7"),
        ({"id": b"7"}, "id: expected a string or a UUID, got b'7'"),
        ({"max_retries": "3"}, "max_retries: expected 0 to 1000, got '3'"),
        ({"max_retries": True}, "max_retries: expected 0 to 1000, got True"),
        ({"payload": float("nan")}, "payload of add as JSON: expected a finite number, got nan"),
        (
            {"payload": {"a": [None, Point(1, float("-inf"))]}},
            "expected a finite number at a[1].y, got -inf",
        ),
        ({"delay": "1s", "at": datetime.now(UTC)}, "expected a delay or a time, got both"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_invalid_job_is_rejected_with_what_was_expected(
    producer: Client, client: redis.Redis, keys: Keys, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidJob) as caught:
        producer.enqueue(**{"job_type": "add", **arguments})

    assert message in str(caught.value)
    assert not client.keys(f"{keys.prefix}*")


def test_a_uuid_can_be_an_id(producer: Client, worker: Worker) -> None:
    key = UUID("0b6c0b6c-0000-4000-8000-000000000000")

    assert producer.enqueue("add", id=key) == str(key)

    _finish(worker)
    assert producer.wait(key, timeout=10) == 1
    assert producer.get(key).status == "completed"
    assert producer.results([key]) == {str(key): 1}


class Text(str, enum.Enum):  # noqa: UP042  (as users have)
    """Not a StrEnum, whose members turn into their values in any text."""

    TYPE = "add"
    ID = "welcome"
    PRIORITY = "high"


def test_members_of_an_enum_stand_for_their_values(
    producer: Client, client: redis.Redis, keys: Keys
) -> None:
    job_id = producer.enqueue(Text.TYPE, id=Text.ID, priority=Text.PRIORITY)

    assert (job_id, type(job_id)) == ("welcome", str)
    assert client.lrange(keys.queue("high"), 0, -1) == [b"welcome"]
    assert producer.get(Text.ID).body == producer.get("welcome").body
    producer.cancel(Text.ID)


def test_a_timeout_that_is_no_duration_is_named(producer: Client) -> None:
    with pytest.raises(ValueError, match=r"timeout: expected a duration .*, got 'soon'"):
        producer.wait("welcome", timeout="soon")


def test_a_payload_may_hold_nulls_and_pydantic_models(
    producer: Client, client: redis.Redis, keys: Keys
) -> None:
    job_id = producer.enqueue("add", [None, Model(at=date(2030, 1, 31)), msgspec.Raw(b"null")])

    body: Any = client.get(keys.job(job_id))
    assert json.loads(body)["payload"] == [None, {"at": "2030-01-31", "x": None}, None]


@pytest.mark.parametrize("delay", [-1, -0.5, "-5m", timedelta(seconds=-1), 0], ids=repr)
def test_a_job_whose_delay_has_passed_is_ready(producer: Client, delay: Any) -> None:
    assert producer.get(producer.enqueue("add", delay=delay)).status == "pending"


@pytest.mark.parametrize(
    "at",
    [
        datetime(2020, 1, 1, tzinfo=UTC),
        datetime.min.replace(tzinfo=timezone(timedelta(hours=14))),
    ],
    ids=str,
)
def test_a_job_whose_time_has_passed_needs_no_scheduler(producer: Client, at: datetime) -> None:
    assert producer.get(producer.enqueue("add", at=at)).status == "pending"


@pytest.mark.parametrize("delay", ["90s", 90, timedelta(seconds=90)], ids=repr)
def test_a_delayed_job_is_due_by_the_servers_clock(
    producer: Client, client: redis.Redis, keys: Keys, delay: Any
) -> None:
    job_id = producer.enqueue("add", delay=delay)

    seconds, micros = client.time()
    due = client.zscore(keys.scheduled, job_id)
    assert due == pytest.approx(seconds + micros / 1e6 + 90, abs=10)
    assert producer.get(job_id).status == "scheduled"


@pytest.mark.parametrize(
    ("stored", "expected"),
    [(b"null", None), (b"0", 0), (b'""', ""), (b"[]", []), (b"false", False)],
)
def test_wait_returns_a_result_that_is_already_stored(
    producer: Client, worker: Worker, stored: bytes, expected: Any
) -> None:
    job_id = producer.enqueue("add")
    _finish(worker, stored)

    assert producer.wait(job_id, timeout="10s") == expected


def test_waiting_for_a_result_that_has_expired_is_an_error_of_its_own(
    producer: Client, worker: Worker, client: redis.Redis, keys: Keys
) -> None:
    job_id = producer.enqueue("add")
    _finish(worker)
    client.delete(keys.result(job_id))

    with pytest.raises(ResultNotFound, match=f"job {job_id} has completed, but its result"):
        producer.wait(job_id, timeout="10s")


def test_a_timeout_that_has_passed_reads_the_job_once(producer: Client, worker: Worker) -> None:
    job_id = producer.enqueue("add")

    with pytest.raises(WaitTimeout):
        producer.wait(job_id, timeout=-1)
    _finish(worker)
    assert producer.wait(job_id, timeout=-1) == 1


def test_wait_returns_on_notification_without_polling(producer: Client, worker: Worker) -> None:
    waits: list[float] = []
    for _ in range(3):
        job_id = producer.enqueue("add")
        timer = threading.Timer(0.1, _finish, (worker,))
        timer.start()
        started = monotonic()
        assert producer.wait(job_id, timeout="20s") == 1
        waits.append(monotonic() - started)
        timer.join()

    assert min(waits) < 0.6


def test_wait_raises_if_there_is_no_result(producer: Client, worker: Worker) -> None:
    job_id = producer.enqueue("add")
    with pytest.raises(WaitTimeout, match=f"job {job_id} is still pending after 50ms"):
        producer.wait(job_id, timeout="50ms")
    _finish(worker, error="division by zero")

    with pytest.raises(JobFailed, match="division by zero"):
        producer.wait(job_id)
    with pytest.raises(JobNotFound, match='no job has the id "nobody"'):
        producer.wait("nobody")


def test_results_are_those_of_completed_jobs(producer: Client, worker: Worker) -> None:
    ids = [producer.enqueue("add") for _ in range(3)]
    _finish(worker, b"[1]")
    _finish(worker, error="no")

    assert producer.results(ids) == {ids[0]: [1]}


def test_a_lost_reply_does_not_enqueue_a_job_twice(
    server_url: str, client: redis.Redis, keys: Keys
) -> None:
    seen: list[bool | None] = []

    def lose_every_other(data: bytes) -> bool | None:
        if b"EVALSHA" not in data:
            return True
        seen.append(None if len(seen) % 2 == 0 else True)
        return seen[-1]

    proxy = Proxy(int(server_url.rpartition(":")[2]), on_request=lose_every_other)
    with Client(f"redis://{HOST}:{proxy.port}", key_prefix=keys.prefix) as producer:
        ids = [producer.enqueue("add", i) for i in range(5)]
        many = producer.enqueue_many(NewJob("add", i) for i in range(5))
    proxy.close()

    assert seen.count(None) >= 5
    stored: Any = client.lrange(keys.queue("normal"), 0, -1)
    assert [job_id.decode() for job_id in reversed(stored)] == ids + many


def test_an_unreachable_server_is_a_clear_error(keys: Keys) -> None:
    port = free_port()

    with (
        Client(f"redis://:secret@{HOST}:{port}", key_prefix=keys.prefix) as producer,
        pytest.raises(RedisUnavailable) as caught,
    ):
        producer.enqueue("add")

    assert str(caught.value) == f"cannot reach Redis at {HOST}:{port}: Connection refused"


CALLS: list[Callable[[Client], Any]] = [
    lambda client: client.enqueue("add"),
    lambda client: client.enqueue_many([NewJob("add"), NewJob("add")]),
    lambda client: client.get("a"),
    lambda client: client.results(["a"]),
    lambda client: client.wait("a", timeout="500ms"),
    lambda client: client.wait("a"),
]


@pytest.mark.parametrize("call", CALLS, ids=range(len(CALLS)))
@pytest.mark.parametrize("accepts", [True, False], ids=["no reply", "no connection"])
def test_a_server_that_does_not_reply_is_an_error_within_seconds(
    call: Callable[[Client], Any], accepts: bool
) -> None:
    # Twice 1.5 s at most; all the retries would take more than 7 s.
    with black_hole(accepts=accepts) as port, Client(f"redis://localhost:{port}") as producer:
        started = monotonic()
        with pytest.raises(RedisUnavailable, match=f"cannot reach Redis at localhost:{port}"):
            call(producer)

    assert monotonic() - started < 7


def test_a_connection_that_falls_silent_is_an_error_within_seconds(
    server_url: str, keys: Keys
) -> None:
    is_silent = threading.Event()

    def hold(data: bytes) -> bool:
        while is_silent.is_set():
            sleep(0.01)
        return True

    proxy = Proxy(int(server_url.rpartition(":")[2]), on_request=hold)
    with Client(f"redis://{HOST}:{proxy.port}", key_prefix=keys.prefix) as producer:
        producer.enqueue("add")
        is_silent.set()
        started = monotonic()
        try:
            with pytest.raises(RedisUnavailable, match=r"no reply in 1\.5 s"):
                producer.enqueue("add")
            assert monotonic() - started < 7
        finally:
            is_silent.clear()
    proxy.close()


def test_waiting_goes_on_after_a_lost_connection(
    producer: Client, client: redis.Redis, keys: Keys, worker: Worker
) -> None:
    job_id = producer.enqueue("add")
    results: list[Any] = []
    waiting = threading.Thread(target=lambda: results.append(producer.wait(job_id, timeout="20s")))
    waiting.start()
    for _ in range(2):
        wait_until(lambda: client.pubsub_numsub(keys.notify(job_id))[0][1] == 1)
        client.client_kill_filter(_type="pubsub")
    _finish(worker, b"[1]")
    waiting.join(20)

    assert results == [[1]]


def test_a_client_survives_a_restart_of_its_server(
    tmp_path_factory: pytest.TempPathFactory, keys: Keys
) -> None:
    port = free_port()
    with Client(f"redis://{HOST}:{port}", key_prefix=keys.prefix) as producer:
        for life in range(2):
            with running(tmp_path_factory.mktemp("server"), port=port):
                wait_until(lambda: redis.Redis(port=port).ping())
                job_id = producer.enqueue("add", life)
                assert producer.get(job_id).status == "pending"


def test_threads_share_a_client(producer: Client, client: redis.Redis, keys: Keys) -> None:
    def work(number: int) -> None:
        for i in range(50):
            job_id = f"{number}-{i}"
            assert producer.enqueue("add", "x" * i * 100, id=job_id) == job_id

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert client.llen(keys.queue("normal")) == 400


def test_a_forked_child_does_not_use_its_parents_connection(
    producer: Client, client: redis.Redis, keys: Keys
) -> None:
    producer.enqueue("add", "before")

    child = os.fork()
    if child == 0:
        try:
            for _ in range(50):
                producer.enqueue("add", "child")
        finally:
            os._exit(0)
    for _ in range(50):
        producer.enqueue("add", "parent")
    os.waitpid(child, 0)

    assert client.llen(keys.queue("normal")) == 101
