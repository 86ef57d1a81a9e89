"""The worker as a process: what it logs, what it leaves in Redis, how it exits."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import redis

from bananas_topology.client import Client, NewJob
from bananas_topology.errors import JobFailed
from bananas_topology.jobs.bundled_server import BundledServer
from bananas_topology.jobs.connection import connect
from bananas_topology.jobs.inspect import Inspector
from bananas_topology.jobs.keys import Keys
from bananas_topology.system.signals import DEBOUNCE_S
from tests.waiting import wait_for
from tests.worker.support import Gate, Starter


def _attempts(client: redis.Redis, keys: Keys, job_id: str) -> int:
    body: Any = client.get(keys.job(job_id))
    attempts: int = json.loads(body)["attempts"]
    return attempts


def _held(client: redis.Redis, keys: Keys, worker_id: str = "w0") -> int:
    return int(client.hlen(keys.claims(worker_id)))


@pytest.mark.parametrize(
    ("job_type", "payload", "result"),
    [
        ("echo", {"a": [1, None, "ü"]}, {"a": [1, None, "ü"]}),
        ("echo", 0, 0),
        ("mail", {"to": "ada", "copies": 2}, "2 to ada"),
        ("async_sleep", 0.01, 0.01),
        ("wrapped_async", 0.01, [0.01, 1]),
        ("run_async", 0.01, "done"),
    ],
)
def test_the_result_of_a_handler_is_returned(
    start: Starter, producer: Client, job_type: str, payload: Any, result: Any
) -> None:
    start(WORKER_JOBS='{"wrapped_async":{"timeout":"1m"}}')

    assert producer.wait(producer.enqueue(job_type, payload), timeout=10) == result


@pytest.mark.parametrize("concurrency", ["1", "4"])
def test_exceptions_of_handlers_affect_no_other_job(
    start: Starter, producer: Client, concurrency: str
) -> None:
    worker = start(WORKER_CONCURRENCY=concurrency)
    expected = {
        "fail": ("is wrong", "is wrong"),
        "ask_again": (None, "not yet"),
        "give_up": (None, "no use"),
        "leave": ("exit", "3"),
        "odd_error": (None, "message unavailable"),
        "surrogates": (None, "is a surrogate"),
        "deep": (None, "recursion"),
        "not_json": (None, "as JSON"),
        "mail": ({"copies": 1}, "to"),
        "late": (None, "timeout of 100 ms"),
        "async_late": (None, "timeout of 100 ms"),
        "wrapped_async": (30.0, "timeout of 1000 ms"),
        "late_coroutine": (None, "timeout of 200 ms"),
        "async_fail": ("is wrong", "is wrong"),
    }

    ids = {name: producer.enqueue(name, payload) for name, (payload, _) in expected.items()}
    ids["interrupt"] = producer.enqueue("leave", "interrupt")

    for name, (_, message) in expected.items():
        with pytest.raises(JobFailed, match=message):
            producer.wait(ids[name], timeout=20)
    with pytest.raises(JobFailed):
        producer.wait(ids["interrupt"], timeout=20)
    assert producer.wait(producer.enqueue("echo", "alive"), timeout=10) == "alive"
    assert worker.end() == 0


def test_a_handler_gets_the_context_of_its_run(start: Starter, producer: Client) -> None:
    worker = start()

    job_id = producer.enqueue("who", None, max_retries=7)

    assert producer.wait(job_id, timeout=10) == {
        "job_id": job_id,
        "attempt": 1,
        "max_retries": 7,
        "worker_id": "w0",
        "remaining": True,
        "cancelled": False,
        "pid": worker.process.pid,
    }


def test_async_handlers_take_slots(start: Starter, producer: Client) -> None:
    start(WORKER_CONCURRENCY="5")
    began = time.monotonic()

    ids = producer.enqueue_many(NewJob("meet", 0.5) for _ in range(10))

    # Five at a time: none of them ends before it has met four others.
    assert max(producer.wait(job_id, timeout=20) for job_id in ids) == 5
    assert time.monotonic() - began >= 1.0


def test_a_stopping_worker_finishes_running_jobs_and_releases_the_rest(
    start: Starter, producer: Client, client: redis.Redis, keys: Keys, gate: Gate
) -> None:
    worker = start(WORKER_CONCURRENCY="2")
    ids = producer.enqueue_many(NewJob("hold", gate.payload) for _ in range(6))
    gate.wait_for(2)

    worker.send(signal.SIGTERM)
    worker.wait_for_log("worker stopping")
    gate.open()

    assert worker.process.wait(20) == 0
    assert [producer.get(job_id).status for job_id in ids] == ["completed"] * 2 + ["pending"] * 4
    # In their original order, the next one at the right.
    queued: Any = client.lrange(keys.queue("normal"), 0, -1)
    assert [job_id.decode() for job_id in reversed(queued)] == ids[2:]
    assert not client.exists(keys.claims("w0"), keys.worker("w0"))
    assert client.zcard(keys.workers) == 0


@pytest.mark.parametrize("job_type", ["sleep", "async_sleep"])
def test_jobs_that_exceed_the_grace_period_are_released_without_an_attempt(
    start: Starter, producer: Client, client: redis.Redis, keys: Keys, job_type: str
) -> None:
    worker = start(WORKER_GRACE="300ms")
    job_id = producer.enqueue(job_type, 30.0)
    wait_for(lambda: _held(client, keys) == 1)

    assert worker.end() == 0

    assert client.lrange(keys.queue("normal"), 0, -1) == [job_id.encode()]
    assert _attempts(client, keys, job_id) == 0


@pytest.mark.parametrize("first", [signal.SIGQUIT, signal.SIGTERM])
def test_sigquit_or_a_second_signal_stops_immediately(
    start: Starter, producer: Client, client: redis.Redis, keys: Keys, first: signal.Signals
) -> None:
    worker = start()
    job_id = producer.enqueue("sleep", 30.0)
    wait_for(lambda: _held(client, keys) == 1)
    if first == signal.SIGTERM:
        worker.send(first)
        worker.wait_for_log("worker stopping")
        stopping_at = time.monotonic()
        wait_for(lambda: time.monotonic() - stopping_at > DEBOUNCE_S)

    code = worker.end(first)

    assert code == 128 + first
    assert client.lrange(keys.queue("normal"), 0, -1) == [job_id.encode()]


def test_signals_in_quick_succession_count_as_one(
    start: Starter, producer: Client, gate: Gate
) -> None:
    worker = start()
    job_id = producer.enqueue("hold", gate.payload)
    gate.wait_for(1)

    worker.send(signal.SIGSTOP)  # so that they arrive together
    worker.send(signal.SIGTERM)
    worker.send(signal.SIGINT)
    worker.send(signal.SIGCONT)
    worker.wait_for_log("worker stopping")
    gate.open()

    assert worker.process.wait(20) == 0
    assert producer.get(job_id).status == "completed"


def test_sigusr1_logs_the_stack_of_every_thread(
    start: Starter, producer: Client, gate: Gate
) -> None:
    worker = start()
    producer.enqueue("hold", gate.payload)
    gate.wait_for(1)

    worker.send(signal.SIGUSR1)

    worker.wait_for_log("thread_name=MainThread")
    worker.wait_for_log("in hold")
    assert worker.process.poll() is None


def test_a_handler_that_ignores_its_timeout_is_settled_and_the_worker_restarts(
    start: Starter, producer: Client
) -> None:
    worker = start(WORKER_CONCURRENCY="1", WORKER_GRACE="100ms")
    job_id = producer.enqueue("ignore_timeout", 60.0)

    with pytest.raises(JobFailed, match="timeout"):
        producer.wait(job_id, timeout=10)

    assert worker.process.wait(20) == 75
    assert "too few slots left" in worker.text()


def test_a_worker_with_half_of_its_slots_stuck_says_so_once_and_goes_on(
    start: Starter, producer: Client, client: redis.Redis, keys: Keys
) -> None:
    worker = start(WORKER_CONCURRENCY="2", WORKER_LEASE="1s", WORKER_GRACE="1s")
    job_id = producer.enqueue("ignore_timeout", 60.0)

    message = "half of the slots lost"
    worker.wait_for_log(message)

    worker.wait_for_log(f'stuck=1 left=1 jobs="ignore_timeout {job_id}"')
    inspector = Inspector(client, keys)
    wait_for(lambda: [view.stuck for view in inspector.workers()] == [1])
    assert producer.wait(producer.enqueue("sleep", 2.0), timeout="20s") == 2.0
    assert worker.text().count(message) == 1
    assert worker.end() == 0


def test_a_slot_is_freed_when_a_timed_out_handler_ends(
    start: Starter, producer: Client, tmp_path: Path
) -> None:
    start(
        WORKER_HANDLERS="stop_jobs",
        WORKER_CONCURRENCY="1",
        WORKER_JOBS='{"stubborn":{"timeout":"100ms","max_retries":0}}',
    )
    file, end = tmp_path / "notes", tmp_path / "end"
    job_id = producer.enqueue("stubborn", {"file": str(file), "until": str(end)})
    with pytest.raises(JobFailed, match="timeout"):
        producer.wait(job_id, timeout=10)

    end.touch()

    assert producer.wait(producer.enqueue("print_lines", 0), timeout=10) == 0


def test_a_worker_waits_for_a_server_that_is_not_up_yet(start: Starter) -> None:
    worker = start(ready=False, REDIS_URL="redis://127.0.0.1:1")

    worker.wait_for_log("waiting for Redis: cannot reach Redis at 127.0.0.1:1")

    assert worker.end() == 0


def test_invalid_settings_are_reported_one_per_line(start: Starter) -> None:
    worker = start(ready=False, WORKER_CONCURRENCY="many", WORKER_PRIORITIES="hihg")

    assert worker.process.wait(20) == 2
    assert worker.text().splitlines() == [
        'error: WORKER_CONCURRENCY is "many": expected an integer from 1 to 1000',
        'error: WORKER_PRIORITIES is "hihg": '
        "invalid priority: hihg (must be one of: high, normal, low)",
    ]


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({"WORKER_HANDLERS": "nowhere"}, "error: no module named nowhere"),
        (
            {"WORKER_HANDLERS": "json"},
            "error: module json has no handlers: mark its functions with @job",
        ),
        (
            {"WORKER_SCHEDULES": '{"x":{"cron":"61 * * * *","job":"echo"}}'},
            'error: WORKER_SCHEDULES: x: cron is "61 * * * *"',
        ),
        (
            {"WORKER_SCHEDULES": '{"x":{"cron":"0 0 30 2 *","job":"echo","timezone":"Mars/X"}}'},
            'error: WORKER_SCHEDULES: x: timezone is "Mars/X"',
        ),
    ],
)
def test_invalid_handlers_and_schedules_end_the_worker_at_boot(
    start: Starter, variables: dict[str, str], line: str
) -> None:
    worker = start(ready=False, **variables)

    assert worker.process.wait(20) == 2
    assert worker.text().startswith(line)
    assert "Traceback" not in worker.text()


def test_a_wrong_password_is_reported_in_one_line_at_boot(start: Starter, server_url: str) -> None:
    url = server_url.replace("redis://", "redis://nobody:s3cret@")

    worker = start(ready=False, REDIS_URL=url)

    assert worker.process.wait(20) == 1
    assert worker.text().startswith("error: Redis at ")
    assert len(worker.text().splitlines()) == 1
    assert "s3cret" not in worker.text()


def test_a_worker_survives_a_change_of_its_password(
    start: Starter, producer: Client, client: redis.Redis, prefix: str, server_url: str
) -> None:
    user = f"user-{prefix}"
    # redis-py does not annotate this method.
    client.execute_command("ACL", "SETUSER", user, "on", ">one", "~*", "&*", "+@all")  # type: ignore[no-untyped-call]
    worker = start(REDIS_URL=server_url.replace("redis://", f"redis://{user}:one@"))

    client.execute_command("ACL", "SETUSER", user, "resetpass", ">two")  # type: ignore[no-untyped-call]
    client.execute_command("CLIENT", "KILL", "USER", user)  # type: ignore[no-untyped-call]
    worker.wait_for_log("connection lost")
    job_id = producer.enqueue("echo", 1)
    client.execute_command("ACL", "SETUSER", user, ">one")  # type: ignore[no-untyped-call]

    assert producer.wait(job_id, timeout=10) == 1
    worker.wait_for_log("connection restored")
    client.execute_command("ACL", "DELUSER", user)  # type: ignore[no-untyped-call]


def test_a_job_of_another_client_is_found_by_polling(
    start: Starter, client: redis.Redis, keys: Keys
) -> None:
    start()
    body = (
        '{"id":"go-1","name":"echo","payload":{"to":"a@b.c"},"status":"pending",'
        '"priority":"high","created_at":"2025-11-10T12:00:00.123456789Z",'
        '"updated_at":"2025-11-10T12:00:00.123456789Z","attempts":0,"max_retries":3}'
    )
    client.set(keys.job("go-1"), body)
    client.lpush(keys.queue("high"), "go-1")

    wait_for(lambda: client.hget(keys.result("go-1"), "status") == b"completed")

    assert client.hget(keys.result("go-1"), "result") == b'{"to":"a@b.c"}'


def test_unreadable_jobs_are_buried_unchanged(
    start: Starter, client: redis.Redis, keys: Keys
) -> None:
    start()
    for number, body in enumerate((b"\xff{", b"[]", b'{"id":"x","name":7}')):
        client.set(keys.job(f"bad-{number}"), body)
        client.lpush(keys.queue("normal"), f"bad-{number}")
    client.lpush(keys.queue("normal"), "gone")

    wait_for(lambda: client.llen(keys.dead) == 4)

    assert client.get(keys.job("bad-0")) == b"\xff{"
    assert client.ttl(keys.job("bad-0")) == -1


def test_an_urgent_job_overtakes_prefetched_ones(
    start: Starter, producer: Client, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    low = {"file": str(ran), "text": "low", "seconds": 0.001}
    producer.enqueue_many(NewJob("mark", low, priority="low") for _ in range(2000))
    worker = start(WORKER_CONCURRENCY="2")
    wait_for(lambda: ran.exists() and ran.read_text().count("low") > 50)

    worker.send(signal.SIGSTOP)  # while they are counted
    before = ran.read_text().count("\n")
    urgent = producer.enqueue("mark", {"file": str(ran), "text": "high"}, priority="high")
    worker.send(signal.SIGCONT)
    producer.wait(urgent, timeout=10)

    after = ran.read_text().splitlines().index("high")
    assert after - before < 500


def test_a_delayed_job_is_promoted_by_any_worker_with_a_scheduler(
    start: Starter, producer: Client
) -> None:
    start(ENABLE_SCHEDULER="false")
    job_id = producer.enqueue("echo", "later", delay="100ms")
    time.sleep(0.3)
    assert producer.get(job_id).status == "scheduled"

    scheduler = start(WORKER_MODE="scheduler-only", WORKER_HANDLERS="", SCHEDULER_INTERVAL="200ms")

    assert producer.wait(job_id, timeout=10) == "later"
    assert scheduler.end() == 0
    start(SCHEDULER_INTERVAL="200ms")
    assert producer.wait(producer.enqueue("echo", 2, delay="100ms"), timeout=10) == 2


def test_a_schedule_fires_in_a_running_worker(
    start: Starter, client: redis.Redis, keys: Keys
) -> None:
    start(WORKER_SCHEDULES='{"s":{"cron":"* * * * * *","job":"echo","payload":1}}')

    wait_for(lambda: int(client.hget(keys.schedule("s"), "run_count") or 0) >= 2)


def test_a_draining_worker_leaves_schedules_alone(
    start: Starter, producer: Client, client: redis.Redis, keys: Keys
) -> None:
    def run_count() -> int:
        return int(client.hget(keys.schedule("s"), "run_count") or 0)

    def cron() -> Any:
        return client.hget(keys.schedule("s"), "cron")

    worker = start(WORKER_SCHEDULES='{"s":{"cron":"* * * * * *","job":"echo"}}')
    wait_for(lambda: run_count() >= 1)
    producer.enqueue("sleep", 4.0)
    wait_for(lambda: _held(client, keys) == 1)

    worker.send(signal.SIGTERM)

    worker.wait_for_log("worker stopping")
    before = run_count()
    start(WORKER_SCHEDULES='{"s":{"cron":"0 0 1 1 *","job":"echo"}}')
    wait_for(lambda: cron() == b"0 0 1 1 * UTC")
    assert worker.process.wait(20) == 0
    assert (run_count(), cron()) == (before, b"0 0 1 1 * UTC")


def test_jobs_without_a_handler_stay_queued(
    start: Starter, producer: Client, client: redis.Redis, keys: Keys
) -> None:
    worker = start(WORKER_MODE="job-specialized", WORKER_JOB_TYPES="unknown")
    assert "no handler for some job types" in worker.text()

    job_id = producer.enqueue("unknown", None)
    other = producer.enqueue("echo", None)
    start()

    assert producer.wait(other, timeout=10) is None
    assert producer.get(job_id).status == "pending"
    assert worker.end() == 0


def test_a_stalled_server_does_not_delay_signals(start: Starter, tmp_path: Path) -> None:
    with BundledServer(tmp_path / "server", durable=False) as server:
        url = server.start()
        with connect(url) as client:
            info: Any = client.info("server")
            # The lease is renewed every 0.3 s, so the worker soon waits for a reply.
            worker = start(REDIS_URL=url, WORKER_LEASE="1s")
            with Client(url, key_prefix=start.prefix) as producer:
                producer.enqueue("sleep", 60.0)
                wait_for(lambda: client.hlen(Keys(start.prefix).claims("w0")) == 1)

            os.kill(info["process_id"], signal.SIGSTOP)
            try:
                worker.wait_for_log("connection lost", within_s=60)
                code = worker.end(signal.SIGQUIT)
            finally:
                os.kill(info["process_id"], signal.SIGCONT)

    assert code == 128 + signal.SIGQUIT


def test_prefetched_jobs_that_wait_too_long_go_to_another_worker(
    start: Starter, producer: Client, gate: Gate
) -> None:
    start(WORKER_CONCURRENCY="1")
    quick = producer.enqueue_many(NewJob("echo", n) for n in range(2000))
    slow = producer.enqueue_many(NewJob("hold", gate.payload) for _ in range(4))
    producer.wait(quick[-1], timeout=20)

    start(WORKER_CONCURRENCY="3")

    # In parallel, not one after another in the worker that had prefetched them.
    gate.wait_for(4)
    gate.open()
    assert [producer.wait(job_id, timeout=20) for job_id in slow] == ["done"] * 4


def test_a_worker_whose_id_is_taken_stops(start: Starter) -> None:
    first = start(WORKER_ID="same", WORKER_LEASE="1s")

    start(WORKER_ID="same", WORKER_LEASE="1s")

    assert first.process.wait(20) == 0
    assert "worker id taken by another process" in first.text()


def test_a_worker_accepts_the_variables_of_the_go_implementation(
    start: Starter, producer: Client
) -> None:
    start(
        WORKER_MODE="job-specialized",
        WORKER_CONCURRENCY="10",
        WORKER_PRIORITIES="high,normal,low",
        WORKER_JOB_TYPES="echo,generate_report",
        ENABLE_SCHEDULER="false",
        SCHEDULER_INTERVAL="1s",
        JOB_TIMEOUT="5m",
        MAX_RETRIES="3",
        LOG_LEVEL="info",
        LOG_CONSOLE_ENABLED="true",
        LOG_FILE_ENABLED="false",
    )

    assert producer.wait(producer.enqueue("echo", "hello"), timeout=10) == "hello"
