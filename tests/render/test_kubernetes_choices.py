"""How the optional fields of a topology change the manifests."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bananas_topology.errors import RenderFailed
from bananas_topology.render.kubernetes.target import KubernetesTarget
from tests.conftest import MakeTopology
from tests.render.cluster import (
    container_of,
    environment_of,
    find,
    objects_of,
    pod_of,
)

POOL = """\
handlers: [shop.jobs]
pools:
  worker: {mode: default}
scheduler: {}
"""


def notices_of(make_topology: MakeTopology, text: str) -> str:
    return "\n".join(KubernetesTarget().render(make_topology(text)).notices)


def test_text_reaches_the_worker_unchanged(make_topology: MakeTopology) -> None:
    topology = make_topology(
        """
        handlers: [shop.jobs]
        pools:
          worker:
            mode: default
            env:
              {A: "$$(HOME) $$$$(X) $$$$$$", FLAG: on, VERSION: 1.10, TIME: "22:30", N: "a\\n\\nb"}
        scheduler: {}
        """
    )
    objects = objects_of(topology)

    seen = environment_of(find(objects, "Deployment", "worker"))

    assert {name: seen[name] for name in ("A", "FLAG", "VERSION", "TIME", "N")} == {
        "A": "$(HOME) $$(X) $$$",
        "FLAG": "on",
        "VERSION": "1.10",
        "TIME": "22:30",
        "N": "a\n\nb",
    }


def test_an_external_url_is_always_a_reference(
    make_topology: MakeTopology,
) -> None:
    topology = make_topology(
        """
        handlers: [shop.jobs]
        redis: {url: "rediss://app:s3cret@db.example.com:6390/2"}
        pools:
          worker: {mode: default, secrets: [SMTP_PASSWORD]}
        scheduler: {}
        """
    )

    files = KubernetesTarget().render(topology).files

    assert not [file for file in files if "s3cret" in file.text or "db.example.com" in file.text]
    policy = find(objects_of(topology), "NetworkPolicy", "allow-to-redis")
    assert policy["spec"]["egress"] == [{"ports": [{"protocol": "TCP", "port": 6390}]}]


@pytest.mark.parametrize(
    ("url", "ports"),
    [
        ("redis://h", [6379]),
        ("redis://[2001:db8::1]:7000/0", [7000]),
        ("redis://u:p%40:1@h:6380", [6380]),
        ("redis+sentinel://a:26379,b:26380/main", [6379, 26379, 26380]),
    ],
)
def test_pods_may_connect_to_the_ports_of_an_external_server(
    make_topology: MakeTopology, url: str, ports: list[int]
) -> None:
    objects = objects_of(make_topology(POOL + f"redis: {{url: '{url}'}}\n"))

    (rule,) = find(objects, "NetworkPolicy", "allow-to-redis")["spec"]["egress"]

    assert [each["port"] for each in rule["ports"]] == ports


def test_a_restarted_old_pod_and_a_rollback_have_the_variables_they_were_made_with(
    make_topology: MakeTopology,
) -> None:
    """Whatever a release changes in place, old pods and old revisions refer to, too."""
    objects = objects_of(make_topology(POOL))
    changed = objects_of(make_topology(POOL + "logging: {level: debug}\n"))

    worker, other = (find(each, "Deployment", "worker") for each in (objects, changed))

    assert not [each for each in objects if each["kind"] == "ConfigMap"]
    assert "configMap" not in json.dumps(objects)
    assert environment_of(worker)["LOG_LEVEL"] == "info"
    assert environment_of(other)["LOG_LEVEL"] == "debug"


def test_an_autoscaler_has_the_speeds_and_targets_of_the_topology(
    make_topology: MakeTopology,
) -> None:
    topology = make_topology(
        """
        handlers: [shop.jobs]
        pools:
          high:
            mode: specialized
            priorities: [high, low]
            resources: {requests: {cpu: 1}}
            autoscale:
              {min: 3, max: 20, cpu: 60, queue_depth: 100,
               scale_up: {window: 30s, percent: 100, pods: 4, period: 30s},
               scale_down: {window: 1h, pods: 1, period: 2m, select: min}}
          rest: {mode: default}
        scheduler: {}
        """
    )

    spec = find(objects_of(topology), "HorizontalPodAutoscaler", "high")["spec"]

    assert (spec["minReplicas"], spec["maxReplicas"]) == (3, 20)
    assert [each["type"] for each in spec["metrics"]] == ["Resource", "External"]
    external = spec["metrics"][1]["external"]
    assert external["metric"]["selector"] == {
        "matchExpressions": [{"key": "priority", "operator": "In", "values": ["high", "low"]}]
    }
    assert external["target"] == {"type": "AverageValue", "averageValue": "100"}
    assert spec["behavior"]["scaleUp"] == {
        "stabilizationWindowSeconds": 30,
        "policies": [
            {"type": "Percent", "value": 100, "periodSeconds": 30},
            {"type": "Pods", "value": 4, "periodSeconds": 30},
        ],
        "selectPolicy": "Max",
    }
    assert spec["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 3600
    assert spec["behavior"]["scaleDown"]["selectPolicy"] == "Min"


KEDA = """\
handlers: [shop.jobs]
jobs: {resize: {timeout: 1m}}
kubernetes: {autoscaler: keda}
scheduler: {}
pools:
  mail:
    mode: job-specialized
    job_types: [send_email]
    priorities: [high]
    autoscale: {min: 0, max: 9, queue_depth: 10}
  rest:
    mode: default
    priorities: [high]
    autoscale: {min: 1, max: 9, queue_depth: 50}
"""


def test_keda_sums_all_lists_that_a_pool_takes_jobs_from(make_topology: MakeTopology) -> None:
    objects = objects_of(make_topology(KEDA))

    def lists(pool: str) -> list[str]:
        spec = find(objects, "ScaledObject", pool)["spec"]
        formula = spec["advanced"]["scalingModifiers"]["formula"].split(" + ")
        assert formula == [trigger["name"] for trigger in spec["triggers"]]
        return [trigger["metadata"]["listName"] for trigger in spec["triggers"]]

    # The general pool also takes the jobs that are set aside by type.
    own = ["bananas:queue:high", "bananas:queue:high:send_email"]
    assert lists("mail") == own
    assert sorted(lists("rest")) == sorted([*own, "bananas:queue:high:resize"])


def test_an_autoscaler_that_cannot_distinguish_job_types_is_a_notice(
    make_topology: MakeTopology,
) -> None:
    text = KEDA.replace("autoscaler: keda", "autoscaler: hpa").replace("min: 0", "min: 1")

    assert "pools.mail.autoscale.queue_depth counts jobs of all types" in notices_of(
        make_topology, text
    )


def test_keda_may_connect_to_the_managed_redis(make_topology: MakeTopology) -> None:
    objects = objects_of(make_topology(KEDA))

    (trigger, *_) = find(objects, "ScaledObject", "rest")["spec"]["triggers"]
    authentication = find(objects, "TriggerAuthentication", trigger["authenticationRef"]["name"])
    policy = find(objects, "NetworkPolicy", "allow-into-redis")

    assert trigger["metadata"]["address"] == "redis.shop.svc:6379"
    assert authentication["spec"]["secretTargetRef"] == [
        {"parameter": "password", "name": "shop-secrets", "key": "REDIS_PASSWORD"}
    ]
    assert {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "keda"}}
    } in policy["spec"]["ingress"][0]["from"]


def test_a_disruption_bound_that_blocks_every_drain_is_replaced(
    make_topology: MakeTopology,
) -> None:
    text = POOL.replace("scheduler: {}", "scheduler: {replicas: 1, disruption: {min_available: 1}}")

    budget = find(objects_of(make_topology(text)), "PodDisruptionBudget", "scheduler")

    assert budget["spec"]["maxUnavailable"] == 1
    assert "\nscheduler.disruption would block every node drain" in notices_of(make_topology, text)


def test_every_pod_has_its_own_log_directory(make_topology: MakeTopology) -> None:
    text = POOL + "logging: {file: {enabled: true, path: /srv/log/w.log, max_size_mb: 10}}\n"

    workload = find(objects_of(make_topology(text)), "Deployment", "worker")

    assert {"name": "logs", "mountPath": "/srv/log"} in container_of(workload)["volumeMounts"]
    volumes = {each["name"]: each for each in pod_of(workload)["volumes"]}
    assert volumes["logs"]["emptyDir"] == {"sizeLimit": "70Mi"}


def test_optional_objects_are_rendered_only_on_request(make_topology: MakeTopology) -> None:
    kinds = {each["kind"] for each in objects_of(make_topology(POOL))}

    assert not kinds & {
        "Ingress",
        "HorizontalPodAutoscaler",
        "ScaledObject",
        "PodMonitor",
        "Secret",
    }


def _patch(text: str) -> str:
    return f"{POOL}kubernetes: {{patches: [{text}]}}\n"


def test_a_label_that_selectors_rely_on_is_nobody_elses(make_topology: MakeTopology) -> None:
    labels = "{bananas/pool: worker, app.kubernetes.io/version: '7', team: a}"
    objects = objects_of(make_topology(POOL + f"api: {{}}\nkubernetes: {{labels: {labels}}}\n"))

    pods = find(objects, "Deployment", "api")["spec"]["template"]["metadata"]["labels"]
    assert "bananas/pool" not in pods
    assert pods["team"] == "a"
    account = find(objects, "ServiceAccount", "bananas")["metadata"]["labels"]
    assert account["app.kubernetes.io/version"] == "7"


def test_patches_are_applied_last(make_topology: MakeTopology) -> None:
    text = _patch(
        "{kind: Deployment, name: worker,"
        " merge: {spec: {revisionHistoryLimit: 2, strategy: null}}},"
        "{kind: Deployment, json: [{op: add, path: /spec/minReadySeconds, value: 5}]}"
    )

    objects = objects_of(make_topology(text))

    worker, scheduler = (find(objects, "Deployment", name) for name in ("worker", "scheduler"))
    assert worker["spec"]["revisionHistoryLimit"] == 2
    assert "strategy" not in worker["spec"]
    assert "strategy" in scheduler["spec"]
    assert worker["spec"]["minReadySeconds"] == scheduler["spec"]["minReadySeconds"] == 5


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        (
            "{kind: Deployment, name: wroker, merge: {}}",
            r"patches\[0\].*name wroker.*matches no ren",
        ),
        (
            "{kind: Deployment, name: worker, json: [{op: remove, path: /spec/nothing}]}",
            r"patches\[0\]\.json\[0\] does not apply to Deployment worker: .*nothing",
        ),
        (
            "{kind: Deployment, json: [{op: test, path: /kind, value: Pod}]}",
            r"patches\[0\]\.json\[0\] does not apply to Deployment \w+: "
            r'test "/kind": the value is not the expected one$',
        ),
        ("{kind: Namespace, json: [{op: remove, path: ''}]}", r"Namespace shop"),
        (
            "{kind: Service, merge: {metadata: {name: null}}}",
            r"patches\[0\]: Service redis has no metadata\.name",
        ),
        ("{kind: Deployment, merge: {metadata: {name: x}}}", "two objects Deployment x"),
    ],
)
def test_the_error_names_a_patch_that_does_not_apply(
    make_topology: MakeTopology, patch: str, expected: str
) -> None:
    with pytest.raises(RenderFailed, match=expected):
        KubernetesTarget().render(make_topology(_patch(patch)))


def test_what_a_cluster_must_provide_is_a_notice(make_topology: MakeTopology) -> None:
    notices: Any = notices_of(
        make_topology,
        """
        handlers: [shop.jobs]
        build: .
        pools:
          worker:
            mode: default
            resources: {requests: {cpu: 2}, limits: {cpu: 4}}
            autoscale: {min: 2, max: 3, queue_depth: 5}
            placement: {require: {disk: ssd}}
        scheduler: {}
        redis: {managed: {memory: 5Gi}}
        """,
    )

    for expected in (
        "kubernetes.secret shop-secrets must exist in namespace shop",
        "external metric bananas_queue_depth",
        "pools.worker.placement.require: pods stay pending until a node has the label disk=ssd",
        "list other destinations in egress",
        "build is ignored",
        "image bananas-worker:latest is not pinned",
        "capacity: the pods request 4.25 CPU and 5Gi, up to 6.25 CPU and 5Gi when scaled out",
    ):
        assert expected in notices
