from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bananas_topology.contract.api import api_from_env
from bananas_topology.contract.worker import from_env
from bananas_topology.errors import ControlFailed
from bananas_topology.launch import launch_for
from bananas_topology.spec.load import check_bytes
from bananas_topology.spec.model import Topology
from bananas_topology.supervisor.plan import (
    LOCAL_VARIABLES,
    ChildPlan,
    Host,
    plan_api,
    plan_children,
    select_api,
    select_pools,
)

HOST = Host(environ={"PATH": "/bin", "WORKER_POOL": "from the shell"}, redis_url="redis://h:1")


def _pool(name: str, replicas: int = 1, log_format: str | None = None) -> str:
    logging = f", logging: {{format: {log_format}}}" if log_format else ""
    return f"""
  {name}:
    {{mode: specialized, priorities: [high], replicas: {replicas}, job_timeout: 20s, grace: 20s,
     scheduler: true, env: {{APP_MODE: live}}{logging}}}
"""


def _topology(*pools: str, api: str = "") -> Topology:
    text = f"version: 1\nname: shop\nhandlers: [jobs]\n{api}pools:" + "".join(pools)
    report = check_bytes(text.encode(), Path("shop/topology.yaml"), {})
    assert report.topology is not None, report.diagnostics
    return report.topology


def _plans(topology: Topology, host: Host = HOST) -> tuple[ChildPlan, ...]:
    return plan_children(topology, select_pools(topology, {}, ()), host)


def test_every_replica_becomes_a_child_in_file_order() -> None:
    plans = _plans(_topology(_pool("worker-high", 2), _pool("scheduler")))

    assert [plan.name for plan in plans] == ["worker-high-0", "worker-high-1", "scheduler-0"]
    assert [plan.pool for plan in plans] == ["worker-high", "worker-high", "scheduler"]


def test_child_runs_the_worker_module_next_to_the_topology_file() -> None:
    [plan] = _plans(_topology(_pool("a")))

    assert plan.argv == (sys.executable, "-m", "bananas_topology.worker")
    assert plan.cwd == Path("shop").absolute()


def test_child_grace_exceeds_the_grace_of_its_jobs() -> None:
    [plan] = _plans(_topology(_pool("a")))

    assert plan.grace_ms > 20_000


def test_child_environment_configures_the_worker() -> None:
    [plan] = _plans(_topology(_pool("a")))

    config = from_env(plan.env)

    assert (config.worker_id, config.pool) == ("a-0", "a")
    assert config.redis_url == "redis://h:1"
    assert (config.log_format, config.log_color) == ("text", False)
    assert config.handlers == ("jobs",)


def test_environment_differs_from_containers_in_local_variables_only() -> None:
    topology = _topology(_pool("a"))
    launch = launch_for(topology, topology.pools[0])

    [plan] = _plans(topology)

    inherited = {"PATH": "/bin", **launch.env}
    differing = {name for name in plan.env if plan.env[name] != inherited.get(name)}
    assert differing <= set(LOCAL_VARIABLES)
    assert {"REDIS_URL", "WORKER_ID"} <= differing


def test_worker_variables_of_the_shell_do_not_leak_into_a_child() -> None:
    shell = {"PATH": "/bin", "WORKER_JOB_TYPES": "other", "WORKER_SCHEDULES": "{}"}

    [plan] = _plans(_topology(_pool("a")), Host(environ=shell, redis_url="redis://h"))

    assert set(shell) & set(plan.env) == {"PATH"}


@pytest.mark.parametrize(
    ("option", "in_pool", "expected"),
    [
        (None, None, "text"),
        (None, "json", "json"),
        (None, "text", "text"),
        ("text", "json", "text"),
        ("json", None, "json"),
    ],
)
def test_log_format_comes_from_option_then_pool_then_text(
    option: str | None, in_pool: str | None, expected: str
) -> None:
    host = Host(environ={}, redis_url="redis://h", log_format=option)

    [plan] = _plans(_topology(_pool("a", log_format=in_pool)), host)

    assert plan.env["LOG_FORMAT"] == expected


def test_scale_overrides_replicas() -> None:
    topology = _topology(_pool("a", 3), _pool("b", 1))

    pools = select_pools(topology, {"a": 0, "b": 2}, ())

    assert [(pool.name, count) for pool, count in pools] == [("a", 0), ("b", 2)]


def test_only_selects_the_named_pools_in_file_order() -> None:
    topology = _topology(_pool("a"), _pool("b"), _pool("c"))

    pools = select_pools(topology, {}, ("c", "a"))

    assert [pool.name for pool, _ in pools] == ["a", "c"]


@pytest.mark.parametrize(("scale", "only"), [({"worker-hgih": 1}, ()), ({}, ("worker-hgih",))])
def test_unknown_pool_is_refused_with_a_suggestion(scale: dict[str, int], only: list[str]) -> None:
    topology = _topology(_pool("worker-high"), _pool("scheduler"))

    with pytest.raises(ControlFailed, match='no pool "worker-hgih": did you mean "worker-high"'):
        select_pools(topology, scale, only)


def test_unknown_pool_without_a_close_match_lists_the_pools() -> None:
    topology = _topology(_pool("worker-high"), _pool("scheduler"))

    with pytest.raises(ControlFailed, match="expected one of worker-high, scheduler"):
        select_pools(topology, {}, ("xyz",))


@pytest.mark.parametrize("count", [-1, 1001])
def test_replicas_out_of_range_are_refused(count: int) -> None:
    with pytest.raises(ControlFailed, match="expected 0 to 1000 replicas"):
        select_pools(_topology(_pool("a")), {"a": count}, ())


def test_empty_plan_is_refused() -> None:
    with pytest.raises(ControlFailed, match="nothing to start"):
        select_pools(_topology(_pool("a")), {"a": 0}, ())


def test_api_is_one_child_with_the_api_variables() -> None:
    topology = _topology(_pool("a"), api="api: {port: 8081, replicas: 3}\n")
    host = Host({"API_TOKEN": "a-token-of-the-shell", "API_PORT": "1"}, "redis://h:1")

    api = select_api(topology, ())
    assert api is not None
    plan = plan_api(topology, api, {"a": 2}, host)

    assert (plan.name, plan.argv[1:]) == ("api-0", ("-m", "bananas_topology.api"))
    config = api_from_env(plan.env)
    assert (config.port, config.redis_url) == (8081, "redis://h:1")
    assert config.token == "a-token-of-the-shell"
    assert config.pools == {"a": (2, 2)}


def test_api_can_be_left_out_or_started_alone() -> None:
    topology = _topology(_pool("a"), api="api: {}\n")

    assert select_api(topology, ("a",)) is None
    assert select_api(topology, ("api",)) is not None
    assert select_pools(topology, {}, ("api",)) == ()


@pytest.mark.parametrize(("api", "scale"), [("", {}), ("api: {}\n", {"api": 2})])
def test_missing_or_scaled_api_is_refused(api: str, scale: dict[str, int]) -> None:
    with pytest.raises(ControlFailed, match='no pool "api"'):
        select_pools(_topology(_pool("a"), api=api), scale, ("api",))
