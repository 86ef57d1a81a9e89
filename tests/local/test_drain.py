from __future__ import annotations

import time
from pathlib import Path

import pytest
import redis

from bananas_topology.jobs.bundled_server import BundledServer
from bananas_topology.jobs.connection import connect
from bananas_topology.jobs.inspect import Inspector
from bananas_topology.jobs.keys import Keys
from bananas_topology.local import drain as drain_module
from bananas_topology.local.drain import Drain


def _drain(client: redis.Redis, keys: Keys, *workers: str) -> tuple[Drain, list[str]]:
    shown: list[str] = []
    return Drain(Inspector(client, keys), workers, shown.append, show_every_s=0.0), shown


def _register(client: redis.Redis, keys: Keys, worker: str) -> None:
    client.zadd(keys.workers, {worker: (time.time() + 60) * 1000})
    client.hset(keys.worker(worker), mapping={"pool": "a"})


def test_drain_is_over_after_two_empty_polls(client: redis.Redis, keys: Keys) -> None:
    drain, _ = _drain(client, keys)

    assert [drain.is_over(), drain.is_over()] == [False, True]


@pytest.mark.parametrize("place", ["ready", "scheduled", "running"])
def test_drain_is_not_over_while_any_job_is_left(
    client: redis.Redis, keys: Keys, place: str
) -> None:
    drain, _ = _drain(client, keys)
    if place == "ready":
        client.lpush(keys.queue("low"), "id")
    elif place == "scheduled":
        client.zadd(keys.scheduled, {"id": 1})
    else:
        _register(client, keys, "a-0")
        client.hset(keys.claims("a-0"), "id", "token|source|1")

    assert not any(drain.is_over() for _ in range(5))


def test_new_job_resets_the_count_of_empty_polls(client: redis.Redis, keys: Keys) -> None:
    drain, _ = _drain(client, keys)

    drain.is_over()
    client.lpush(keys.queue("low"), "id")
    drain.is_over()
    client.delete(keys.queue("low"))

    assert [drain.is_over(), drain.is_over()] == [False, True]


def test_drain_waits_for_workers_to_start(client: redis.Redis, keys: Keys) -> None:
    drain, _ = _drain(client, keys, "a-0", "a-1")
    _register(client, keys, "a-0")

    assert not any(drain.is_over() for _ in range(5))
    _register(client, keys, "a-1")

    assert [drain.is_over(), drain.is_over()] == [False, True]


def test_drain_stops_waiting_for_a_worker_that_never_starts(
    client: redis.Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain_module, "STARTUP_TIMEOUT_S", 0.0)

    drain, _ = _drain(client, keys, "a-0")

    assert [drain.is_over(), drain.is_over()] == [False, True]


def test_earlier_jobs_are_not_counted(client: redis.Redis, keys: Keys) -> None:
    client.hset(keys.stats, "completed", 1000)
    client.lpush(keys.dead, "before")
    drain, shown = _drain(client, keys)

    client.hset(keys.stats, "completed", 2234)
    client.lpush(keys.dead, "since")
    client.lpush(keys.queue("high"), *range(5))
    drain.is_over()

    assert (drain.completed, drain.died) == (1234, 1)
    assert shown == ["1,234 completed, 5 ready, 0 running, 1 died"]
    assert drain.summary() == "drained: 1,234 completed, 1 died (see `bananas dead list`)"


def test_outage_neither_ends_the_drain_nor_raises(tmp_path: Path, keys: Keys) -> None:
    with BundledServer(tmp_path, durable=False) as server, connect(server.start()) as client:
        drain, _ = _drain(client, keys)
        drain.is_over()
        server.stop()

        assert not any(drain.is_over() for _ in range(5))


def test_stall_is_logged_once_with_the_unhandled_types(
    client: redis.Redis,
    keys: Keys,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(drain_module, "STALL_WARNING_S", 0.0)
    client.lpush(keys.parked_queue("low", "resize"), "id")
    client.sadd(keys.parked("low"), "resize")
    drain, _ = _drain(client, keys)

    assert not any(drain.is_over() for _ in range(5))

    [record] = caplog.records
    assert vars(record)["job_types"] == "resize"
