"""How long jobs and results are kept: by the pool, the handler, and the topology's job types."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import redis

from bananas_topology.client import Client, NewJob
from bananas_topology.errors import JobFailed, JobNotFound
from bananas_topology.jobs.keys import Keys
from tests.waiting import wait_for
from tests.worker.support import Starter

FLOOD = 2_000


def _keys(client: redis.Redis, prefix: str) -> list[bytes]:
    """All keys, without those that come and go with time."""
    found = client.scan_iter(f"{prefix}:*", count=1_000)
    passing = (b":wake:", b":history:", b":watcher")
    return sorted(key for key in set(found) if not any(part in key for part in passing))


def test_a_flood_of_jobs_that_are_not_kept_leaves_nothing(
    start: Starter, producer: Client, client: redis.Redis, prefix: str, keys: Keys
) -> None:
    start(
        KEEP_COMPLETED="0",
        KEEP_DEAD="0s",
        RESULT_BACKEND_TTL_SUCCESS="0",
        RESULT_BACKEND_TTL_FAILURE="0",
    )

    def ended() -> int:
        return sum(int(count or 0) for count in client.hmget(keys.stats, "completed", "failed"))

    left = []
    for turn in range(1, 4):
        producer.enqueue_many(_flood())
        wait_for(partial(_equal, ended, turn * FLOOD), 60)
        left.append(_keys(client, prefix))

    assert left[0] == left[1] == left[2]
    assert len(left[0]) < 10
    assert client.llen(keys.dead) == 0


def _equal(read: Callable[[], int], wanted: int) -> bool:
    return read() == wanted


def _flood() -> list[NewJob]:
    return [NewJob("fail" if n % 10 == 0 else "echo", "x") for n in range(FLOOD)]


def test_the_topology_overrides_the_handler_and_the_handler_the_pool(
    start: Starter, producer: Client, client: redis.Redis, keys: Keys
) -> None:
    start(
        KEEP_COMPLETED="1h",
        RESULT_BACKEND_TTL_SUCCESS="1m",
        WORKER_JOBS='{"forgotten_too":{"keep":{"completed":"2h"}}}',
    )
    pool, handler, topology = (
        producer.enqueue(name, 1) for name in ("echo", "forgotten", "forgotten_too")
    )
    for job_id in (pool, handler, topology):
        assert producer.wait(job_id, timeout="20s") == 1

    ttls = [client.ttl(keys.job(job_id)) for job_id in (pool, handler, topology)]
    assert 3_000 < ttls[0] <= 3_600
    assert ttls[1] == -2, "the handler keeps none"
    assert 6_600 < ttls[2] <= 7_200
    results = [client.ttl(keys.result(job_id)) for job_id in (pool, handler, topology)]
    assert 0 < results[0] <= 60
    assert 60 < results[1] <= 600
    assert 60 < results[2] <= 600


def test_a_dead_job_that_is_not_kept_leaves_its_error_as_a_result(
    start: Starter, producer: Client, client: redis.Redis, keys: Keys
) -> None:
    start(KEEP_DEAD="0")

    job_id = producer.enqueue("fail", "no luck")

    with pytest.raises(JobFailed, match="no luck"):
        producer.wait(job_id, timeout="20s")
    assert client.llen(keys.dead) == 0
    assert not client.exists(keys.job(job_id), keys.failure(job_id))


def test_waiting_for_a_job_of_which_nothing_is_kept_ends(start: Starter, producer: Client) -> None:
    start(KEEP_COMPLETED="0", RESULT_BACKEND_ENABLED="false")

    job_id = producer.enqueue("echo", 1)

    with pytest.raises(JobNotFound):
        producer.wait(job_id, timeout="20s")
