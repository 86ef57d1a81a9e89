"""A worker and a server that rejects some of what it is sent: it is not an outage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from bananas_topology.client import Client, NewJob
from bananas_topology.errors import JobFailed, RedisFull, RequestRejected
from bananas_topology.jobs.connection import connect
from bananas_topology.jobs.dead import DeadFilter, DeadJobs
from bananas_topology.jobs.keys import Keys
from tests.jobs.servers import HOST, running, wait_until
from tests.waiting import wait_for
from tests.worker.support import Starter

#: The lowest limit that servers accept for proto-max-bulk-len.
LIMIT = 2**20


@pytest.fixture
def limited_url(tmp_path: Path) -> Iterator[str]:
    """A server that accepts no value larger than `LIMIT`."""
    with running(tmp_path / "limited", "--proto-max-bulk-len", str(LIMIT)) as port:
        url = f"redis://{HOST}:{port}"
        with connect(url) as client:
            wait_until(client.ping)
        yield url


@pytest.fixture
def limited(limited_url: str, prefix: str) -> Iterator[Client]:
    with Client(limited_url, key_prefix=prefix) as client:
        yield client


@pytest.fixture
def starter(start: Starter, limited_url: str) -> Starter:
    start.url = limited_url
    return start


def _store(url: str, keys: Keys, job_id: str, name: str, size: int) -> None:
    """Store a job whose body has nearly `size` bytes, as a client under another limit might."""
    body = f'{{"id":"{job_id}","name":"{name}","payload":"{"x" * (size - 100)}"}}'
    with connect(url) as client:
        client.set(keys.job(job_id), body)
        client.lpush(keys.queue("normal"), job_id)


def test_a_result_that_the_server_rejects_buries_only_its_job(
    starter: Starter, limited: Client
) -> None:
    worker = starter(WORKER_CONCURRENCY="20")
    small = [limited.enqueue("echo", n) for n in range(50)]
    large = limited.enqueue("repeat", {"text": "x", "times": 2 * LIMIT})
    small += [limited.enqueue("echo", n) for n in range(50)]

    with pytest.raises(JobFailed, match=r"result cannot be stored: .*invalid bulk length"):
        limited.wait(large, timeout="20s")

    assert [limited.wait(job_id, timeout="20s") for job_id in small] == [*range(50)] * 2
    assert (limited.get(large).failure or {})["type"] == "InvalidResult"
    assert "connection lost" not in worker.text()
    assert worker.text().count("settlement rejected") == 1


def test_a_connection_that_is_closed_on_a_large_result_buries_only_its_job(
    starter: Starter, limited: Client, limited_url: str
) -> None:
    with connect(limited_url) as client:
        client.config_set("proto-max-bulk-len", 512 * LIMIT)
        client.config_set("client-query-buffer-limit", LIMIT)
    starter(WORKER_CONCURRENCY="20")
    small = [limited.enqueue("echo", n) for n in range(50)]
    large = [limited.enqueue("repeat", {"text": "x", "times": 2 * LIMIT}) for _ in range(2)]
    small += [limited.enqueue("echo", n) for n in range(50)]

    assert [limited.wait(job_id, timeout="30s") for job_id in small] == [*range(50)] * 2
    for job_id in large:
        with pytest.raises(JobFailed, match="result cannot be stored: the server closes"):
            limited.wait(job_id, timeout="60s")
    with pytest.raises(RequestRejected, match="cannot enqueue echo job big of"):
        limited.enqueue("echo", "x" * 2 * LIMIT, id="big")
    assert limited.wait(limited.enqueue("echo", "fine"), timeout="20s") == "fine"


def test_many_rejected_results_are_told_from_the_others(starter: Starter, limited: Client) -> None:
    starter(WORKER_CONCURRENCY="10")
    large, small = [], []
    for n in range(10):
        large.append(limited.enqueue("repeat", {"text": "x", "times": 2 * LIMIT}))
        small += [limited.enqueue("echo", n), limited.enqueue("echo", n)]

    assert [limited.wait(job_id, timeout="30s") for job_id in small] == [
        n for n in range(10) for _ in range(2)
    ]
    for job_id in large:
        with pytest.raises(JobFailed, match="result cannot be stored"):
            limited.wait(job_id, timeout="30s")


@pytest.mark.parametrize(("name", "kind"), [("fail", "ValueError"), ("ask_again", "Retry")])
def test_a_failed_job_that_cannot_be_stored_again_is_buried_with_its_stored_body(
    starter: Starter, limited: Client, limited_url: str, keys: Keys, name: str, kind: str
) -> None:
    with connect(limited_url) as client:
        client.config_set("proto-max-bulk-len", 4 * LIMIT)
        _store(limited_url, keys, "huge", name, 2 * LIMIT)
        stored = client.get(keys.job("huge"))
        client.config_set("proto-max-bulk-len", LIMIT)

    worker = starter()
    ok = limited.enqueue("echo", "fine")

    assert limited.wait(ok, timeout="20s") == "fine"
    with pytest.raises(JobFailed):
        limited.wait("huge", timeout="20s")
    with connect(limited_url) as client:
        assert client.get(keys.job("huge")) == stored
        [dead] = DeadJobs(client, keys).list()
    assert (dead.job_id, dead.error.partition(":")[0]) == ("huge", kind)
    assert "connection lost" not in worker.text()


def test_a_job_that_the_server_rejects_is_an_error_of_its_own(limited: Client) -> None:
    with pytest.raises(RequestRejected, match=r"cannot enqueue echo job big of 2,.* bytes: .*bulk"):
        limited.enqueue("echo", "x" * 2 * LIMIT, id="big")

    assert limited.enqueue("echo", "x", id="small") == "small"


def test_a_batch_is_enqueued_up_to_the_job_that_the_server_rejects(limited: Client) -> None:
    jobs = [NewJob("echo", n, id=f"job-{n}") for n in range(20)]
    jobs[13] = NewJob("echo", "x" * 2 * LIMIT, id="big")

    with pytest.raises(RequestRejected, match="job big of"):
        limited.enqueue_many(jobs)

    assert [limited.get(f"job-{n}").status for n in range(13)] == ["pending"] * 13


def test_a_schedule_with_a_rejected_job_keeps_no_other_from_firing(
    starter: Starter, limited: Client, limited_url: str, keys: Keys
) -> None:
    schedules = (
        '{"a-big":{"cron":"* * * * * *","job":"echo","payload":"%s"},'
        '"small":{"cron":"* * * * * *","job":"echo","payload":1}}' % ("x" * 90_000)
    )
    worker = starter(WORKER_SCHEDULES=schedules, SCHEDULER_INTERVAL="100ms")
    with connect(limited_url) as client:
        client.config_set("maxmemory", 1)
        worker.wait_for_log("schedule rejected", times=2)
        client.config_set("maxmemory", 0)

        wait_for(lambda: client.hget(keys.schedule("small"), "run_count"), 30)
    assert "connection lost" not in worker.text()


def test_dead_jobs_that_the_server_rejects_are_named_and_left(
    limited_url: str, limited: Client, starter: Starter, keys: Keys
) -> None:
    starter()
    with connect(limited_url) as client:
        client.config_set("proto-max-bulk-len", 4 * LIMIT)
        _store(limited_url, keys, "huge", "fail", 2 * LIMIT)
        ids = [limited.enqueue("fail", "no", id=f"job-{n}") for n in range(5)]
        wait_for(lambda: client.llen(keys.dead) == 6)
        for worker in starter.started:
            worker.end()
        client.config_set("proto-max-bulk-len", LIMIT)
        dead = DeadJobs(client, keys)

        retried = dead.retry()

        assert retried.jobs == 5
        assert list(retried.rejected) == ["huge"]
        assert "invalid bulk length" in retried.rejected["huge"]
        assert [job.job_id for job in dead.list()] == ["huge"]
        assert sorted(client.lrange(keys.queue("normal"), 0, -1)) == sorted(map(str.encode, ids))
        assert dead.retry(DeadFilter(job_ids=frozenset(["huge"]))).rejected


@pytest.fixture
def user_url(tmp_path: Path) -> Iterator[str]:
    """A server, and a user `app` there whose permissions are still to be set."""
    with running(tmp_path / "users") as port:
        with connect(f"redis://{HOST}:{port}") as client:
            wait_until(client.ping)
            client.acl_setuser("app", enabled=True, passwords=["+pw"], keys=["*"])
        yield f"redis://app:pw@{HOST}:{port}"


@contextmanager
def _permitted(url: str, prefix: str, *permissions: str) -> Iterator[Client]:
    """A client of a user with everything permitted that it needs."""
    plain = url.replace("app:pw@", "")
    with connect(plain) as admin, Client(plain, key_prefix=prefix) as producer:
        admin.execute_command("ACL", "SETUSER", "app", *permissions)
        yield producer


def test_a_worker_that_may_not_publish_settles_its_jobs(
    start: Starter, user_url: str, prefix: str
) -> None:
    start.url = user_url
    with _permitted(user_url, prefix, "+@all", "resetchannels") as producer:
        worker = start()

        assert producer.wait(producer.enqueue("echo", "fine"), timeout="20s") == "fine"
        with pytest.raises(JobFailed):
            producer.wait(producer.enqueue("fail", "no"), timeout="20s")
    assert "connection lost" not in worker.text()
    worker.wait_for_log("a second late that their job has ended")
    assert "ACL SETUSER app &bananas:*" in worker.text()


def test_a_worker_that_may_not_block_asks_for_jobs(
    start: Starter, user_url: str, prefix: str
) -> None:
    start.url = user_url
    with _permitted(user_url, prefix, "+@all", "-@blocking", "allchannels") as producer:
        worker = start()
        for n in range(3):
            worker.wait_for_log("cannot wait for jobs: asking every 0.9 s instead")
            assert producer.wait(producer.enqueue("echo", n), timeout="20s") == n

    assert worker.text().count("cannot wait for jobs") == 1
    assert worker.text().count("cannot watch queues") == 1
    assert "connection lost" not in worker.text()


def test_what_a_script_may_not_do_is_denied_access(
    start: Starter, user_url: str, prefix: str
) -> None:
    start.url = user_url
    with _permitted(user_url, prefix, "+@all", "-hset", "allchannels"):
        worker = start(ready=False)

        assert worker.process.wait(20) == 1
    assert "denied access" in worker.text()


def test_a_full_server_is_drained(start: Starter, prefix: str, keys: Keys, tmp_path: Path) -> None:
    with (
        running(tmp_path / "full", "--maxmemory", "8mb") as port,
        connect(f"redis://{HOST}:{port}") as client,
        Client(f"redis://{HOST}:{port}", key_prefix=prefix) as producer,
    ):
        wait_until(client.ping)
        with pytest.raises(RedisFull, match="out of memory"):
            producer.enqueue_many(NewJob("echo", "x" * 20_000) for _ in range(1_000))
        queued = client.llen(keys.queue("normal"))
        start.url = f"redis://{HOST}:{port}"

        worker = start(WORKER_CONCURRENCY="4")

        wait_for(lambda: client.hget(keys.stats, "completed") == str(queued).encode(), 20)
        assert "connection lost" not in worker.text()
        _assert_rejects(producer, client)


def _assert_rejects(producer: Client, client: redis.Redis) -> None:
    with pytest.raises(RedisFull):
        producer.enqueue("echo", 1)
    client.config_set("maxmemory", 0)
    assert producer.wait(producer.enqueue("echo", 1), timeout="20s") == 1
