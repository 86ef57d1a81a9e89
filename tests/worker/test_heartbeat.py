"""What a worker publishes about itself, as others read it."""

from __future__ import annotations

from dataclasses import replace

import redis

from bananas_topology import Client, __version__
from bananas_topology.contract.worker import WorkerConfig
from bananas_topology.jobs.keys import Keys
from bananas_topology.jobs.survey import Surveyor, WorkerStatus
from bananas_topology.worker.heartbeat import settings_digest
from tests.waiting import wait_for
from tests.worker.support import Starter


def test_a_heartbeat_says_what_the_worker_has_done_and_what_its_clock_says(
    start: Starter, producer: Client, client: redis.Redis, keys: Keys
) -> None:
    start(WORKER_LEASE="1s")
    for payload in range(3):
        producer.wait(producer.enqueue("echo", payload), timeout=10)
    producer.enqueue("give_up")
    surveyor = Surveyor(client, keys)
    found: list[WorkerStatus] = []

    def has_finished_all() -> bool:
        found[:] = surveyor.survey().live_workers  # none while a paused worker's lease is over
        return [worker.finished for worker in found] == [4]

    wait_for(has_finished_all)

    [worker] = found
    assert worker.failed == 1
    assert worker.version == __version__
    assert worker.settings
    assert worker.busy_ms is not None
    assert worker.clock_ms is not None
    assert abs(worker.clock_ms - worker.seen_ms) < 60_000


def test_equal_settings_have_equal_digests_wherever_the_worker_runs() -> None:
    config = WorkerConfig(handlers=("shop.jobs",), worker_id="pod-1")
    elsewhere = replace(
        config,
        worker_id="pod-2",
        metrics_port=9090,
        liveness_file="/tmp/alive",
        log_format="text",
        redis_url="redis://other",
    )

    assert settings_digest(config) == settings_digest(elsewhere)
    assert settings_digest(config) != settings_digest(replace(config, max_retries=1))
