"""What differs between what runs and a topology, and what that means to its processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from bananas_topology.local.deployment import Deployment, deploy
from bananas_topology.local.difference import Changed, Difference, difference
from bananas_topology.local.settings import Settings
from bananas_topology.local.takers import Taker
from bananas_topology.supervisor.plan import ChildPlan, Host
from tests.conftest import MakeTopology

BASE = """\
handlers: [jobs]
jobs:
  mail: {timeout: 30s}
schedules:
  nightly: {cron: "0 2 * * *", job: mail}
pools:
  worker: {mode: default, replicas: 2, scheduler: true, env: {TOKEN: old}}
  low: {mode: specialized, priorities: [low]}
"""


class Setup:
    """What runs is the topology `BASE`."""

    def __init__(self, make: MakeTopology) -> None:
        self._make = make
        self.running = self.deploy(BASE)
        self.live: dict[str, list[ChildPlan]] = {
            pool: [self.running.plan(pool, index) for index in range(count)]
            for pool, count in self.running.counts.items()
        }

    def deploy(self, text: str, scale: Mapping[str, int] | None = None) -> Deployment:
        settings = Settings("topology.yaml", scale=scale or {})
        return deploy(self._make(text), settings, Host({"HOME": "/h"}, "redis://h"))

    def differ(self, *edits: tuple[str, str]) -> Difference:
        text = BASE
        for before, after in edits:
            assert before in text
            text = text.replace(before, after)
        return difference(self.running, self.live, self.deploy(text))


@pytest.fixture
def setup(make_topology: MakeTopology) -> Setup:
    return Setup(make_topology)


def _pool(found: Difference, name: str) -> dict[str, Any]:
    [pool] = [each for each in found.to_json()["pools"] if each["pool"] == name]
    return dict(pool)


def test_nothing_differs_from_what_was_started(setup: Setup) -> None:
    assert setup.differ().is_empty


def test_scaled_pool_keeps_its_processes(setup: Setup) -> None:
    pool = _pool(setup.differ(("replicas: 2", "replicas: 4")), "worker")

    assert (pool["before"], pool["after"], pool["replaced"], pool["settings"]) == (2, 4, 0, ())


def test_pool_scaled_by_hand_differs_from_the_file(setup: Setup) -> None:
    setup.live["worker"].append(setup.running.plan("worker", 2))

    pool = _pool(setup.differ(), "worker")

    assert (pool["before"], pool["after"], pool["replaced"]) == (3, 2, 0)


def test_changed_settings_are_named_with_the_values_of_what_runs(setup: Setup) -> None:
    found = setup.differ(
        ("replicas: 2", "replicas: 2, concurrency: 20, job_timeout: 1m"), ("old", "s3cret")
    )

    assert [each.pool for each in found.pools] == ["worker"]
    assert found.pools[0].replaced == 2
    assert Changed("concurrency", "10", "20") in found.pools[0].settings
    assert Changed("job_timeout", "5m", "1m") in found.pools[0].settings
    assert Changed("env.TOKEN", "", "") in found.pools[0].settings
    assert "s3cret" not in str(found)


def test_only_some_processes_may_be_outdated(setup: Setup) -> None:
    setup.live["worker"][1] = replace(setup.live["worker"][1], env={})

    assert _pool(setup.differ(), "worker")["replaced"] == 1


def test_renamed_pool_is_one_removed_and_one_added(setup: Setup) -> None:
    found = setup.differ(("  low:", "  slow:"))

    added, removed = _pool(found, "slow"), _pool(found, "low")
    assert (added["is_added"], added["before"], added["after"]) == (True, 0, 1)
    assert (removed["is_removed"], removed["before"], removed["after"]) == (True, 1, 0)


def test_schedule_concerns_only_pools_with_a_scheduler(setup: Setup) -> None:
    found = setup.differ(("0 2 * * *", "0 3 * * *"))

    assert found.schedules == (Changed("nightly.cron", "0 2 * * *", "0 3 * * *"),)
    assert [each.pool for each in found.pools] == ["worker"]


def test_job_settings_and_entries_are_compared_one_by_one(setup: Setup) -> None:
    found = setup.differ(
        (
            "{timeout: 30s}",
            "{timeout: 1m, priority: low}\n  report: {max_retries: 1, keep: {dead: 2h}}",
        ),
        ('  nightly: {cron: "0 2 * * *", job: mail}', '  daily: {cron: "0 2 * * *", job: mail}'),
    )

    assert found.jobs == (
        Changed("mail.priority", None, "low"),
        Changed("mail.timeout", "30s", "1m"),
        Changed("report", None, "max_retries 1 keep.dead 2h"),
    )
    assert found.schedules == (
        Changed("daily", None, "0 2 * * * mail"),
        Changed("nightly", "0 2 * * * mail", None),
    )


def test_pool_with_no_process_takes_no_jobs(setup: Setup) -> None:
    everything = Taker(frozenset(("high", "normal", "low")), None)

    assert setup.running.takers.takers == (everything, Taker(frozenset(("low",)), None))
    assert setup.running.takers.has_scheduler
    scaled = setup.deploy(BASE, {"worker": 0}).takers
    assert (scaled.takers, scaled.has_scheduler) == ((Taker(frozenset(("low",)), None),), False)
