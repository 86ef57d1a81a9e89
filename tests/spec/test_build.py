from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bananas_topology.contract.jobs import Keep
from bananas_topology.contract.values import Mode
from bananas_topology.contract.worker import WorkerConfig, from_env
from bananas_topology.launch import launch_for
from bananas_topology.spec.load import check_bytes
from bananas_topology.spec.model import Pool, Topology

MakeTopology = Callable[[str], Topology]


@pytest.fixture
def pool_of(make_topology: MakeTopology) -> Callable[..., Pool]:
    """Makes the pool `a` of a topology from its fields; `rest` is the rest of the topology."""

    def make(fields: str, rest: str = "") -> Pool:
        text = f"handlers: [jobs]\n{rest}\npools:\n  a: {{{fields}}}\n  z: {{env: {{A: z}}}}\n"
        return make_topology(text).pools[0]

    return make


PoolOf = Callable[..., Pool]


@pytest.mark.parametrize(
    ("fields", "concurrency", "scheduler"),
    [
        ("", 10, True),
        ("mode: default", 10, True),
        ("mode: specialized, priorities: [high]", 10, False),
        ("mode: job-specialized, job_types: [x]", 10, False),
        ("mode: scheduler-only", 0, True),
        ("concurrency: 7, scheduler: false", 7, False),
        ("mode: specialized, priorities: [low], scheduler: true", 10, True),
    ],
)
def test_a_mode_is_a_preset(
    pool_of: PoolOf, fields: str, concurrency: int, scheduler: bool
) -> None:
    pool = pool_of(fields)

    assert (pool.worker.concurrency, pool.worker.enable_scheduler) == (concurrency, scheduler)


def test_a_thin_pool_runs_everything_in_one_worker(make_topology: MakeTopology) -> None:
    topology = make_topology("handlers: [jobs]\npools: {a: {mode: thin}}")

    [pool] = topology.pools
    assert (pool.worker.concurrency, pool.replicas, pool.worker.enable_scheduler) == (5, 1, True)
    assert (pool.worker.priorities, pool.worker.job_types) == (("high", "normal", "low"), ())
    assert topology.total_threads == 5


def test_default_pools_have_no_scheduler_beside_a_scheduler_section(
    make_topology: MakeTopology,
) -> None:
    topology = make_topology(
        "handlers: [jobs]\nscheduler: {interval: 2s, replicas: 2}\npools: {a: {}}"
    )

    worker, scheduler = topology.pools
    assert not worker.worker.enable_scheduler
    assert (scheduler.name, scheduler.worker.mode) == ("scheduler", Mode.SCHEDULER_ONLY)
    assert (scheduler.replicas, scheduler.worker.scheduler_interval_ms) == (2, 2000)
    assert (scheduler.worker.concurrency, scheduler.worker.priorities) == (0, ())


def test_an_empty_pool_has_the_defaults_of_the_contract(pool_of: PoolOf) -> None:
    pool = pool_of("")

    assert pool.worker == WorkerConfig(grace_ms=WorkerConfig().job_timeout_ms)
    assert pool.log_format is None


def test_a_worker_accepts_the_environment_of_every_pool(make_topology: MakeTopology) -> None:
    topology = make_topology(
        """
        handlers: [shop.jobs, shop.more]
        redis: {key_prefix: "{shop}"}
        jobs: {a: {timeout: 30s, max_retries: 5, backoff: {base: 1s, cap: 1m}}}
        pools:
          thin: {mode: thin, priorities: [low]}
          default: {logging: {format: text, file: {path: /tmp/x.log}}}
          high: {mode: specialized, priorities: [normal, high]}
          types: {mode: job-specialized, job_types: [a, b], keep: {results: 0, dead: 0}}
          cron: {mode: scheduler-only}
        scheduler: {interval: 60s}
        schedules: {n: {cron: "0 2 * * *", job: a, payload: {x: [1]}, catch_up: true}}
        """
    )

    for pool in topology.pools:
        config = from_env({**launch_for(topology, pool).env, "WORKER_ID": "w"})
        assert (config.mode, config.pool) == (pool.worker.mode.value, pool.name)
        assert config.priorities == pool.worker.priorities
        assert bool(config.schedules) is pool.worker.enable_scheduler
    assert topology.pools[2].worker.priorities == ("high", "normal")


def test_pools_inherit_defaults(make_topology: MakeTopology) -> None:
    topology = make_topology(
        """
        handlers: [jobs]
        logging: {level: debug, file: {max_size_mb: 5, max_backups: 6}}
        keep: {completed: 2d, results: 2h}
        defaults:
          keep: {results: 3h, dead: 0}
          job_timeout: 1m
          priorities: [high, normal, low]
          replicas: 2
          env: {A: default, B: default}
          secrets: [TOKEN]
          logging: {file: {max_size_mb: 7}}
          resources: {requests: {cpu: 1}, limits: {memory: 1Gi}}
        pools:
          a: {}
          b:
            job_timeout: 2m
            replicas: 1
            env: {B: own}
            secrets: []
            logging: {color: false, file: {max_backups: 8}}
            resources: {requests: {cpu: 2, memory: 512Mi}}
        scheduler: {env: {C: own}}
        api: {logging: {format: text}}
        """
    )

    a, b, scheduler = topology.pools
    assert (a.worker.job_timeout_ms, a.replicas, dict(a.env)) == (
        60_000,
        2,
        {"A": "default", "B": "default"},
    )
    assert (b.worker.job_timeout_ms, b.replicas, dict(b.env)) == (
        120_000,
        1,
        {"A": "default", "B": "own"},
    )
    assert (a.secrets, b.secrets) == (("TOKEN",), ())
    assert (a.worker.log_file_max_size_mb, a.worker.log_file_max_backups) == (7, 6)
    assert (b.worker.log_file_max_size_mb, b.worker.log_file_max_backups) == (7, 8)
    assert (b.worker.log_level, b.worker.log_color, a.worker.log_color) == ("debug", False, True)
    assert (b.resources.requests.cpu_millis, b.resources.limits.memory_bytes) == (2000, 2**30)
    assert a.worker.keep == Keep(2 * 86_400_000, 0, 3 * 3_600_000, 86_400_000)
    assert dict(scheduler.env) == {"A": "default", "B": "default", "C": "own"}
    assert (scheduler.replicas, scheduler.resources.requests.cpu_millis) == (1, None)
    assert topology.api is not None
    assert (topology.api.config.log_level, topology.api.log_format) == ("debug", "text")
    assert dict(topology.api.env) == {}


def test_a_scheduler_only_pool_inherits_no_worker_fields(make_topology: MakeTopology) -> None:
    topology = make_topology(
        """
        handlers: [jobs]
        defaults: {concurrency: 20, priorities: [high, normal, low], replicas: 3, job_types: [a]}
        pools: {a: {}, b: {mode: scheduler-only}, c: {mode: job-specialized}}
        """
    )

    assert [(pool.worker.concurrency, pool.replicas) for pool in topology.pools] == [
        (20, 3),
        (0, 1),
        (20, 3),
    ]
    assert [pool.worker.job_types for pool in topology.pools] == [(), (), ("a",)]


def test_pools_may_inherit_mode_scheduler_only(make_topology: MakeTopology) -> None:
    topology = make_topology(
        """
        handlers: [jobs]
        defaults: {mode: scheduler-only, concurrency: 5}
        pools: {a: {}, b: {mode: default}}
        """
    )

    assert [pool.worker.mode for pool in topology.pools] == [Mode.SCHEDULER_ONLY, Mode.DEFAULT]
    assert [pool.worker.concurrency for pool in topology.pools] == [0, 5]


@pytest.mark.parametrize(
    ("fields", "grace_ms"),
    [
        ("job_timeout: 10s", 600_000),
        ("job_timeout: 20m", 1_200_000),
        ("mode: job-specialized, job_types: [quick]", 30_000),
        ("mode: job-specialized, job_types: [quick, other]", 300_000),
        ("mode: specialized, priorities: [high, low], job_timeout: 1s", 30_000),
        ("grace: 0s, job_timeout: 1s, priorities: [low]", 0),
        ("mode: scheduler-only", 30_000),
    ],
)
def test_grace_defaults_to_the_longest_timeout_in_the_pool(
    make_topology: MakeTopology, fields: str, grace_ms: int
) -> None:
    text = f"""
        handlers: [jobs]
        jobs: {{slow: {{timeout: 10m, priority: normal}}, quick: {{timeout: 1s}}}}
        pools: {{a: {{{fields}}}, z: {{}}}}
    """

    assert make_topology(text).pools[0].worker.grace_ms == grace_ms


def test_replicas_default_to_the_minimum_of_the_autoscaler(pool_of: PoolOf) -> None:
    pool = pool_of("autoscale: {min: 3, max: 20, queue_depth: 100, scale_up: {pods: 4}}")

    assert pool.replicas == 3
    assert pool.autoscale is not None
    up, down = pool.autoscale.scale_up, pool.autoscale.scale_down
    assert (up.window_ms, up.period_ms, up.percent, up.pods, up.select) == (
        0,
        30_000,
        None,
        4,
        "max",
    )
    assert (down.window_ms, down.period_ms, down.percent, down.pods) == (300_000, 60_000, None, 1)


def test_strings_are_used_as_written(pool_of: PoolOf) -> None:
    pool = pool_of(
        "env: {A: 1.10, B: on, C: 0o17, D: '', E: true}, placement: {require: {gpu: true, v: 1.0}}"
    )

    assert dict(pool.env) == {"A": "1.10", "B": "on", "C": "0o17", "D": "", "E": "true"}
    assert pool.placement is not None
    assert dict(pool.placement.require) == {"gpu": "true", "v": "1.0"}


@pytest.mark.parametrize(
    ("cpu", "memory", "millis", "size"),
    [("0.5", "512Mi", 500, 2**29), ("2", "4G", 2000, 2**32), ("'250m'", "1024", 250, 1024)],
)
def test_amounts_have_several_notations(
    pool_of: PoolOf, cpu: str, memory: str, millis: int, size: int
) -> None:
    limits = pool_of(f"resources: {{limits: {{cpu: {cpu}, memory: {memory}}}}}").resources.limits

    assert (limits.cpu_millis, limits.memory_bytes) == (millis, size)


def test_an_integer_may_be_written_as_a_float(pool_of: PoolOf) -> None:
    concurrency = pool_of("concurrency: 1e2").worker.concurrency

    assert (concurrency, type(concurrency)) == (100, int)


@pytest.mark.parametrize(
    ("redis", "environ", "url", "is_external"),
    [
        ("", {"REDIS_URL": "redis://h"}, None, False),
        ("redis: {key_prefix: x}", {}, None, False),
        ("redis: {url: '${REDIS_URL}'}", {}, None, True),
        ("redis: {url: $REDIS_URL}", {}, None, True),
        ("redis: {url: '${REDIS_URL}'}", {"REDIS_URL": ""}, None, True),
        ("redis: {url: '${REDIS_URL}'}", {"REDIS_URL": "redis://h"}, "redis://h", True),
        ("redis: {url: '${REDIS_URL:-}'}", {}, None, False),
        ("redis: {url: 'unix:///run/redis.sock'}", {}, "unix:///run/redis.sock", True),
    ],
)
def test_redis_is_managed_unless_there_is_a_url(
    redis: str, environ: dict[str, str], url: str | None, is_external: bool
) -> None:
    text = f"version: 1\nname: shop\nhandlers: [jobs]\n{redis}\npools: {{a: {{}}}}\n"

    topology = check_bytes(text.encode(), Path("a.yaml"), environ).topology

    assert topology is not None
    assert (topology.redis.url, topology.redis.is_external) == (url, is_external)


def test_every_section_of_a_file_is_in_the_topology(make_topology: MakeTopology) -> None:
    topology = make_topology(
        """
        image: img:1
        build: .
        handlers: [jobs]
        redis: {managed: {storage: 5Gi, memory: 2Gi, image: valkey:9}}
        jobs: {report: {priority: low}}
        pools:
          a:
            image: other:2
            egress: [{cidr: 10.0.0.0/8, ports: [443]}]
            disruption: {max_unavailable: 1}
            placement: {tolerations: [{key: gpu, operator: Exists, effect: NoSchedule}]}
        schedules: {n: {cron: "0 2 * * *", timezone: Europe/Rome, job: report}}
        api: {replicas: 2, publish: 8080-8081, ingress: {host: jobs.example.com, class: nginx}}
        kubernetes:
          namespace: ns
          autoscaler: keda
          labels: {team: a}
          patches: [{kind: Deployment, name: shop-a, merge: {spec: {x: 1}}}]
        compose: {patches: [{service: a, json: [{op: remove, path: /init}]}]}
        """
    )

    pool = topology.pools[0]
    assert (topology.image, topology.build, pool.image) == ("img:1", ".", "other:2")
    assert topology.redis.managed.memory_bytes == 2 * 2**30
    assert (pool.egress[0].cidr, pool.egress[0].ports) == ("10.0.0.0/8", (443,))
    assert pool.disruption is not None
    assert pool.disruption.max_unavailable == 1
    assert pool.placement is not None
    assert pool.placement.tolerations[0].operator == "Exists"
    [schedule] = topology.schedules.values()
    assert (schedule.priority, schedule.payload, schedule.timezone) == ("low", None, "Europe/Rome")
    assert topology.api is not None
    assert topology.api.image == "img:1"
    assert topology.api.ingress is not None
    assert topology.api.ingress.class_name == "nginx"
    assert (topology.kubernetes.namespace, topology.kubernetes.secret) == ("ns", "shop-secrets")
    assert topology.kubernetes.patches[0].merge == {"spec": {"x": 1}}
    [patch] = topology.compose.patches
    assert (patch.kind, patch.name) == ("service", "a")
    assert patch.operations == ({"op": "remove", "path": "/init"},)


@pytest.mark.parametrize(
    ("field", "environ", "name", "value"),
    [
        ('replicas: "${N:-2}"', {}, "replicas", 2),
        ('replicas: "${N}0"', {"N": "3"}, "replicas", 30),
        ("replicas: ${N}", {"N": "3"}, "replicas", 3),
        ("image: ${TAG}", {"TAG": "2026"}, "image", "2026"),
        ("image: ${TAG}", {"TAG": "true"}, "image", "true"),
        ("env: {A: '${N}'}", {"N": "01"}, "env", {"A": "01"}),
    ],
)
def test_a_variable_has_the_type_of_its_field_with_or_without_quotes(
    field: str, environ: dict[str, str], name: str, value: object
) -> None:
    text = f"version: 1\nname: a\nhandlers: [jobs]\npools:\n  a:\n    {field}\n"

    topology = check_bytes(text.encode(), Path("topology.yaml"), environ).topology

    assert topology is not None
    assert getattr(topology.pools[0], name) == value


def test_a_variable_as_a_boolean_and_out_of_range_is_checked_as_what_it_stands_for() -> None:
    text = (
        "version: 1\nname: a\nhandlers: [jobs]\n"
        'pools: {a: {scheduler: "${S:-true}", replicas: "${N:-5000}", concurrency: "2"}}\n'
    )

    found = check_bytes(text.encode(), Path("topology.yaml"), {}).diagnostics

    assert [(each.code, each.hint) for each in found] == [
        ("BT105", None),
        ("BT101", "remove the quotes"),
    ]


def test_what_a_job_type_keeps_is_for_the_workers_to_merge(make_topology: MakeTopology) -> None:
    topology = make_topology(
        """
        handlers: [jobs]
        jobs:
          flood: {keep: {completed: 0, results: "0"}}
          report: {keep: {dead: 30d}}
        pools: {a: {keep: {completed: 1h}}}
        """
    )

    [pool] = topology.pools
    assert topology.jobs["flood"].keep == Keep(completed_ms=0, results_ms=0)
    config = from_env({**launch_for(topology, pool).env, "WORKER_ID": "w"})
    assert config.jobs == topology.jobs
    assert config.keep_of(topology.jobs["flood"].keep) == Keep(0, 604_800_000, 0, 86_400_000)
    assert config.keep_of(topology.jobs["report"].keep) == Keep(
        3_600_000, 30 * 86_400_000, 3_600_000, 86_400_000
    )
