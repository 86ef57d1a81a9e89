from __future__ import annotations

from pathlib import Path

import pytest

from bananas_topology.contract.api import api_from_env
from bananas_topology.contract.jobs import JobSettings
from bananas_topology.contract.worker import WorkerConfig, from_env
from bananas_topology.errors import InvalidSettings
from bananas_topology.launch import STOP_MARGIN_MS, launch_for, launch_for_api
from bananas_topology.spec.load import check_bytes
from bananas_topology.spec.model import Topology
from tests.conftest import MakeTopology

TOPOLOGY = """\
version: 1
name: shop
handlers: [jobs, more.jobs]
redis: {url: "redis://app:s3cret@db", key_prefix: fruit}
jobs:
  send_email: {priority: high, timeout: 10s, max_retries: 5}
  only_urgent: {priority: high}
  report: {max_retries: 1}
pools:
  a:
    mode: job-specialized
    priorities: [high, low]
    job_types: [send_email, only_urgent]
    concurrency: 7
    job_timeout: 40s
    max_retries: 2
    grace: 50s
    env: {APP_MODE: live}
  b: {mode: default}
scheduler: {interval: 2s}
schedules:
  nightly: {cron: "0 2 * * *", timezone: Europe/Rome, job: send_email, payload: {kind: sales}}
api: {port: 8081, env: {APP_MODE: live}}
"""


def _topology() -> Topology:
    result = check_bytes(TOPOLOGY.encode(), Path("topology.yaml"), {})
    assert result.topology is not None, result.diagnostics
    return result.topology


def _configs() -> dict[str, WorkerConfig]:
    """The settings that the workers of each pool read from their environment."""
    topology = _topology()
    return {pool.name: from_env(launch_for(topology, pool).env) for pool in topology.pools}


def test_a_worker_has_the_settings_of_its_pool() -> None:
    config = _configs()["a"]

    assert (config.mode, config.concurrency) == ("job-specialized", 7)
    assert config.priorities == ("high", "low")
    assert config.job_types == ("send_email", "only_urgent")
    assert config.handlers == ("jobs", "more.jobs")
    assert (config.key_prefix, config.pool) == ("fruit", "a")
    assert (config.job_timeout_ms, config.max_retries, config.grace_ms) == (40_000, 2, 50_000)


def test_a_pool_has_the_settings_of_the_jobs_that_it_runs_except_priorities() -> None:
    send_email = {"send_email": JobSettings(timeout_ms=10_000, max_retries=5)}

    assert {name: config.jobs for name, config in _configs().items()} == {
        "a": send_email,
        "b": {**send_email, "report": JobSettings(max_retries=1)},
        "scheduler": {},
    }


def test_variables_grow_linearly_with_pools_that_have_a_job_type_each(
    make_topology: MakeTopology,
) -> None:
    def size(count: int) -> int:
        names = [f"job-{number:04}" for number in range(count)]
        jobs = "".join(f"  {name}: {{timeout: 30s}}\n" for name in names)
        pools = "".join(
            f"  {name}: {{mode: job-specialized, job_types: [{name}]}}\n" for name in names
        )
        topology = make_topology(f"scheduler: {{}}\njobs:\n{jobs}pools:\n{pools}handlers: [jobs]\n")
        return sum(len(str(launch_for(topology, pool).env)) for pool in topology.pools[:-1])

    assert size(100) == 10 * size(10)


def test_only_schedulers_have_the_schedules() -> None:
    configs = _configs()

    assert {name: list(config.schedules) for name, config in configs.items()} == {
        "a": [], "b": [], "scheduler": ["nightly"],
    }  # fmt: skip
    cron = configs["scheduler"].schedules["nightly"]
    assert (cron.cron, cron.timezone, cron.payload) == (
        "0 2 * * *", "Europe/Rome", {"kind": "sales"},
    )  # fmt: skip


def test_a_launch_has_no_secrets_and_nothing_specific_to_one_worker() -> None:
    topology = _topology()

    for pool in topology.pools:
        launch = launch_for(topology, pool)

        assert not {"REDIS_URL", "WORKER_ID"} & set(launch.env)
        assert "s3cret" not in str(launch)


def test_a_launch_has_the_pools_env_and_a_margin_on_its_grace() -> None:
    topology = _topology()

    launch = launch_for(topology, topology.pools[0])

    assert launch.env["APP_MODE"] == "live"
    assert launch.grace_ms == 50_000 + STOP_MARGIN_MS


def test_launches_are_deterministic() -> None:
    topology, again = _topology(), _topology()

    for pool, same in zip(topology.pools, again.pools, strict=True):
        first, second = launch_for(topology, pool), launch_for(again, same)
        assert list(first.env.items()) == list(second.env.items())


def test_the_api_has_the_settings_of_its_section() -> None:
    topology = _topology()
    assert topology.api is not None

    launch = launch_for_api(topology, topology.api)

    config = api_from_env(launch.env)
    assert (config.port, config.key_prefix, config.token) == (8081, "fruit", "")
    assert launch.env["APP_MODE"] == "live"
    assert "s3cret" not in str(launch)


def test_the_api_knows_how_many_workers_each_pool_is_to_have(make_topology: MakeTopology) -> None:
    topology = make_topology("""
        handlers: [shop.jobs]
        pools:
          fixed: {mode: specialized, priorities: [high], replicas: 3}
          elastic: {mode: default, replicas: 2, autoscale: {min: 1, max: 20, cpu: 60},
                    resources: {requests: {cpu: 1}}}
        api: {}
    """)
    assert topology.api is not None

    scaled = launch_for_api(topology, topology.api)
    counted = launch_for_api(topology, topology.api, {"elastic": 2})

    assert scaled.env["API_POOLS"] == "fixed=3,elastic=1-20"
    assert api_from_env(scaled.env).pools == {"fixed": (3, 3), "elastic": (1, 20)}
    assert counted.env["API_POOLS"] == "fixed=0,elastic=2"


@pytest.mark.parametrize("text", ["mail", "mail=", "mail=x", "mail=1-", "Mail=1", "=3", "a=1;b=2"])
def test_malformed_pools_are_refused(text: str) -> None:
    with pytest.raises(InvalidSettings, match=r"API_POOLS is .* expected POOL=N or POOL=MIN-MAX"):
        api_from_env({"API_POOLS": text})
