"""Random valid topologies: the rendering is valid and complete."""

from __future__ import annotations

import json
import re
import string
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, assume, given, note, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from bananas_topology.launch import launch_for
from bananas_topology.render.compose.target import ComposeTarget
from bananas_topology.render.kubernetes.target import KubernetesTarget
from bananas_topology.render.target import Rendering
from bananas_topology.spec.load import check_bytes
from bananas_topology.spec.model import Topology
from tests.render.cluster import VERSIONS, documents_of, environment_of, validate
from tests.render.test_kubernetes import CUSTOM
from tests.test_yaml_writer import MISREAD

#: A value that no rendering may contain.
SECRET = "hunter2-of-all-secrets"

WORD = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)
LONG_WORD = st.builds(lambda text: (text + "x" * 63)[:63], WORD)
NAME = st.one_of(WORD, LONG_WORD, st.sampled_from(("no", "on", "1e3", "0x1f", "null", "y", "007")))
#: Text that a YAML file can hold: no surrogates, no control characters but tabs and line breaks.
TEXT = st.one_of(
    st.sampled_from([text for text in MISREAD if not re.search(r"[\x85\ufeff\u2028\r]", text)]),
    st.sampled_from(("$", "$$", "${X}", "$(X)", "$$(X)", "a$", "%s", "{{ x }}", '{"a": "b"}')),
    st.text(
        st.characters(min_codepoint=32, max_codepoint=0x2FFF, exclude_characters="\x7f\u2028\u2029"
                      + "".join(map(chr, range(0x80, 0xA0)))),
        max_size=40,
    ),
)  # fmt: skip
JOB_TYPE = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x17F, exclude_characters=",\x7f\xa0\xad"
                  + "".join(map(chr, range(0x80, 0xA0)))),
    min_size=1,
    max_size=200,
).filter(lambda text: not re.search(r"\s", text))  # fmt: skip
VARIABLE = st.text(string.ascii_letters + "_", min_size=1, max_size=30).map(
    lambda name: f"X_{name}"
)
LABEL = st.text(string.ascii_letters + string.digits, min_size=1, max_size=63)
LABELS = st.dictionaries(
    st.one_of(LABEL, LABEL.map(lambda key: f"acme.com/{key}")), LABEL, max_size=2
)
AMOUNTS = st.fixed_dictionaries(
    {"cpu": st.sampled_from(("1", "500m", "0.25")), "memory": st.just("1Gi")}
)
AUTOSCALE = st.fixed_dictionaries(
    {"min": st.integers(1, 3), "max": st.integers(3, 9), "queue_depth": st.integers(1, 1000)},
    optional={
        "cpu": st.integers(1, 100),
        "scale_up": st.just({"window": "30s", "pods": 3}),
        "scale_down": st.fixed_dictionaries({"percent": st.integers(1, 100)}),
    },
)
#: Names of existing objects, and volumes at paths of their own.
OBJECT = st.sampled_from(("a", "pg-app", "redis-data", "a.b-c"))
SOURCE = st.one_of(
    st.fixed_dictionaries({"secret": OBJECT}, optional={"optional": st.booleans()}),
    st.fixed_dictionaries({"config": OBJECT}, optional={"optional": st.booleans()}),
)
VOLUME = st.one_of(
    st.fixed_dictionaries({"claim": OBJECT}, optional={"read_only": st.booleans()}),
    st.just({"temporary": "1Gi"}),
    st.fixed_dictionaries({"config": OBJECT}),
    st.fixed_dictionaries({"secret": OBJECT}),
)
VOLUMES = st.dictionaries(NAME, VOLUME, max_size=3).map(
    lambda volumes: {
        name: {**volume, "path": f"/mnt/{name}/$(X)"} for name, volume in volumes.items()
    }
)
POOL = st.fixed_dictionaries(
    {
        "concurrency": st.integers(1, 1000),
        "env": st.dictionaries(VARIABLE, TEXT | SOURCE, max_size=4),
        "resources": st.fixed_dictionaries({"requests": AMOUNTS}),
    },
    optional={
        "priorities": st.lists(st.sampled_from(("high", "normal", "low")), min_size=1, unique=True),
        "secrets": st.lists(VARIABLE.map(lambda name: f"S{name}"), max_size=2, unique=True),
        "autoscale": AUTOSCALE,
        "placement": st.fixed_dictionaries({"prefer": LABELS, "require": LABELS}),
        "disruption": st.fixed_dictionaries({"max_unavailable": st.integers(1, 5)}),
        "egress": st.lists(st.just({"cidr": "10.0.0.0/8", "ports": [443]}), max_size=1),
        "job_timeout": st.sampled_from(("30s", "1.5h", "300ms")),
        "env_from": st.lists(SOURCE, max_size=2),
        "volumes": VOLUMES,
        "init": st.dictionaries(
            NAME, st.fixed_dictionaries({"command": st.lists(TEXT, min_size=1)}), max_size=2
        ),
        "startup": st.sampled_from(("1s", "5m", "1h")),
    },
)
API = st.fixed_dictionaries(
    {
        "port": st.integers(1024, 65535),
        "secrets": st.just(["API_TOKEN"]),
        "env": st.dictionaries(VARIABLE, TEXT),
    },
    optional={
        "service_type": st.sampled_from(("ClusterIP", "NodePort", "LoadBalancer")),
        "ingress": st.just({"host": "jobs.example.com"}),
    },
)
KUBERNETES = st.fixed_dictionaries(
    {},
    optional={
        "namespace": NAME,
        "autoscaler": st.sampled_from(("hpa", "keda")),
        "monitoring": st.sampled_from(("annotations", "prometheus-operator", "none")),
        "labels": LABELS,
        "annotations": st.dictionaries(LABEL, TEXT, max_size=2),
    },
)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """A document that an author could have written."""
    pools: dict[str, Any] = draw(st.dictionaries(NAME, POOL, min_size=1, max_size=3))
    types = draw(st.lists(JOB_TYPE, min_size=1, max_size=3, unique=True))
    for pool in pools.values():
        pool["mode"] = draw(st.sampled_from(("default", "job-specialized")))
        if pool["mode"] == "job-specialized":
            pool["job_types"] = types
    document: dict[str, Any] = {
        "version": 1,
        "name": draw(NAME),
        "handlers": ["shop.jobs"],
        "jobs": {job_type: {"timeout": "30s"} for job_type in types},
        "pools": pools,
        "scheduler": {},
        "schedules": {"often": {"cron": "* * * * *", "job": types[0], "payload": draw(TEXT)}},
        "kubernetes": draw(KUBERNETES),
    }
    if draw(st.booleans()):
        document["redis"] = {"url": f"rediss://app:{SECRET}@redis.example.com:6380/1"}
    if draw(st.booleans()):
        document["api"] = draw(API)
    return document


def topology_of(document: dict[str, Any]) -> Topology:
    """The topology of a document; JSON is YAML, and its dollar signs are doubled."""
    data = json.dumps(document, ensure_ascii=False).replace("$", "$$").encode()
    report = check_bytes(data, Path("topology.yaml"), {})
    note("\n".join(str(each) for each in report.diagnostics))
    assume(report.topology is not None)
    assert report.topology is not None
    return report.topology


quickly = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


@quickly
@given(documents())
def test_any_topology_renders_to_a_valid_cluster(document: dict[str, Any]) -> None:
    topology = topology_of(document)
    rendering = KubernetesTarget().render(topology)

    objects = documents_of(rendering.stream())
    _assert_no_secret(rendering)
    assert KubernetesTarget().render(topology) == rendering
    names = [(each["kind"], each["metadata"]["name"]) for each in objects]
    assert len(set(names)) == len(names)
    for each in objects:
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", each["metadata"]["name"])
        for value in each["metadata"]["labels"].values():
            assert re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", value)
        if each["apiVersion"] not in CUSTOM:
            validate(each, VERSIONS[0])
    pods = {
        each["metadata"]["labels"]["bananas/pool"]: environment_of(each)
        for each in objects
        if each["kind"] == "Deployment" and "bananas/pool" in each["metadata"]["labels"]
    }
    assert pods.keys() == {pool.name for pool in topology.pools}
    for pool in topology.pools:
        assert launch_for(topology, pool).env.items() <= pods[pool.name].items()


@quickly
@given(documents())
def test_any_topology_renders_to_a_complete_compose_file(document: dict[str, Any]) -> None:
    topology = topology_of(document)
    rendering = ComposeTarget().render(topology)

    (compose,) = documents_of(rendering.stream())
    # YAML 1.2 reads the same.
    assert YAML(typ="safe", pure=True).load(rendering.stream()) == compose
    _assert_no_secret(rendering)
    assert ComposeTarget().render(topology) == rendering
    for pool in topology.pools:
        variables = {
            name: text.replace("$$", "$")
            for name, text in compose["services"][pool.name]["environment"].items()
            if text is not None
        }
        assert launch_for(topology, pool).env.items() <= variables.items()


def _assert_no_secret(rendering: Rendering) -> None:
    for text in (*(file.text for file in rendering.files), *rendering.notices):
        assert SECRET not in text
